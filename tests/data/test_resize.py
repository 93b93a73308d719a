import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nerve_jax.data.resize import cut_resized, resize_image


def test_resizing_keeps_flat_pictures_and_area():
    flat = np.full((50, 70), 7, np.uint8)
    np.testing.assert_array_equal(resize_image(flat, (20, 30)), 7)
    square = np.zeros((96, 128), np.uint8)
    square[20:60, 30:90] = 255
    small = resize_image(square, (24, 32))
    assert small.mean() == pytest.approx(square.mean(), rel=0.01)


def resize_by_pillow(probs, size):
    picture = Image.fromarray(probs.astype(np.float32))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))


SIDE = st.integers(1, 40)


@given(SIDE, SIDE, SIDE, SIDE, st.floats(0, 1), st.integers(0, 9))
def test_a_cut_patch_is_the_cut_of_the_whole_resized_frame(
    height, width, new_height, new_width, cut, seed
):
    """Larger and smaller, at levels on and off the cut, float16 and float32."""
    rng = np.random.default_rng(seed)
    probs = rng.choice([0, cut, 1, *rng.random(3)], (height, width)) * (seed != 1)
    probs[rng.random(probs.shape) < seed / 10] = 0
    for dtype in (np.float16, np.float32):
        size, grey = (new_height, new_width), probs.astype(dtype)
        patch = cut_resized(grey, size, cut)
        whole = resize_by_pillow(grey, size) >= np.float32(cut)
        np.testing.assert_array_equal(patch.whole(), whole)
        flat = np.flatnonzero(whole.T)
        np.testing.assert_array_equal(patch.positions(), flat)


def test_a_cut_patch_is_no_larger_than_what_reaches_it():
    """Of a frame it costs what its nerve covers; none is an empty mask."""
    probs = np.zeros((96, 128), np.float16)
    assert cut_resized(probs, (420, 580), 0.5).inside.size == 0
    probs[40:50, 60:80] = 0.9
    assert cut_resized(probs, (420, 580), 0.5).inside.size < 0.03 * 420 * 580
