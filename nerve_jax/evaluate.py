"""Scores of predicted frames, each at its original size."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from sklearn.metrics import roc_auc_score

from nerve_jax.decide import decide_at_size
from nerve_jax.examples import Examples
from nerve_jax.files import read_table, write_table
from nerve_jax.intervals import bootstrap_mean
from nerve_jax.metrics import (
    compute_counts,
    compute_dice,
    compute_frame_scores,
    compute_presence,
    compute_scores,
)
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
        pred = decide_at_size(
            probs[row], float(presence_probs[row]), truth.shape, **decision
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
    dice, presence = compute_dice(counts), compute_presence(counts)
    columns = []
    for row in choose_from_worst_to_best(dice, presence, num_frames):
        image = examples.original(int(positions[row]))
        pred = decide_at_size(
            probs[row], float(presence_probs[row]), image.shape, **decision
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


class Scored(NamedTuple):
    """What a table of scores says of its frames, in its order."""

    frames: list[str]
    subjects: list[str]
    counts: Int[np.ndarray, "frames 4"]
    presence_probs: Float[np.ndarray, " frames"]


def read_scores(paths: Sequence[Path]) -> Scored:
    """Read one or several tables of `write_scores`, one after another."""
    rows = [row for path in paths for row in read_table(path)]
    counts = [[int(row[key]) for key in ("tp", "fp", "fn", "tn")] for row in rows]
    return Scored(
        [row["frame"] for row in rows],
        [row["subject"] for row in rows],
        np.array(counts, np.int64).reshape(-1, 4),
        np.array([float(row["presence_prob"]) for row in rows]),
    )


def compute_summary(scored: Scored) -> dict:
    """Everything a report says of scored frames, from their table alone.

    Returns:
      The scores of `compute_scores`; `presence_auroc`, of the presence probability
      (Mann & Whitney 1947; NaN unless frames with and without a nerve are there);
      `intervals`, 95 % by bootstrap over subjects, of the headline scores;
      `by_subject`, a person's own means; `num_subjects`.
    """
    present = compute_presence(scored.counts)
    mixed = 0 < present.sum() < len(present)
    people = sorted(set(scored.subjects))
    of_person = {p: np.array(scored.subjects) == p for p in people}
    return {
        **compute_scores(scored.counts),
        "presence_auroc": float(roc_auc_score(present, scored.presence_probs))
        if mixed
        else float("nan"),
        "intervals": {
            name: bootstrap_mean(values, scored.subjects)
            for name, values in compute_frame_scores(scored.counts).items()
        },
        "num_subjects": len(people),
        "by_subject": {
            person: compute_scores(scored.counts[rows])
            for person, rows in of_person.items()
        },
    }
