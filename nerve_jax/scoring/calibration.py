"""Whether probabilities mean what they say: of a hundred pixels given 0.3, thirty.

Pixels are counted by the logit of their probability, in narrow bins; temperature,
reliability and expected scores all follow from these counts, a few hundred numbers per frame.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy import optimize, special

BIN_WIDTH = 1 / 16
EDGES = np.arange(-12.0, 9.0, BIN_WIDTH)  # lower logits of the bins
CENTRES = EDGES + BIN_WIDTH / 2
RELIABILITY_BINS = 15
TEMPERATURES = (0.2, 8.0)

PerBin = Float[np.ndarray, "frames bins"]


class LogitCounts(NamedTuple):
    """Pixels of each frame by the logit of their probability.

    Attributes:
      pixels: how many are in each bin.
      nerve: how many of them are nerve; a pixel may be so in part.
    """

    pixels: PerBin
    nerve: PerBin


def find_bins(probs: Float[np.ndarray, "..."]) -> np.ndarray:
    """The bin of each probability; outermost bins hold what lies beyond."""
    logits = special.logit(np.clip(probs.astype(np.float64), 1e-7, 1 - 1e-7))
    bins = ((logits - EDGES[0]) / BIN_WIDTH).astype(np.int64)
    return np.clip(bins, 0, len(EDGES) - 1)


def count_pixels(
    probs: Float[np.ndarray, "height width"],
) -> Float[np.ndarray, " bins"]:
    """Count a frame's pixels by logit."""
    return np.bincount(find_bins(probs).ravel(), minlength=len(EDGES)).astype(float)


def count_by_logit(
    probs: Float[np.ndarray, "frames height width"],
    masks: UInt8[np.ndarray, "frames height width"],
) -> LogitCounts:
    """Count the pixels of frames, and how many of them are nerve, by logit.

    Args:
      probs: of nerve, float16 or float32.
      masks: share of each pixel that is nerve, 0 to 255.
    """
    pixels, nerve = np.zeros((2, len(probs), len(EDGES)))
    for row, (frame, mask) in enumerate(zip(probs, masks, strict=True)):
        bins = find_bins(frame).ravel()
        pixels[row] = np.bincount(bins, minlength=len(EDGES))
        shares = mask.ravel() / 255.0
        nerve[row] = np.bincount(bins, weights=shares, minlength=len(EDGES))
    return LogitCounts(pixels, nerve)


def fit_temperature(counts: LogitCounts) -> float:
    """The temperature by which logits are divided to make pixels likeliest.

    Minimises the cross-entropy of all pixels (Guo et al. 2017, arXiv:1706.04599). Above
    1 the probabilities were too sure. Within `TEMPERATURES`.
    """
    pixels, nerve = counts.pixels.sum(0), counts.nerve.sum(0)

    def cross_entropy(log_temperature: float) -> float:
        logits = CENTRES / np.exp(log_temperature)
        loss = nerve * np.logaddexp(0, -logits)
        return float(np.sum(loss + (pixels - nerve) * np.logaddexp(0, logits)))

    bounds = tuple(np.log(TEMPERATURES))
    found = optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


class Reliability(NamedTuple):
    """Predicted and observed frequencies, in bins of equal width over [0, 1].

    Attributes:
      predicted: mean probability of a bin's members; NaN where there are none.
      observed: share of them that came true.
      count: how many they are.
    """

    predicted: Float[np.ndarray, " bins"]
    observed: Float[np.ndarray, " bins"]
    count: Float[np.ndarray, " bins"]


def compute_reliability(
    probs: Float[np.ndarray, " n"],
    true: Float[np.ndarray, " n"],
    count: Float[np.ndarray, " n"],
) -> Reliability:
    """Sum up predicted and observed frequencies.

    Args:
      probs: a probability each, in [0, 1].
      true: how many of its members came true.
      count: how many members it has.
    """
    place = np.minimum((probs * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    sums = [
        np.bincount(place, weights=weights, minlength=RELIABILITY_BINS)
        for weights in (probs * count, true, count)
    ]
    with np.errstate(invalid="ignore"):
        return Reliability(sums[0] / sums[2], sums[1] / sums[2], sums[2])


def compute_calibration_error(reliability: Reliability) -> float:
    """Expected calibration error: mean distance of predicted from observed frequencies.

    Bins weigh by their members (Naeini et al. 2015). Of pixels, nine in ten are surely
    background, which keeps it small. NaN without any members.
    """
    predicted, observed, count = (part[reliability.count > 0] for part in reliability)
    if not len(count):
        return float("nan")
    return float(np.average(np.abs(predicted - observed), weights=count))
