"""Scores of predicted frames, each at its original size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from nerve_jax.decide import decide
from nerve_jax.examples import Examples, resize_probs
from nerve_jax.files import read_table, write_table
from nerve_jax.metrics import compute_counts, compute_dice
from nerve_jax.pictures import choose_from_worst_to_best, draw_sheet

COLUMNS = ("frame", "subject", "tp", "fp", "fn", "tn", "dice", "presence_prob")


def count_frames(
    examples: Examples,
    positions: Int[np.ndarray, " chosen"],
    probs: Float[np.ndarray, "chosen height width"],
    presence_probs: Float[np.ndarray, " chosen"],
    **decision: float,
) -> Int[np.ndarray, "chosen 4"]:
    """Decide each frame at its original size and count its pixels.

    Args:
      examples: of the data set.
      positions: which of its frames were predicted.
      probs: at training size, float32 or float16.
      presence_probs: that each holds a nerve.
      **decision: thresholds, as `decide` takes them.

    Returns:
      (tp, fp, fn, tn) of each frame.
    """
    counts = np.zeros((len(positions), 4), np.int64)
    for row, position in enumerate(positions):
        truth = examples.truth(int(position))
        pred = decide(
            resize_probs(probs[row], truth.shape),
            float(presence_probs[row]),
            **decision,
        )
        counts[row] = compute_counts(pred, truth)
    return counts


def draw_scored(
    examples: Examples,
    positions: Int[np.ndarray, " chosen"],
    probs: Float[np.ndarray, "chosen height width"],
    presence_probs: Float[np.ndarray, " chosen"],
    counts: Int[np.ndarray, "chosen 4"],
    num_frames: int = 6,
    **decision: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw frames from the worst scored to the best; arguments as in `count_frames`."""
    dice, presence = compute_dice(counts), counts[:, 0] + counts[:, 2] > 0
    columns = []
    for row in choose_from_worst_to_best(dice, presence, num_frames):
        image = examples.original(int(positions[row]))
        pred = decide(
            resize_probs(probs[row], image.shape),
            float(presence_probs[row]),
            **decision,
        )
        caption = f"{examples.frames[positions[row]]}  Dice {dice[row]:.2f}"
        columns.append((image, examples.truth(int(positions[row])), pred, caption))
    return draw_sheet(columns)


def write_scores(
    path: Path,
    examples: Examples,
    positions: Int[np.ndarray, " chosen"],
    counts: Int[np.ndarray, "chosen 4"],
    presence_probs: Float[np.ndarray, " chosen"],
) -> None:
    """Write one row a frame: `COLUMNS`."""
    rows = [
        (
            examples.frames[position],
            examples.subjects[position],
            *map(int, count),
            f"{dice:.6f}",
            f"{float(presence):.6f}",
        )
        for position, count, dice, presence in zip(
            positions, counts, compute_dice(counts), presence_probs, strict=True
        )
    ]
    write_table(path, COLUMNS, rows)


def read_counts(paths: Sequence[Path]) -> Int[np.ndarray, "frames 4"]:
    """Read the counts of one or several tables of `write_scores`, one after another."""
    rows = [
        [int(row[key]) for key in ("tp", "fp", "fn", "tn")]
        for path in paths
        for row in read_table(path)
    ]
    return np.array(rows, np.int64).reshape(-1, 4)
