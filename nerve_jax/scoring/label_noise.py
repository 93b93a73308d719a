"""What labels that disagree about one view say of the scores a model can have."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from nerve_jax.scoring.metrics import compute_mean


def compute_label_noise(
    views: Sequence[int] | Int[np.ndarray, " pairs"],
    dice: Sequence[float] | Float[np.ndarray, " pairs"],
    nerves: Sequence[int] | Int[np.ndarray, " pairs"],
) -> dict:
    """How far labels of one view agree, and a perfect model with one of them.

    Every view has the same weight, however many pairs of labels it has. See
    `estimate_perfect_dice` for the perfect model.

    Args:
      views: the view of each pair of labels.
      dice: between the two labels of each pair.
      nerves: how many of the two show a nerve, 1 or 2.

    Returns:
      `label_noise_dice`, mean Dice between two labels of a view;
      `label_noise_dice_both_present`, over the pairs in which both show a nerve;
      `perfect_model_dice`, what a model that is always right would score with one label;
      `num_label_pairs`, `num_label_views`. NaN where there are no such pairs.
    """
    view, score, count = np.array(views, int), np.array(dice, float), np.array(nerves)
    both = count == 2
    agreeing = _mean_of_views(view[both], score[both])
    disputed = _mean_of_views(view, (~both).astype(float))
    return {
        "label_noise_dice": _mean_of_views(view, score),
        "label_noise_dice_both_present": agreeing,
        "perfect_model_dice": estimate_perfect_dice(agreeing, disputed),
        "num_label_pairs": len(view),
        "num_label_views": len(set(view.tolist())),
    }


def estimate_perfect_dice(label_dice: float, disputed_share: float = 0.0) -> float:
    """Mean Dice of the truth with one noisy label, from that of two noisy labels.

    The model: each label is the true outline displaced by small errors that are
    independent between labels, with mean 0 and the same spread. Then 1 - Dice is half the
    area between two outlines over that of the nerve, to first order the mean absolute
    difference of the displacements. Of two labels this difference has twice the variance
    that it has of the truth and one, so

        1 - Dice(truth, label) = (1 - Dice(label, label)) / sqrt(2).

    And each label misses a nerve that is there with probability e, independently. Of
    pairs in which a label shows it, one misses it in the share u = 2 e / (1 + e), so
    1 - e = (2 - 2 u) / (2 - u); a missed nerve scores 0. Errors that labels have in common
    cannot be seen in their differences: with those, a perfect model scores less.

    Args:
      label_dice: mean Dice of two labels that both show the nerve, in [0, 1].
      disputed_share: u, in [0, 1].

    Returns:
      NaN where `label_dice` is.
    """
    found = (2 - 2 * disputed_share) / (2 - disputed_share)
    return found * (1 - (1 - label_dice) / np.sqrt(2).item())


def _mean_of_views(views, values) -> float:
    means = [values[views == view].mean() for view in np.unique(views)]
    return compute_mean(np.array(means, float))
