"""Chooses and fits the parts of a decision, by the Dice that they gain on new people.

Each part, outline and presence, has a short list of candidates with one to three
parameters. A candidate is scored on frames of people that it was not fitted on, and is
taken only where its gain over the plain part is clear of noise, and a later one in its
place only where its gain over that is. Else the plain part stays. (Taking whichever gained
most followed the noise: from one set of people to the next it was another.)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from nerve_jax.scoring.calibration import EDGES, LogitCounts, fit_temperature
from nerve_jax.scoring.decide import (
    Outline,
    PerCut,
    Presence,
    Rule,
    count_inside,
)
from nerve_jax.scoring.evidence import Evidence, Rows
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.scoring.metrics import compute_mean

FEWEST_PEOPLE = 5  # fewer say nothing of others
LEVEL = 0.9  # of the interval whose lower end must be above 0
PARTS = 5  # of people, each scored by what was fitted on the rest

Scores = Float[np.ndarray, " frames"]


class Tried(NamedTuple):
    """What a candidate gains over the plain part, in Dice, on people it was not fitted on.

    Attributes:
      part: "outline" or "presence".
      name: of the candidate.
      gain: mean over frames; for an outline over frames with a nerve, as if all were
        drawn.
      interval: of the gain, of `LEVEL`, over people.
      gain_with_nerve, gain_without_nerve: over frames with a nerve, and without.
      taken: whether the decision uses it.
    """

    part: str
    name: str
    gain: float
    interval: tuple[float, float]
    gain_with_nerve: float
    gain_without_nerve: float
    taken: bool


def fit_rule(
    evidence: Evidence, groups: Sequence[str], *, threshold: float
) -> tuple[Rule, list[Tried]]:
    """Choose and fit both parts.

    Args:
      evidence: of frames.
      groups: the person of each.
      threshold: the plain one.

    Returns:
      The rule, and what was tried. With fewer than `FEWEST_PEOPLE` the plain rule, and
      nothing tried. No outline is tried without frames with a nerve of that many people;
      no presence where all frames have one, or none has.
    """
    people = np.array(groups)
    outline, outlines = _choose_outline(evidence, people, threshold)
    presence, presences = _choose_presence(evidence, people, threshold, outline)
    return Rule(threshold, outline, presence), outlines + presences


def deal_people(people: Sequence[str] | np.ndarray) -> Int[np.ndarray, " frames"]:
    """The part that each frame is in; parts share no people and are about equally large."""
    parts = np.zeros(len(people), int)
    if len(set(people)) < 2:
        return parts
    folds = GroupKFold(min(PARTS, len(set(people))))
    for number, (_, rows) in enumerate(folds.split(parts, groups=people)):
        parts[rows] = number
    return parts


def score_cuts(counts: LogitCounts) -> PerCut:
    """Dice of each frame cut at the lower edge of each bin, at training size."""
    inside, found = count_inside(counts.pixels), count_inside(counts.nerve)
    total = inside + found[:, :1]
    return np.where(total > 0, 2 * found / np.maximum(total, 1e-9), 1.0)


def _fit_cut(evidence: Evidence) -> Outline:
    """The cut of highest mean Dice."""
    best = score_cuts(evidence.counts).mean(0).argmax()
    return Outline("cut", float(special.expit(EDGES[best])))


# In order: the first that surely gains is held until a later one surely gains on it.
OUTLINES: dict[str, Callable[[Evidence], Outline]] = {
    "nested_dice": lambda e: Outline("nested_dice", fit_temperature(e.counts)),
    "expected_dice": lambda e: Outline("expected_dice", fit_temperature(e.counts)),
    "cut": _fit_cut,
}
CLUES = ("head_and_surest_pixel", "head", "surest_pixel", "expected_area")


def fit_presence(evidence: Evidence, clue: str, dice: Scores) -> Presence:
    """Fit presence on one clue.

    A lightly penalised logistic regression; where all frames show a nerve, or none does,
    their share (Laplace's rule of succession). Drawing is expected to score q D, with q
    the probability of a nerve and D the mean Dice of those that are drawn, and not
    drawing 1 - q: a nerve is drawn where q is at least 1 / (1 + D).

    Args:
      evidence: of frames.
      clue: a name of `Evidence.clues`.
      dice: of each frame, if drawn.
    """
    present = evidence.presence
    if present.all() or not present.any():
        share = (present.sum() + 1) / (len(present) + 2)
        weight, bias, typical = 0.0, float(special.logit(share)), 1.0
    else:
        fitted = LogisticRegression().fit(evidence.clues[clue][:, None], present)
        weight, bias = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        typical = float(dice[present].mean())
    return Presence(clue, weight, bias, least=1 / (1 + typical))


def _choose_outline(
    evidence: Evidence, people: np.ndarray, threshold: float
) -> tuple[Outline | None, list[Tried]]:
    shown, people = evidence.select(evidence.presence), people[evidence.presence]
    if len(set(people)) < FEWEST_PEOPLE:
        return None, []
    plain = _score_outline(shown, Outline("cut", threshold))
    gains = {}
    for name, fit in OUTLINES.items():
        scores = _cross_fit(
            people,
            lambda rows, fit=fit: fit(shown.select(rows)),
            lambda outline, rows: _score_outline(shown.select(rows), outline),
        )
        gains[name] = scores - plain
    tried = _compare("outline", gains, people, shown.presence)
    taken = [OUTLINES[row.name](shown) for row in tried if row.taken]
    return (taken[0] if taken else None), tried


def _score_outline(evidence: Evidence, outline: Outline) -> Scores:
    """Dice of each frame, drawn by an outline."""
    bins = outline.choose_bins(evidence.counts.pixels)
    return score_cuts(evidence.counts)[np.arange(len(bins)), bins]


def _choose_presence(
    evidence: Evidence, people: np.ndarray, threshold: float, outline: Outline | None
) -> tuple[Presence | None, list[Tried]]:
    present = evidence.presence
    if len(set(people)) < FEWEST_PEOPLE or present.all() or not present.any():
        return None, []
    dice = _score_outline(evidence, outline or Outline("cut", threshold))

    def score(drawn: Bool[np.ndarray, " chosen"], rows: Rows):
        right = np.where(present, dice, 0.0)[rows]
        return np.where(drawn, right, (~present[rows]).astype(float))

    def apply(presence: Presence, rows: Rows):
        probs = presence.prob(evidence.select(rows).clues)
        return score(probs >= presence.least, rows)

    everybody = np.ones(len(present), bool)
    surest = evidence.clues["surest_pixel"]
    plain = score(surest >= special.logit(threshold), everybody)
    gains = {}
    for clue in CLUES:
        scores = _cross_fit(
            people,
            lambda rows, clue=clue: fit_presence(
                evidence.select(rows), clue, dice[rows]
            ),
            apply,
        )
        gains[clue] = scores - plain
    tried = _compare("presence", gains, people, present)
    taken = [fit_presence(evidence, row.name, dice) for row in tried if row.taken]
    return (taken[0] if taken else None), tried


def _cross_fit(people: np.ndarray, fit: Callable, apply: Callable) -> Scores:
    """Values of each frame, by what `fit(rows)` made of the people of other parts."""
    parts, values = deal_people(people), np.zeros(len(people))
    for part in np.unique(parts):
        rows = parts == part
        values[rows] = apply(fit(~rows), rows)
    return values


def _compare(
    part: str, gains: dict[str, Scores], people: np.ndarray, present: Rows
) -> list[Tried]:
    """Say what each candidate gains, and which is taken."""

    def bound(gain: Scores) -> tuple[float, float]:
        return compute_mean_interval(gain, people.tolist(), level=LEVEL)

    best, held = None, np.zeros(len(people))
    for name, gain in gains.items():
        if bound(gain - held)[0] > 0:
            best, held = name, gain
    return [
        Tried(
            part,
            name,
            float(gain.mean()),
            bound(gain),
            compute_mean(gain[present]),
            compute_mean(gain[~present]),
            name == best,
        )
        for name, gain in gains.items()
    ]
