"""Readers against each other, and a model against each of them."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from nerve_jax.data import rle
from nerve_jax.data.structures import MODEL
from nerve_jax.scoring.intervals import compute_mean_interval, compute_score_interval
from nerve_jax.scoring.metrics import compute_counts, compute_dice, compute_mean

Runs = Sequence[str | None]  # of each frame, None where nobody looked


def compare_readers(
    readers: Mapping[str, Runs],
    predicted: Sequence[str],
    sizes: Int[np.ndarray, "frames 2"],
    people: Sequence[str],
) -> dict:
    """How well readers agree on a structure, and the model with them.

    That is the ceiling that a model can be held to: one that agrees with readers as well
    as they agree with each other is as good as these labels can tell.

    Args:
      readers: outlines of each by name, as run lengths; two readers at least.
      predicted: the model's, of the same frames.
      sizes: height and width of each frame in px.
      people: the person of each.

    Returns:
      `pairs`, for every two readers, then for each and the model: `first`, `second`, `dice` over
      the frames that both have outlined, `dice_present` over those of them in which one
      has found the structure, the `intervals` of both (95 %, over people) and
      `num_frames`. And of the frames with two readers or more, `num_frames`:
      `between_readers`, the Dice of a frame being the mean over its pairs of readers;
      `with_model`, the mean over its readers against the model; and `difference`, the
      second minus the first; each with `dice` and `interval`. NaN where there is none.
    """
    drawn = {**readers, MODEL: predicted}
    pairs = [*itertools.combinations(readers, 2), *((name, MODEL) for name in readers)]
    dice = {
        pair: np.array([_compute(*o) for o in zip(*map(drawn.get, pair), sizes)])
        for pair in pairs
    }
    between = [values for pair, values in dice.items() if MODEL not in pair]
    shared = ~np.isnan(between).all(0)
    means = {
        "between_readers": _mean_of(between, shared),
        "with_model": _mean_of([dice[name, MODEL] for name in readers], shared),
    }
    difference = means["with_model"] - means["between_readers"]
    return {
        "pairs": [
            _describe(pair, drawn, values, people) for pair, values in dice.items()
        ],
        **{
            name: {
                "dice": compute_mean(values),
                "interval": compute_score_interval(values, people),
            }
            for name, values in means.items()
        },
        "difference": {
            "dice": compute_mean(difference),
            "interval": compute_mean_interval(difference, people),
        },
        "num_frames": int(shared.sum()),
    }


def _compute(first: str | None, second: str | None, size) -> float:
    """The Dice of two outlines; NaN unless both are there."""
    if first is None or second is None:
        return float("nan")
    masks = [rle.decode(runs, *map(int, size)) for runs in (first, second)]
    return float(compute_dice(compute_counts(*masks)[None])[0])


def _mean_of(dice: Sequence[Float[np.ndarray, " frames"]], frames):
    """The mean of what is defined in each of some frames; NaN in the others."""
    return np.array(
        [
            compute_mean(own) if chosen else np.nan
            for own, chosen in zip(np.transpose(dice), frames, strict=True)
        ]
    )


def _describe(pair, drawn, dice: Float[np.ndarray, " frames"], people) -> dict:
    found = np.array([any(o) for o in zip(*(drawn[name] for name in pair))])
    kinds = {"dice": dice, "dice_present": np.where(found, dice, np.nan)}
    return {
        "first": pair[0],
        "second": pair[1],
        **{name: compute_mean(values) for name, values in kinds.items()},
        "intervals": {
            name: compute_score_interval(values, people)
            for name, values in kinds.items()
        },
        "num_frames": int((~np.isnan(dice)).sum()),
    }
