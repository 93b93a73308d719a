import numpy as np
import pytest
from scipy import special

from nerve_jax.scoring.calibration import (
    CENTRES,
    compute_calibration_error,
    compute_reliability,
    count_by_logit,
    count_pixels,
    fit_temperature,
)


def drawn(temperature, frames=20, size=(40, 50), seed=0):
    """Probabilities too sure by a temperature, and masks drawn from the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1.5, (frames, *size))
    masks = rng.random(logits.shape) < special.expit(logits)
    probs = special.expit(logits * temperature).astype(np.float32)
    return probs, masks.astype(np.uint8) * 255


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_simulation_is_found(temperature):
    counts = count_by_logit(*drawn(temperature))
    assert fit_temperature(counts) == pytest.approx(temperature, rel=0.05)


def test_counts_hold_every_pixel_and_every_share_of_nerve():
    probs, masks = drawn(1.0, frames=3)
    probs[0, 0, :3] = 0, 1, 0.5
    masks[1] //= 2
    counts = count_by_logit(probs, masks)
    np.testing.assert_allclose(counts.pixels.sum(1), 2000)
    np.testing.assert_allclose(counts.nerve.sum(1), masks.sum((1, 2)) / 255)
    np.testing.assert_array_equal(count_pixels(probs[0]), counts.pixels[0])
    assert counts.pixels[0, 0] >= 1 <= counts.pixels[0, -1]


def test_calibrated_probabilities_have_no_error_and_sure_ones_do():
    probs, masks = drawn(2.5)
    counts = count_by_logit(probs, masks)
    pixels, nerve = counts.pixels.sum(0), counts.nerve.sum(0)
    errors = [
        compute_calibration_error(
            compute_reliability(special.expit(CENTRES / t), nerve, pixels)
        )
        for t in (1.0, fit_temperature(counts))
    ]
    assert errors[0] > 0.05
    assert errors[1] < 0.01


def test_a_calibration_error_by_hand():
    probs, true = np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 1.0, 1.0, 1.0])
    found = compute_reliability(probs, true, np.ones(4))
    assert found.count.sum() == 4
    # two at 0.1 of which half came true, two at 0.9 of which all did
    assert compute_calibration_error(found) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    nothing = compute_reliability(np.zeros(0), np.zeros(0), np.zeros(0))
    assert np.isnan(compute_calibration_error(nothing))


def test_a_probability_of_one_is_in_the_last_bin():
    found = compute_reliability(np.ones(1), np.full(1, 3.0), np.full(1, 3.0))
    assert found.count[-1] == 3
    assert found.predicted[-1] == found.observed[-1] == 1
