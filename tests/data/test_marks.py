"""Text that is burned into tissue, in stills and in clips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.cleaning import FONT_NAMES, burn, compress
from nerve_jax.data.marks import find_standing_text, find_text, is_marked
from nerve_jax.data.phantom.people import simulate_frames

WHITE = (255, 255, 255)


@pytest.fixture(scope="module")
def clip():
    """One sweep: uint8 [12, 210, 290]."""
    return np.stack([frame.image for frame in simulate_frames(1, 12, seed=3)])


@pytest.fixture(scope="module")
def everywhere(clip):
    return np.ones(clip.shape[1:], bool)


def test_tissue_alone_is_seldom_taken_for_text(everywhere):
    frames = [frame.image for frame in simulate_frames(20, 1, seed=9)]
    marked = [find_text(image, everywhere).any() for image in frames]
    assert np.mean(marked) <= 0.1


@settings(max_examples=20, deadline=None)
@given(
    left=st.integers(2, 120),
    top=st.integers(2, 170),
    size_px=st.integers(12, 30),
    font=st.sampled_from(FONT_NAMES),
    text=st.sampled_from(["Muster, Anna", "DOE^JOHN", "MRN 0048213", "12.03.1961"]),
    stored=st.sampled_from([np.asarray, compress]),
)
def test_a_white_name_is_found_where_it_is(
    clip, everywhere, left, top, size_px, font, text, stored
):
    dark = clip[0] // 2
    image = stored(burn(dark, text, (left, top), WHITE, size_px, font))
    found = find_text(image, everywhere)
    assert found[top : top + size_px, left : left + 6 * size_px].any()


def test_a_name_beside_the_sector_is_not_looked_for(clip, everywhere):
    image = burn(clip[0] // 2, "DOE^JOHN", (10, 10), WHITE, 16)
    sector = everywhere.copy()
    assert find_text(image, sector)[10:30, 10:120].any()
    sector[:60] = False
    assert not find_text(image, sector)[10:30, 10:120].any()
    assert not find_text(image, np.zeros_like(sector)).any()


def test_text_too_faint_for_one_frame_is_found_where_it_stands_still(clip, everywhere):
    rng = np.random.default_rng(0)
    tissue = np.stack([np.roll(image, rng.integers(9, 99), 1) for image in clip])
    grey = (170, 170, 170)
    text = np.stack([burn(i, "Muster, Anna", (90, 90), grey, 18) for i in tissue])
    standing = find_standing_text(text, everywhere)
    assert standing
    assert all(is_marked(image, everywhere, standing) for image in text)
    alone = np.mean([find_text(image, everywhere).any() for image in text])
    assert alone < 1
    assert find_standing_text(tissue, everywhere) == []


def test_text_that_is_typed_halfway_marks_the_frames_that_show_it(clip, everywhere):
    rng = np.random.default_rng(0)
    places = rng.integers(9, 280, 24)
    tissue = np.stack([np.roll(clip[i % 12] // 2, p, 1) for i, p in enumerate(places)])
    text = tissue.copy()
    for index in range(12, 24):
        text[index] = burn(tissue[index], "L plexus C5", (60, 120), (110,) * 3, 16)
    standing = find_standing_text(text, everywhere)
    marked = np.array([is_marked(image, everywhere, standing) for image in text])
    assert marked[12:].all()
    assert marked[:12].mean() <= 0.25


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_samples_no_text_stands_still(clip, everywhere, count):
    image = burn(clip[0] // 2, "DOE^JOHN", (10, 10), WHITE, 16)
    assert find_standing_text(image[None][:count], everywhere) == []


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_text_of_any_image_is_a_mask_of_its_size(image):
    found = find_text(image, np.ones(image.shape, bool))
    assert found.shape == image.shape
