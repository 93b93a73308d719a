"""Measures of outlines against a plain definition, on hundreds of random masks."""

import numpy as np
import pytest
from scipy import ndimage

from nerve_jax.scoring.surface import TOLERANCES_PX, compute_surface_scores


def blob(rng, size=(48, 60)):
    """A smooth random shape, ragged enough to be no ellipse."""
    noise = ndimage.gaussian_filter(rng.normal(size=size), 5)
    y, x = np.mgrid[: size[0], : size[1]]
    centre = rng.uniform(0.3, 0.7, 2) * size
    near = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 300)
    return noise / noise.std() * 0.15 + near > 0.5


def outline_points(mask, spacing):
    """Middles of the edges between a pixel of the mask and one outside."""
    padded = np.pad(mask, 1)
    points = []
    for axis in (0, 1):
        rows, columns = np.nonzero(np.diff(padded.astype(np.int8), axis=axis))
        middle = np.stack([rows, columns], 1).astype(float)
        middle[:, axis] += 0.5
        points.append(middle)
    return np.concatenate(points) * spacing


def brute_force(pred, truth, spacing=(1.0, 1.0)):
    """Every point of one outline against every point of the other."""
    ours, theirs = (outline_points(m, spacing) for m in (pred, truth))
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
    to_truth, to_pred = apart.min(1), apart.min(0)
    both = np.concatenate([to_truth, to_pred])
    return {
        # A percentile may jump where a mask has pieces, so its neighbours too.
        **{
            f"hd{q}": max(np.percentile(to_truth, q), np.percentile(to_pred, q))
            for q in (92, 95, 98)
        },
        "assd": both.mean(),
        **{f"within_{t}": (both <= t).mean() for t in TOLERANCES_PX},
    }


def test_random_masks_agree_with_brute_force_to_a_pixels_fraction():
    rng = np.random.default_rng(0)
    differences, apart = [], []
    for _ in range(200):
        pred, truth = blob(rng), blob(rng)
        if not (pred.any() and truth.any()):
            continue
        ours, reference = compute_surface_scores(pred, truth), brute_force(pred, truth)
        assert reference["hd92"] - 1 <= ours["hd95_px"] <= reference["hd98"] + 1
        apart.append(ours["hd95_px"] - reference["hd95"])
        assert ours["assd_px"] == pytest.approx(reference["assd"], abs=0.35)
        for t in TOLERANCES_PX:
            within = reference[f"within_{t}"]
            assert ours[f"surface_dice_{t}px"] == pytest.approx(within, abs=0.12)
        differences.append(ours["assd_px"] - reference["assd"])
    assert len(differences) > 150
    assert abs(np.mean(differences)) < 0.2
    assert abs(np.median(apart)) < 0.2


def test_a_square_moved_by_three_pixels():
    truth, pred = np.zeros((2, 40, 40), bool)
    truth[10:30, 10:30] = pred[13:33, 10:30] = True
    scores = compute_surface_scores(pred, truth, np.array([0.1, 0.1], np.float32))
    assert scores["hd95_px"] == pytest.approx(3)
    assert scores["surface_dice_5px"] == 1
    assert 0.5 < scores["surface_dice_2px"] < 0.6  # two sides slide along themselves
    assert scores["hd95_mm"] == pytest.approx(0.3)
    assert scores["assd_mm"] == pytest.approx(scores["assd_px"] / 10)
    assert scores["surface_dice_0.5mm"] == 1


def test_pixels_need_not_be_square():
    rng = np.random.default_rng(1)
    pred, truth = blob(rng), blob(rng)
    spacing = np.array([0.2, 0.1], np.float32)
    scores = compute_surface_scores(pred, truth, spacing)
    reference = brute_force(pred, truth, spacing)
    assert scores["hd95_mm"] == pytest.approx(reference["hd95"], abs=0.2)
    assert scores["assd_mm"] == pytest.approx(reference["assd"], abs=0.06)


def test_identical_masks_are_no_distance_apart():
    mask = blob(np.random.default_rng(2))
    scores = compute_surface_scores(mask, mask)
    assert scores["hd95_px"] == scores["assd_px"] == 0
    assert scores["surface_dice_2px"] == 1


def test_both_empty_agree_one_empty_does_not_and_neither_has_a_distance():
    empty, full = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    spacing = np.array([0.1, 0.1], np.float32)
    for pred, truth, alike in ((empty, empty, 1), (empty, full, 0), (full, empty, 0)):
        scores = compute_surface_scores(pred, truth, spacing)
        for name, value in scores.items():
            if name.startswith("surface_dice"):
                assert value == alike, name
            else:
                assert np.isnan(value), name


def test_without_a_spacing_nothing_is_given_in_millimetres():
    mask = np.ones((5, 5), bool)
    scores = compute_surface_scores(mask, mask, np.array([np.nan] * 2, np.float32))
    assert np.isnan(scores["hd95_mm"])
    assert np.isnan(scores["surface_dice_1mm"])
    assert scores.keys() == compute_surface_scores(mask, mask).keys()
