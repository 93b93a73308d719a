"""Chooses and fits the parts of a decision, by the Dice that they gain on new people.

Each part, outline and presence, has a short list of candidates with one to three
parameters. A candidate is scored on frames of people that it was not fitted on, by nets
that it was not fitted on where there are enough, and is taken only where its gain over
the plain part is clear of noise, and a later one in its place only where its gain over
that is. Else the plain part stays. (Taking whichever gained most followed the noise: from
one set of people to the next it was another.)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import special
from sklearn.linear_model import LogisticRegression

from nerve_jax.scoring.calibration import EDGES, LogitCounts, fit_temperature
from nerve_jax.scoring.decide import (
    Outline,
    PerCut,
    Presence,
    Rule,
    count_inside,
)
from nerve_jax.scoring.evidence import Evidence, Rows
from nerve_jax.scoring.metrics import compute_mean
from nerve_jax.scoring.units import Units

FEWEST_PEOPLE = 5  # fewer say nothing of others

Scores = Float[np.ndarray, " frames"]


class Tried(NamedTuple):
    """What a candidate gains over the plain part, in Dice, on people it was not fitted on.

    Attributes:
      part: "outline" or "presence".
      name: of the candidate.
      gain: mean over frames; for an outline over frames with a nerve, as if all were
        drawn.
      interval: of the gain: see `Units.bound`.
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
    evidence: Evidence, units: Units, *, threshold: float
) -> tuple[Rule, list[Tried]]:
    """Choose and fit both parts.

    Args:
      evidence: of frames.
      units: of the same frames.
      threshold: the plain one.

    Returns:
      The rule, and what was tried. With fewer than `FEWEST_PEOPLE` the plain rule, and
      nothing tried. No outline is tried without frames with a nerve of that many people;
      no presence where all frames have one, or none has.
    """
    outline, outlines = _choose_outline(evidence, units, threshold)
    presence, presences = _choose_presence(evidence, units, threshold, outline)
    return Rule(threshold, outline, presence), outlines + presences


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
    evidence: Evidence, units: Units, threshold: float
) -> tuple[Outline | None, list[Tried]]:
    shown, units = evidence.select(evidence.presence), units.select(evidence.presence)
    if len(set(units.people)) < FEWEST_PEOPLE:
        return None, []
    plain = _score_outline(shown, Outline("cut", threshold))
    gains = {}
    for name, fit in OUTLINES.items():
        scores = _cross_fit(
            units.deal(),
            lambda rows, fit=fit: fit(shown.select(rows)),
            lambda outline, rows: _score_outline(shown.select(rows), outline),
        )
        gains[name] = scores - plain
    tried = _compare("outline", gains, units, shown.presence)
    taken = [OUTLINES[row.name](shown) for row in tried if row.taken]
    return (taken[0] if taken else None), tried


def _score_outline(evidence: Evidence, outline: Outline) -> Scores:
    """Dice of each frame, drawn by an outline."""
    bins = outline.choose_bins(evidence.counts.pixels)
    return score_cuts(evidence.counts)[np.arange(len(bins)), bins]


def _choose_presence(
    evidence: Evidence, units: Units, threshold: float, outline: Outline | None
) -> tuple[Presence | None, list[Tried]]:
    present = evidence.presence
    if len(set(units.people)) < FEWEST_PEOPLE or present.all() or not present.any():
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
            units.deal(),
            lambda rows, clue=clue: fit_presence(
                evidence.select(rows), clue, dice[rows]
            ),
            apply,
        )
        gains[clue] = scores - plain
    tried = _compare("presence", gains, units, present)
    taken = [fit_presence(evidence, row.name, dice) for row in tried if row.taken]
    return (taken[0] if taken else None), tried


def _cross_fit(parts: np.ndarray, fit: Callable, apply: Callable) -> Scores:
    """Values of each frame, by what `fit(rows)` made of the frames of other parts."""
    values = np.zeros(len(parts))
    for part in np.unique(parts):
        rows = parts == part
        values[rows] = apply(fit(~rows), rows)
    return values


def _compare(
    part: str, gains: dict[str, Scores], units: Units, present: Rows
) -> list[Tried]:
    """Say what each candidate gains, and which is taken."""
    best, held = None, np.zeros(len(present))
    for name, gain in gains.items():
        if units.bound(gain - held)[0] > 0:
            best, held = name, gain
    return [
        Tried(
            part,
            name,
            float(gain.mean()),
            units.bound(gain),
            compute_mean(gain[present]),
            compute_mean(gain[~present]),
            name == best,
        )
        for name, gain in gains.items()
    ]
