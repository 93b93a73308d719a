import numpy as np
import pytest

from nerve_jax.data.resize import resize_image, resize_probs


def test_resizing_keeps_flat_pictures_and_area():
    flat = np.full((50, 70), 7, np.uint8)
    np.testing.assert_array_equal(resize_image(flat, (20, 30)), 7)
    np.testing.assert_allclose(
        resize_probs(flat / np.float32(10), (90, 80)), 0.7, rtol=1e-6
    )
    square = np.zeros((96, 128), np.uint8)
    square[20:60, 30:90] = 255
    small = resize_image(square, (24, 32))
    assert small.mean() == pytest.approx(square.mean(), rel=0.01)
