"""Uncertainty of scores: bootstrap over subjects, whose frames resemble one another.

Frames of one person are near-duplicates, so resampling frames would make intervals far
too narrow. Here persons are drawn with replacement, each with all its frames (a cluster
bootstrap: Davison & Hinkley 1997, Bootstrap Methods and their Application, ch. 3.8).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
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


def _totals(values, subjects) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of the values of each subject that has any."""
    defined = ~np.isnan(values)
    _, person = np.unique(np.asarray(subjects)[defined], return_inverse=True)
    counts = np.bincount(person).astype(float)
    return np.bincount(person, weights=values[defined]), counts
