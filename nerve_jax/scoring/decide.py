"""From probabilities to a mask, or to "no nerve".

`ExpectedDice` draws the mask of highest expected Dice. With q the probability that
there is a nerve and r = p / q that of a pixel if there is one, a mask S scores about

    D(S) = 2 sum_S r / (|S| + sum r)   if there is a nerve, and 0 if there is none,

and the empty mask scores 1 if there is none. S holds the pixels above a cut (Lipton et
al. 2014, arXiv:1402.1892); it is drawn where q D(S) > 1 - q. The ratio of expectations
stands for the expectation of the ratio.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage, special
from sklearn.linear_model import LogisticRegression

from nerve_jax.data.resize import resize_probs
from nerve_jax.scoring.calibration import (
    CENTRES,
    EDGES,
    LogitCounts,
    count_by_logit,
    count_pixels,
    fit_temperature,
)
from nerve_jax.system.errors import InputError

SPECK = 0.1  # of the smallest nerve seen; what is smaller is no nerve
MOSTLY = 0.95  # of nerves seen in one piece; then one is all that is drawn
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner hang together
MAX_EVIDENCE = 9.0  # logits beyond are no surer

Mask = Bool[np.ndarray, "height width"]


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A pixel is nerve from a probability on."""

    value: float

    def presence(self, probs: Float[np.ndarray, "_ _"], presence_prob: float) -> float:
        """The probability that there is a nerve, as the model gave it."""
        return presence_prob

    def mask(
        self,
        probs: Float[np.ndarray, "_ _"],
        presence_prob: float,
        size: tuple[int, ...],
    ) -> Mask:
        """Decide a frame of a (height, width); `probs` are at training size."""
        return resize_probs(probs, size) >= self.value


@dataclasses.dataclass(frozen=True)
class ExpectedDice:
    """The mask of highest expected Dice, or none.

    Attributes:
      temperature: divides a pixel's logit.
      presence_weight: of the evidence for a nerve, the sum of the presence logit and
        the logit of the surest pixel.
      presence_bias: added to it.
      smallest_share: of a frame; a smaller mask is taken for none.
      one_component: keep the largest piece only.
    """

    temperature: float
    presence_weight: float
    presence_bias: float
    smallest_share: float
    one_component: bool

    def presence(self, probs: Float[np.ndarray, "_ _"], presence_prob: float) -> float:
        """The calibrated probability that there is a nerve."""
        evidence = _weigh_evidence(probs[None], np.array([presence_prob]))
        return float(
            special.expit(self.presence_weight * evidence[0] + self.presence_bias)
        )

    def mask(
        self,
        probs: Float[np.ndarray, "_ _"],
        presence_prob: float,
        size: tuple[int, ...],
    ) -> Mask:
        """Decide a frame of a (height, width); `probs` are at training size."""
        presence = self.presence(probs, presence_prob)
        cut, expected = choose_cut(count_pixels(probs), presence, self.temperature)
        if presence * expected <= 1 - presence:
            return np.zeros(size, bool)
        mask = resize_probs(probs, size) >= special.expit(EDGES[cut])
        if self.one_component:
            mask = keep_largest(mask)
        return mask if mask.mean() >= self.smallest_share else np.zeros(size, bool)


Rule = Threshold | ExpectedDice
RULES = {"threshold": Threshold, "expected_dice": ExpectedDice}


def rule_to_json(rule: Rule) -> dict:
    """The name and the parameters of a rule."""
    name = next(name for name, kind in RULES.items() if isinstance(rule, kind))
    return {"rule": name, **dataclasses.asdict(rule)}


def rule_from_json(content: dict) -> Rule:
    """The rule that `rule_to_json` described."""
    parameters = {key: value for key, value in content.items() if key != "rule"}
    return RULES[content["rule"]](**parameters)


def check_rule(name: str) -> None:
    """Raise `InputError` unless there is a rule of that name."""
    if name not in RULES:
        raise InputError(f"decision.rule={name!r} is not one of: {', '.join(RULES)}")


def any_fitted(rules: Iterable[Rule]) -> bool:
    """Whether any of the rules was fitted, so that they may gain on the threshold."""
    return any(isinstance(rule, ExpectedDice) for rule in rules)


def choose_cut(
    pixels: Float[np.ndarray, " bins"], presence_prob: float, temperature: float
) -> tuple[int, float]:
    """Choose a frame's cut for the highest expected Dice if there is a nerve.

    Args:
      pixels: of the frame by logit (see `calibration`).
      presence_prob: that there is a nerve, calibrated.
      temperature: divides logits.

    Returns:
      The lowest bin that belongs to the mask, and the Dice expected.
    """
    marginal = special.expit(CENTRES / temperature)
    nerve = pixels * np.minimum(marginal / presence_prob, 1)
    inside, found = (np.cumsum(values[::-1])[::-1] for values in (pixels, nerve))
    expected = 2 * found / (inside + nerve.sum())
    best = np.flatnonzero(expected == expected.max())
    # Of cuts that give one mask, the nearest to a half.
    cut = np.clip(np.searchsorted(EDGES, 0.0), best[0], best[-1])
    return int(cut), float(expected.max())


class Evidence(NamedTuple):
    """What frames, predicted by a model that was not trained on them, say for fitting.

    Attributes:
      counts: of pixels by logit.
      presence_logits: see `ExpectedDice.presence_weight`.
      presence: whether the truth shows a nerve.
      areas: of the truth at training size, as shares of the frame.
      pieces: of the truth at training size.
    """

    counts: LogitCounts
    presence_logits: Float[np.ndarray, " frames"]
    presence: Bool[np.ndarray, " frames"]
    areas: Float[np.ndarray, " frames"]
    pieces: Int[np.ndarray, " frames"]

    def select(self, rows: Bool[np.ndarray, " frames"]) -> "Evidence":
        """That of some frames."""
        counts = LogitCounts(*(part[rows] for part in self.counts))
        return Evidence(counts, *(part[rows] for part in self[1:]))


def collect_evidence(
    probs: Float[np.ndarray, "frames height width"],
    presence_probs: Float[np.ndarray, " frames"],
    masks: UInt8[np.ndarray, "frames height width"],
    presence: Bool[np.ndarray, " frames"],
) -> Evidence:
    """Reduce frames to what `fit_rule` needs of them.

    Args:
      probs: of nerve, at training size.
      presence_probs: as the model gave them.
      masks: the truth, share of each pixel, 0 to 255.
      presence: whether the truth shows a nerve.
    """
    truths = masks >= 128
    return Evidence(
        count_by_logit(probs, masks),
        _weigh_evidence(probs, presence_probs),
        presence,
        truths.mean((1, 2)),
        np.array([count_pieces(truth) for truth in truths], int),
    )


def pool_evidence(parts: Sequence[Evidence]) -> Evidence:
    """One of several, at least one, in their order."""
    counts = zip(*(part.counts for part in parts), strict=True)
    rest = zip(*(part[1:] for part in parts), strict=True)
    return Evidence(
        LogitCounts(*map(np.concatenate, counts)), *map(np.concatenate, rest)
    )


def fit_rule(evidence: Evidence) -> ExpectedDice:
    """Fit the few parameters of the decision.

    The temperature is the likeliest; presence is a logistic regression, lightly
    penalised, and where all frames show a nerve or none does, their share (Laplace's
    rule of succession); the smallest area and the number of pieces are those of the
    nerves seen. (Choosing these two by score, and the cut itself, fitted noise: out of
    fold it lost what the rest gains.)
    """
    presence = evidence.presence
    if presence.all() or not presence.any():
        share = (presence.sum() + 1) / (len(presence) + 2)
        weight, bias = 0.0, float(special.logit(share))
    else:
        logits = evidence.presence_logits[:, None]
        fitted = LogisticRegression().fit(logits, presence)
        weight, bias = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    seen = evidence.areas > 0  # a tiny nerve may vanish at training size
    smallest = float(evidence.areas[seen].min()) if seen.any() else 0.0
    single = evidence.pieces[seen] == 1
    return ExpectedDice(
        fit_temperature(evidence.counts),
        weight,
        bias,
        smallest_share=SPECK * smallest,
        one_component=bool(single.mean() >= MOSTLY) if seen.any() else False,
    )


def count_pieces(mask: Mask) -> int:
    """How many pieces a mask has."""
    return ndimage.label(mask, TOUCHING)[1]


def keep_largest(mask: Mask) -> Mask:
    """The largest piece of a mask."""
    pieces, count = ndimage.label(mask, TOUCHING)
    if count < 2:
        return mask
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])


def _weigh_evidence(probs, presence_probs) -> Float[np.ndarray, " frames"]:
    """Sum of the presence logit and the logit of the surest pixel."""
    both = np.stack([presence_probs, probs.max((1, 2))]).astype(np.float64)
    logits = special.logit(np.clip(both, 1e-7, 1 - 1e-7))
    return np.clip(logits, -MAX_EVIDENCE, MAX_EVIDENCE).sum(0)
