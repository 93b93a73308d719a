"""Uncertainty of scores: bootstrap over subjects, whose frames resemble one another.

Frames of one person are near-duplicates, so resampling frames would make intervals far
too narrow. Here persons are drawn with replacement, each with all its frames (a cluster
bootstrap: Davison & Hinkley 1997, Bootstrap Methods and their Application, ch. 3.8).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

NUM_RESAMPLES = 2000


def bootstrap_mean(
    values: Float[np.ndarray, " frames"],
    subjects: Sequence[str],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of a mean over frames, by drawing subjects.

    Args:
      values: one score a frame; NaN where it is undefined, and left out of the mean.
      subjects: the person of each frame.
      level: nominal coverage, in (0, 1).
      seed: of the draws.

    Returns:
      (low, high); both NaN with fewer than two subjects that have a value.
    """
    sums, counts = _totals(values, subjects)
    if len(sums) < 2:
        return float("nan"), float("nan")

    def mean(sums, counts, axis=-1):
        return sums.sum(axis) / counts.sum(axis)

    if np.ptp(sums / counts) < 1e-9:  # all people alike: the interval is a point
        return (float(sums[0] / counts[0]),) * 2
    found = stats.bootstrap(
        (sums, counts),
        mean,
        paired=True,
        vectorized=True,
        confidence_level=level,
        n_resamples=NUM_RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def bootstrap_auroc(
    true: Bool[np.ndarray, " frames"],
    probs: Float[np.ndarray, " frames"],
    subjects: Sequence[str],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of the area under the ROC curve, by drawing subjects (percentiles).

    Args:
      true: whether each frame holds a nerve.
      probs: the probability said of it.
      subjects: the person of each frame.
      level: nominal coverage, in (0, 1).
      seed: of the draws.

    Returns:
      (low, high); both NaN with fewer than two subjects or one class. Draws that hold
      one class only are left out.
    """
    names, person = np.unique(np.asarray(subjects), return_inverse=True)
    if len(names) < 2 or true.all() or not true.any():
        return float("nan"), float("nan")
    rows = [np.flatnonzero(person == i) for i in range(len(names))]
    rng = np.random.default_rng(seed)
    areas = []
    for _ in range(NUM_RESAMPLES):
        drawn = np.concatenate(
            [rows[i] for i in rng.integers(len(names), size=len(names))]
        )
        positives = int(true[drawn].sum())
        negatives = len(drawn) - positives
        if positives and negatives:
            ranks = stats.rankdata(probs[drawn])[true[drawn]].sum()
            pairs = positives * negatives
            areas.append((ranks - positives * (positives + 1) / 2) / pairs)
    tail = 50 * (1 - level)
    low, high = np.percentile(areas, [tail, 100 - tail])
    return float(low), float(high)


def _totals(values, subjects) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of the values of each subject that has any."""
    defined = ~np.isnan(values)
    _, person = np.unique(np.asarray(subjects)[defined], return_inverse=True)
    counts = np.bincount(person).astype(float)
    return np.bincount(person, weights=values[defined]), counts
