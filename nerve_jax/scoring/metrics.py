"""Scores of segmentation from the counts of pixels, frame by frame.

A frame's counts are (tp, fp, fn, tn): nerve found, nerve claimed, nerve missed, and
background left alone. Every score is a function of counts alone; overall scores are
means over frames, as the Kaggle competition takes them.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from nerve_jax.data import rle
from nerve_jax.data.resize import Patch

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


def compute_patch_counts(pred: Patch, truth: str) -> Int[np.ndarray, "4"]:
    """Count (tp, fp, fn, tn) of one frame whose truth is given as run lengths.

    The same as `compute_counts` of the whole masks, which need not be drawn for it.
    """
    positions = pred.positions()
    tp = rle.count_shared(truth, positions)
    fp, fn = len(positions) - tp, rle.count_pixels(truth) - tp
    height, width = pred.size
    return np.array([tp, fp, fn, height * width - tp - fp - fn], np.int64)


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


def compute_frame_scores(counts: Counts) -> dict[str, PerFrame]:
    """Every score of each frame, by name.

    `dice_nerve_present` is NaN where the truth holds no nerve. `presence_sensitivity`
    is 1 where a nerve was found and 0 where it was missed, NaN where there is none;
    `presence_specificity` is 1 where nothing was claimed and 0 at a false alarm, NaN
    where there is a nerve. A mask of one pixel counts as a claim.
    """
    tp, fp, _, _ = counts.T
    present, claimed = compute_presence(counts), tp + fp > 0
    dice = compute_dice(counts)
    return {
        "dice": dice,
        "dice_nerve_present": np.where(present, dice, np.nan),
        "iou": compute_iou(counts),
        "precision": compute_precision(counts),
        "recall": compute_recall(counts),
        "pixel_accuracy": compute_pixel_accuracy(counts),
        "presence_sensitivity": np.where(present, claimed, np.nan),
        "presence_specificity": np.where(present, np.nan, ~claimed),
    }


def compute_scores(counts: Counts) -> dict[str, float]:
    """Mean scores over frames, each with what predicting nothing would have scored.

    Returns:
      The mean of each of `compute_frame_scores` over the frames in which it is defined
      (NaN if there is none), and what predicting nothing scores as
      `<name>_empty_baseline`; `num_frames`.
    """
    scores = _mean_scores(counts)
    for name, value in _mean_scores(empty_counts(counts)).items():
        scores[f"{name}_empty_baseline"] = value
    return scores | {"num_frames": len(counts)}


def compute_mean(values: PerFrame) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _mean_scores(counts: Counts) -> dict[str, float]:
    return {
        name: compute_mean(values)
        for name, values in compute_frame_scores(counts).items()
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> PerFrame:
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
