"""From probabilities to a mask, or to "no nerve".

A `Rule` has two parts. Its outline says where the nerve is drawn if it is drawn: pixels
from a cut on, the cut the same for all frames or chosen for each by the Dice that it is
expected to score. Its presence says whether it is drawn at all. The plain rule cuts at
one threshold and draws whatever reaches it; `fitting` chooses and fits the others.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from nerve_jax.data.resize import Patch, cut_resized, empty_patch
from nerve_jax.scoring.calibration import CENTRES, EDGES, count_pixels
from nerve_jax.system.errors import InputError

KINDS = ("fitted", "threshold")  # of decision.rule
MAX_LOGIT = 9.0  # beyond, no surer

PerCut = Float[np.ndarray, "frames bins"]
Clue = Float[np.ndarray, " frames"]


def count_inside(pixels: PerCut) -> PerCut:
    """How many pixels a mask has that is cut at the lower edge of each bin."""
    return np.cumsum(pixels[:, ::-1], axis=1)[:, ::-1]


def expect_dice(pixels: PerCut, temperature: float) -> PerCut:
    """The Dice expected of each cut, if pixels were nerve independently of each other.

    With r the probability that a pixel is nerve if the frame has one, a mask S scores
    about 2 sum_S r / (|S| + sum r): the ratio of expectations stands for the expectation
    of the ratio. Such masks are pixels above a cut (Lipton et al. 2014,
    arXiv:1402.1892). r is the probability as a share of the frame's highest.

    Args:
      pixels: of each frame, not empty, by the bin of their logit (see `calibration`).
      temperature: divides logits.
    """
    probs = special.expit(CENTRES / temperature)
    share = np.minimum(probs / probs[_highest(pixels)][:, None], 1)
    inside, found = count_inside(pixels), count_inside(pixels * share)
    return 2 * found / np.maximum(inside + found[:, :1], 1)


def expect_nested_dice(pixels: PerCut, temperature: float) -> PerCut:
    """The Dice expected of each cut, if the outline is one of the contours of probability.

    Truths are drawn that keep pixels together: all pixels of probability u and more, for
    u uniform between 0 and the frame's highest. Of two nested masks of m and n pixels the
    Dice is 2 min(m, n) / (m + n). Arguments as of `expect_dice`.
    """
    edges = special.expit(np.append(EDGES, np.inf) / temperature)
    edges[0] = 0
    return np.stack([_expect_nested(row, np.diff(edges)) for row in pixels])


def _expect_nested(pixels, weights) -> Float[np.ndarray, " bins"]:
    """`expect_nested_dice` of a frame; `weights` are the shares of u in each bin."""
    sizes, place = np.unique(count_inside(pixels[None])[0], return_inverse=True)
    weight = np.bincount(place, weights=weights) * (sizes > 0)
    smaller = np.minimum(sizes[:, None], sizes)
    dice = 2 * smaller / np.maximum(sizes[:, None] + sizes, 1)
    return (dice @ (weight / weight.sum()))[place]


def _highest(pixels: PerCut) -> Int[np.ndarray, " frames"]:
    """The bin of each frame's highest probability."""
    return pixels.shape[1] - 1 - np.argmax(pixels[:, ::-1] > 0, axis=1)


EXPECTATIONS: dict[str, Callable] = {
    "expected_dice": expect_dice,
    "nested_dice": expect_nested_dice,
}


@dataclasses.dataclass(frozen=True)
class Outline:
    """Where a nerve is drawn.

    Attributes:
      kind: "cut", one for all frames; or a key of `EXPECTATIONS`, for the cut that is
        expected to score most in each frame.
      value: the cut, a probability; or the temperature.
    """

    kind: str
    value: float

    def choose_bins(self, pixels: PerCut) -> Int[np.ndarray, " frames"]:
        """The lowest bin that belongs to the mask; of cuts that tie, the nearest to a half."""
        half = int(np.searchsorted(EDGES, 0.0))
        if self.kind == "cut":
            bin_ = int(np.searchsorted(EDGES, special.logit(self.value)))
            return np.full(len(pixels), min(bin_, len(EDGES) - 1))
        expected = EXPECTATIONS[self.kind](pixels, self.value)
        best = expected >= expected.max(1, keepdims=True) - 1e-12
        first, last = best.argmax(1), best.shape[1] - 1 - best[:, ::-1].argmax(1)
        return np.clip(half, first, last)

    def choose_cut(self, probs: Float[np.ndarray, "_ _"]) -> float:
        """The probability from which a pixel of a frame is nerve."""
        if self.kind == "cut":
            return self.value
        return float(
            special.expit(EDGES[self.choose_bins(count_pixels(probs)[None])[0]])
        )


def weigh_clues(
    probs: Float[np.ndarray, "frames height width"],
    presence_probs: Float[np.ndarray, " frames"],
) -> dict[str, Clue]:
    """What may say whether a frame shows a nerve, each as a logit or a logarithm.

    Returns:
      The model's presence logit, the logit of the surest pixel, their sum, and the
      logarithm of the share of the frame that is expected to be nerve.
    """
    head, surest = (
        np.clip(
            special.logit(np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)),
            -MAX_LOGIT,
            MAX_LOGIT,
        )
        for p in (presence_probs, probs.max((1, 2)))
    )
    area = np.log(probs.mean((1, 2), dtype=np.float64) + 1e-5)
    return {
        "head": head,
        "surest_pixel": surest,
        "head_and_surest_pixel": head + surest,
        "expected_area": area,
    }


@dataclasses.dataclass(frozen=True)
class Presence:
    """Whether a nerve is drawn: a logistic regression on one clue, and how sure to be.

    Attributes:
      clue: a key of `weigh_clues`.
      weight, bias: of the regression.
      least: probability from which a nerve is drawn.
    """

    clue: str
    weight: float
    bias: float
    least: float

    def prob(self, clues: dict[str, Clue]) -> Float[np.ndarray, " frames"]:
        """The probability that each frame shows a nerve."""
        return special.expit(self.weight * clues[self.clue] + self.bias)


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a frame is decided.

    Attributes:
      threshold: the plain one, which stands in for whichever part is not fitted.
      outline: where a nerve is drawn; None for a cut at the threshold.
      presence: whether it is drawn; None to draw where any pixel reaches the threshold.
    """

    threshold: float
    outline: Outline | None = None
    presence: Presence | None = None

    def predict_presence(
        self, probs: Float[np.ndarray, "_ _"], presence_prob: float
    ) -> float:
        """The probability that there is a nerve; as the model gave it, if not fitted."""
        if self.presence is None:
            return presence_prob
        clues = weigh_clues(probs[None], np.array([presence_prob]))
        return float(self.presence.prob(clues)[0])

    def patch(
        self,
        probs: Float[np.ndarray, "_ _"],
        presence_prob: float,
        size: tuple[int, ...],
    ) -> Patch:
        """Decide a frame of a (height, width); `probs` are at training size."""
        if self.presence is not None:
            sure = self.predict_presence(probs, presence_prob)
            drawn = sure >= self.presence.least
        else:  # a cut at the threshold leaves nothing of what does not reach it
            drawn = self.outline is None or bool(probs.max() >= self.threshold)
        if not drawn:
            return empty_patch(size)
        outline = self.outline or Outline("cut", self.threshold)
        return cut_resized(probs, size, outline.choose_cut(probs))

    def mask(
        self,
        probs: Float[np.ndarray, "_ _"],
        presence_prob: float,
        size: tuple[int, ...],
    ) -> Bool[np.ndarray, "height width"]:
        """See `patch`: the mask of the whole frame."""
        return self.patch(probs, presence_prob, size).whole()


def rule_from_json(content: dict) -> Rule:
    """The rule of which `dataclasses.asdict` made `content`; other keys are ignored.

    Raises:
      InputError: an older version of the code has written it.
    """
    if "outline" not in content:
        raise InputError(
            "an older version of this code has fitted that decision; set "
            "--config.decision.rule=threshold, or fit it again: train with the run's "
            "configuration, --workdir and --force (finished folds are not trained again)"
        )
    outline, presence = content["outline"], content["presence"]
    return Rule(
        content["threshold"],
        outline and Outline(**outline),
        presence and Presence(**presence),
    )
