import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from nerve_jax.scoring import metrics

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
SCORES = {
    metrics.compute_dice: f1_score,
    metrics.compute_iou: jaccard_score,
    metrics.compute_precision: precision_score,
    metrics.compute_recall: recall_score,
    metrics.compute_pixel_accuracy: accuracy_score,
}


def score(compute, pred, truth):
    return compute(metrics.compute_counts(pred, truth)[None])[0]


@given(PAIRS)
def test_dice_is_symmetric_and_between_0_and_1(pair):
    pred, truth = pair
    dice = score(metrics.compute_dice, pred, truth)
    assert dice == score(metrics.compute_dice, truth, pred)
    assert 0 <= dice <= 1
    assert (dice == 1) == np.array_equal(pred, truth)


@given(PAIRS)
def test_scores_agree_with_scikit_learn(pair):
    pred, truth = pair
    empty = not (pred.any() or truth.any())
    for compute, reference in SCORES.items():
        options = {} if reference is accuracy_score else {"zero_division": float(empty)}
        expected = reference(truth.ravel(), pred.ravel(), **options)
        assert score(compute, pred, truth) == pytest.approx(expected)


@given(PAIRS)
def test_counts_add_up(pair):
    pred, truth = pair
    tp, fp, fn, tn = metrics.compute_counts(pred, truth)
    assert tp + fp + fn + tn == pred.size
    assert (tp + fp, tp + fn) == (pred.sum(), truth.sum())


def test_both_empty_scores_1_and_one_empty_scores_0():
    empty, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    for compute in (
        metrics.compute_dice,
        metrics.compute_iou,
        metrics.compute_precision,
        metrics.compute_recall,
    ):
        assert score(compute, empty, empty) == 1
        assert score(compute, empty, full) == score(compute, full, empty) == 0


def test_overall_scores_and_their_empty_baseline():
    # a half-found nerve, a missed one, an empty frame left empty, a false alarm
    counts = np.array([[2, 1, 1, 6], [0, 0, 5, 5], [0, 0, 0, 10], [0, 4, 0, 6]])
    scores = metrics.compute_scores(counts)
    assert scores["dice"] == pytest.approx((2 / 3 + 0 + 1 + 0) / 4)
    assert scores["dice_nerve_present"] == pytest.approx((2 / 3 + 0) / 2)
    assert scores["iou"] == pytest.approx((1 / 2 + 0 + 1 + 0) / 4)
    assert scores["pixel_accuracy"] == pytest.approx((0.8 + 0.5 + 1 + 0.6) / 4)
    assert scores["dice_empty_baseline"] == 0.5
    assert scores["dice_nerve_present_empty_baseline"] == 0
    assert scores["pixel_accuracy_empty_baseline"] == pytest.approx(3.2 / 4)
    assert scores["presence_sensitivity"] == 0.5
    assert scores["presence_specificity"] == 0.5
    assert scores["num_frames"] == 4


def test_a_mean_over_no_frames_is_nan():
    scores = metrics.compute_scores(np.array([[0, 0, 0, 9]]))
    assert np.isnan(scores["dice_nerve_present"])
    assert scores["dice"] == 1
