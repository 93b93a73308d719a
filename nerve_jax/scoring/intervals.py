"""Confidence intervals over subjects: between which bounds a score is for other people.

Frames of one person are near-duplicates, so a person is the unit. The variance of a mean
over frames is that of the jackknife that leaves out one person at a time (Efron &
Tibshirani 1993, An Introduction to the Bootstrap, ch. 11). People count by how many
frames they have: `people` below is their effective number, (sum of frames)^2 / (sum of
squared frames) (Kish 1965, Survey Sampling, ch. 11.7), which is the plain number where
all have as many.

A score in [0, 1] has an interval of Korn & Graubard (1998, Survey Methodology 24,
193-201): that of Clopper & Pearson (1934) for as many independent trials as would have
the same variance. It never leaves [0, 1], and is longer on the side where there is more
room, as is right: cohorts without a hard person are common, so that the truth tends to
lie below a high score. Two cases need more than the variance that is seen:

- Few people may all be easy. Their variance is raised by 1 / (4 people) of the largest
  that a score in [0, 1] of the same mean can have.
- All people at 0 or at 1 have no variance. The trials are then people: nine of nine at 1
  give [0.664, 1].

What has no such bounds, differences and distances, has a t-interval.

How often such intervals of nominally 95 % cover the truth was simulated with
`benchmarks/coverage.py` for Dice, Dice with nerve, sensitivity and specificity, on
cohorts drawn from real runs and on one in which 15 % of people are hard: see
docs/results.md.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

HIDDEN = 0.25  # of the largest variance, and by 1 / people: what few may not show

PerPerson = Float[np.ndarray, " people"]


def compute_score_interval(
    values: Float[np.ndarray, " frames"],
    subjects: Sequence[str],
    *,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean of a score in [0, 1].

    Args:
      values: one score per frame; NaN where it is undefined, and left out of the mean.
      subjects: the person of each frame.
      level: nominal coverage, in (0, 1).

    Returns:
      (low, high), in [0, 1], low < high; both NaN with fewer than two subjects that
      have a value.

    Raises:
      ValueError: a value is not in [0, 1].
    """
    if (values < 0).any() or (values > 1).any():
        raise ValueError("a score that is not in [0, 1] has no such interval")
    return score_interval_of_people(*sum_by_person(values, subjects), level=level)


def compute_mean_interval(
    values: Float[np.ndarray, " frames"],
    subjects: Sequence[str],
    *,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean of a difference or a distance: t, with people - 1 degrees.

    Args: as of `compute_score_interval`, of any range.

    Returns:
      (low, high); both NaN with fewer than two subjects that have a value. People whose
      means are all equal give a point: two runs of the same masks differ by 0, from 0
      to 0.
    """
    return mean_interval_of_people(*sum_by_person(values, subjects), level=level)


def compute_auroc_interval(
    true: Bool[np.ndarray, " frames"],
    probs: Float[np.ndarray, " frames"],
    subjects: Sequence[str],
    *,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the area under the ROC curve, by leaving out one subject at a time.

    Args:
      true: whether each frame holds a nerve.
      probs: the probability of that, as predicted.
      subjects: the person of each frame.
      level: nominal coverage, in (0, 1).

    Returns:
      (low, high), in [0, 1], low < high; both NaN unless two subjects or more have
      frames with a nerve, and two or more have frames without.
    """
    _, person = np.unique(np.asarray(subjects), return_inverse=True)
    positives, negatives = (_count(person, which) for which in (true, ~true))
    if min((positives > 0).sum(), (negatives > 0).sum()) < 2:
        return float("nan"), float("nan")
    won, lost, own = _count_pairs(true, probs, person)
    without = (won.sum() - won - lost + own) / (
        (positives.sum() - positives) * (negatives.sum() - negatives)
    )
    area = won.sum() / (positives.sum() * negatives.sum())
    people = min(_effective_number(positives), _effective_number(negatives))
    return _bounded(area, _jackknife(without - area), people, level)


def sum_by_person(
    values: Float[np.ndarray, " frames"], subjects: Sequence[str]
) -> tuple[PerPerson, PerPerson]:
    """Sum and number of the values of each subject that has any that is not NaN."""
    defined = ~np.isnan(values)
    _, person = np.unique(np.asarray(subjects)[defined], return_inverse=True)
    counts = np.bincount(person).astype(float)
    return np.bincount(person, weights=values[defined]).astype(float), counts


def score_interval_of_people(
    sums: PerPerson, counts: PerPerson, *, level: float = 0.95, hidden: float = HIDDEN
) -> tuple[float, float]:
    """As `compute_score_interval`, from each person's sum and number (1 or more)."""
    if len(sums) < 2:
        return float("nan"), float("nan")
    return _bounded(*_estimate(sums, counts), level, hidden)


def mean_interval_of_people(
    sums: PerPerson, counts: PerPerson, *, level: float = 0.95
) -> tuple[float, float]:
    """As `compute_mean_interval`, from each person's sum and number (1 or more)."""
    if len(sums) < 2:
        return float("nan"), float("nan")
    mean, variance, people = _estimate(sums, counts)
    reach = _reach(people, level) * np.sqrt(variance)
    return float(mean - reach), float(mean + reach)


def _bounded(
    mean: float, variance: float, people: float, level: float, hidden: float = HIDDEN
) -> tuple[float, float]:
    """Interval of an estimate in [0, 1], from the variance of the estimate."""
    mean = float(np.clip(mean, 0, 1))
    room = mean * (1 - mean)  # the variance of one trial of this mean
    trials = people
    if room > 1e-12:  # else all are at the edge
        raised = variance / room + hidden / people**2
        narrower = stats.norm.ppf((1 + level) / 2) / _reach(people, level)
        trials = narrower**2 / raised
    hits, misses, tail = trials * mean, trials * (1 - mean), (1 - level) / 2
    low = stats.beta.ppf(tail, hits, misses + 1) if hits > 1e-9 else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, misses) if misses > 1e-9 else 1.0
    return float(min(low, mean)), float(max(high, mean))  # rounding may pass the mean


def _estimate(sums: PerPerson, counts: PerPerson) -> tuple[float, float, float]:
    """Mean over frames, its jackknife variance, the effective number of people."""
    mean = sums.sum() / counts.sum()
    changes = (mean * counts - sums) / (counts.sum() - counts)
    return mean, _jackknife(changes), _effective_number(counts)


def _jackknife(changes: PerPerson) -> float:
    """Variance of an estimate from how leaving out each person changes it."""
    return float((len(changes) - 1) / len(changes) * (changes**2).sum())


def _effective_number(counts: PerPerson) -> float:
    return float(counts.sum() ** 2 / (counts**2).sum())


def _reach(people: float, level: float) -> float:
    """How many standard errors a t-interval reaches, with one degree or more."""
    return float(stats.t.ppf((1 + level) / 2, max(people - 1, 1)))


def _count_pairs(
    true: Bool[np.ndarray, " frames"],
    probs: Float[np.ndarray, " frames"],
    person: Int[np.ndarray, " frames"],
) -> tuple[PerPerson, PerPerson, PerPerson]:
    """Pairs of a frame with a nerve and one without, in which the former ranks higher.

    Returns:
      Of each person: those of its frames with a nerve, those of its frames without, and
      those of which both are its own; ties count one half (Mann & Whitney 1947).
    """
    below = _count_below(true, probs)
    above = _count_below(~true, -probs)
    own = [
        _count_below(true[rows], probs[rows])[true[rows]].sum()
        for rows in (np.flatnonzero(person == i) for i in range(person.max() + 1))
    ]
    won, lost = (_count(person, *of) for of in ((true, below), (~true, above)))
    return won, lost, np.array(own, float)


def _count_below(
    true: Bool[np.ndarray, " frames"], probs: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    """Of each frame that is true, how many that are not rank below; 0 of the others."""
    found = np.zeros(len(probs))
    found[true] = stats.rankdata(probs)[true] - stats.rankdata(probs[true])
    return found


def _count(
    person: Int[np.ndarray, " frames"],
    which: Bool[np.ndarray, " frames"],
    values: Float[np.ndarray, " frames"] | None = None,
) -> PerPerson:
    """Number of some frames of each person, or the sum of their values."""
    weights = which if values is None else which * values
    return np.bincount(person, weights=weights, minlength=person.max() + 1)
