import numpy as np
import pytest
from scipy import ndimage

from nerve_jax.scoring.label_noise import compute_label_noise, estimate_perfect_dice


def draw_outline(rng, jitter, size=200, radius=60):
    """A disc whose outline is displaced smoothly, by `jitter` px on average."""
    y, x = np.mgrid[:size, :size] - size / 2
    noise = ndimage.gaussian_filter1d(rng.normal(size=360), 12, mode="wrap")
    place = (np.degrees(np.arctan2(y, x)) % 360).astype(int)
    return np.hypot(y, x) < radius + jitter * (noise / noise.std())[place]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("jitter", [2, 5, 10, 15])
def test_a_perfect_model_scores_what_the_disagreement_of_two_labels_says(jitter):
    rng = np.random.default_rng(0)
    truth = draw_outline(rng, 0)
    pairs = [[draw_outline(rng, jitter) for _ in range(2)] for _ in range(60)]
    between = np.mean([dice(*pair) for pair in pairs])
    perfect = np.mean([dice(truth, label) for pair in pairs for label in pair])
    assert between < perfect - 0.005
    assert estimate_perfect_dice(float(between)) == pytest.approx(perfect, abs=0.01)


@pytest.mark.parametrize(
    ("between", "perfect"), [(0.784, 0.849), (0.889, 0.921), (1.0, 1.0)]
)
def test_of_two_labels_as_measured(between, perfect):
    assert estimate_perfect_dice(between) == pytest.approx(perfect, abs=0.003)


@pytest.mark.parametrize("missed", [0.0, 0.1, 0.3])
def test_labels_that_miss_the_nerve_cost_a_perfect_model_those_frames(missed):
    rng = np.random.default_rng(0)
    found = rng.random((100_000, 2)) >= missed
    shown = found[found.any(1)]
    disputed = float((shown.sum(1) == 1).mean())
    assert estimate_perfect_dice(1.0, disputed) == pytest.approx(1 - missed, abs=0.01)


def test_every_view_weighs_the_same():
    found = compute_label_noise([0] * 9 + [1], [0.6] * 9 + [0.8], [2] * 10)
    assert found["label_noise_dice"] == pytest.approx(0.7)
    assert (found["num_label_pairs"], found["num_label_views"]) == (10, 2)
    assert found["perfect_model_dice"] == pytest.approx(1 - 0.3 / np.sqrt(2))


def test_without_pairs_nothing_is_said():
    found = compute_label_noise([], [], [])
    assert np.isnan(found["label_noise_dice"])
    assert np.isnan(found["perfect_model_dice"])
    assert found["num_label_pairs"] == 0
