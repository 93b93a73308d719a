"""From probabilities to a mask, or to "no nerve"."""

import numpy as np
from jaxtyping import Bool, Float

from nerve_jax.examples import resize_probs


def decide(
    probs: Float[np.ndarray, "height width"],
    presence_prob: float,
    *,
    threshold: float,
    presence_threshold: float,
) -> Bool[np.ndarray, "height width"]:
    """Cut probabilities at `threshold`, unless a nerve is unlikely to be there at all.

    Args:
      probs: of nerve, in [0, 1], at the frame's original size.
      presence_prob: that the frame holds a nerve.
      threshold: a pixel is nerve from this probability on.
      presence_threshold: below it the mask is empty; 0 leaves the decision to pixels.
    """
    if presence_prob < presence_threshold:
        return np.zeros(probs.shape, bool)
    return probs >= threshold


def decide_at_size(
    probs: Float[np.ndarray, "_ _"],
    presence_prob: float,
    size: tuple[int, ...],
    **thresholds: float,
) -> Bool[np.ndarray, "height width"]:
    """Enlarge probabilities to a frame's own (height, width), then `decide`."""
    return decide(resize_probs(probs, size), presence_prob, **thresholds)
