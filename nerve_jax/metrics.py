"""Scores of segmentation from the counts of pixels, frame by frame.

A frame's counts are (tp, fp, fn, tn): nerve found, nerve claimed, nerve missed, and
background left alone. Every score is a function of counts alone; overall scores are
means over frames, as the Kaggle competition takes them.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

Counts = Int[np.ndarray, "frames 4"]
PerFrame = Float[np.ndarray, " frames"]


def compute_counts(
    pred: Bool[np.ndarray, "height width"], truth: Bool[np.ndarray, "height width"]
) -> Int[np.ndarray, "4"]:
    """Count (tp, fp, fn, tn) of one frame."""
    tp = np.count_nonzero(pred & truth)
    fp = np.count_nonzero(pred) - tp
    fn = np.count_nonzero(truth) - tp
    return np.array([tp, fp, fn, pred.size - tp - fp - fn], np.int64)


def compute_dice(counts: Counts) -> PerFrame:
    """2 tp / (2 tp + fp + fn) (Dice 1945); 1 where truth and prediction are empty."""
    tp, fp, fn, _ = counts.T
    return _ratio(2 * tp, 2 * tp + fp + fn)


def compute_iou(counts: Counts) -> PerFrame:
    """tp / (tp + fp + fn) (Jaccard 1901); 1 where truth and prediction are empty."""
    tp, fp, fn, _ = counts.T
    return _ratio(tp, tp + fp + fn)


def compute_precision(counts: Counts) -> PerFrame:
    """tp / (tp + fp); 1 where truth and prediction are empty, 0 where one is."""
    tp, fp, fn, _ = counts.T
    return np.where(tp + fp + fn > 0, tp / np.maximum(tp + fp, 1), 1.0)


def compute_recall(counts: Counts) -> PerFrame:
    """tp / (tp + fn); 1 where truth and prediction are empty, 0 where one is."""
    tp, fp, fn, _ = counts.T
    return np.where(tp + fp + fn > 0, tp / np.maximum(tp + fn, 1), 1.0)


def compute_pixel_accuracy(counts: Counts) -> PerFrame:
    """(tp + tn) / all pixels. Says little: background alone scores 0.988 on Kaggle's."""
    tp, _, _, tn = counts.T
    return _ratio(tp + tn, counts.sum(axis=1))


def compute_presence(counts: Counts) -> Bool[np.ndarray, " frames"]:
    """Whether the truth of each frame holds a nerve: tp + fn > 0."""
    return counts[:, 0] + counts[:, 2] > 0


def empty_counts(counts: Counts) -> Counts:
    """What the same frames would have counted had nothing been predicted."""
    tp, fp, fn, tn = counts.T
    nothing = np.zeros_like(tp)
    return np.stack([nothing, nothing, tp + fn, tn + fp], axis=1)


def compute_scores(counts: Counts) -> dict[str, float]:
    """Mean scores over frames, each with what predicting nothing would have scored.

    Returns:
      `dice`, `dice_nerve_present` (over frames whose truth holds a nerve), `iou`,
      `precision`, `recall`, `pixel_accuracy`, each also as `<name>_empty_baseline`; `presence_sensitivity` and
      `presence_specificity` (a mask of one pixel counts as "nerve"); `num_frames`. A
      mean over no frames is NaN.
    """
    scores = _mean_scores(counts)
    for name, value in _mean_scores(empty_counts(counts)).items():
        scores[f"{name}_empty_baseline"] = value
    tp, fp, _, _ = counts.T
    present, claimed = compute_presence(counts), tp + fp > 0
    scores["presence_sensitivity"] = _mean(claimed[present])
    scores["presence_specificity"] = _mean(~claimed[~present])
    scores["num_frames"] = len(counts)
    return scores


def compute_frame_scores(counts: Counts) -> dict[str, PerFrame]:
    """The scores of each frame whose means `compute_scores` gives.

    `dice_nerve_present` is NaN where the truth holds no nerve.
    """
    dice = compute_dice(counts)
    return {
        "dice": dice,
        "dice_nerve_present": np.where(compute_presence(counts), dice, np.nan),
        "iou": compute_iou(counts),
        "precision": compute_precision(counts),
        "recall": compute_recall(counts),
        "pixel_accuracy": compute_pixel_accuracy(counts),
    }


def _mean_scores(counts: Counts) -> dict[str, float]:
    return {
        name: _mean(values[~np.isnan(values)])
        for name, values in compute_frame_scores(counts).items()
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> PerFrame:
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
