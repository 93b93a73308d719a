"""Scores of predicted frames, each at its original size."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nerve_jax.decide import Rule, Threshold
from nerve_jax.examples import Examples
from nerve_jax.files import Path, read_table, write_table
from nerve_jax.metrics import (
    compute_counts,
    compute_dice,
    compute_presence,
)
from nerve_jax.pictures import choose_from_worst_to_best, draw_sheet
from nerve_jax.surface import compute_surface_scores

COUNTS = ("tp", "fp", "fn", "tn")


class Predicted(NamedTuple):
    """What a model says of some frames of a data set.

    Attributes:
      positions: which frames.
      probs: of nerve, at training size, float16 or float32.
      presence_probs: that each holds a nerve, float32.
    """

    positions: Int[np.ndarray, " chosen"]
    probs: Float[np.ndarray, "chosen height width"]
    presence_probs: Float[np.ndarray, " chosen"]

    def decide(
        self, examples: Examples, row: int, rule: Rule
    ) -> Bool[np.ndarray, "_ _"]:
        """The mask of a row, at its frame's original size."""
        size = tuple(map(int, examples.sizes[self.positions[row]]))
        return rule.mask(self.probs[row], float(self.presence_probs[row]), size)


class Scored(NamedTuple):
    """A table of scores, a row a frame.

    Attributes:
      frames: ids.
      subjects: the person of each.
      groups: the same, but one for subjects that share a view; intervals draw these.
      counts: of pixels, for what the rule decided.
      presence_probs: that there is a nerve, as the rule sees it.
      dice_at_threshold: what cutting at the plain threshold scores.
      doubtful: labelled empty although a frame of the same view shows a nerve.
      surface: see `surface.compute_surface_scores`.
    """

    frames: list[str]
    subjects: list[str]
    groups: list[str]
    counts: Int[np.ndarray, "frames 4"]
    presence_probs: Float[np.ndarray, " frames"]
    dice_at_threshold: Float[np.ndarray, " frames"]
    doubtful: Bool[np.ndarray, " frames"]
    surface: dict[str, Float[np.ndarray, " frames"]]

    def select(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " n"]) -> "Scored":
        """Some of the rows, by a mask of them or by their numbers."""
        return Scored(
            *(np.array(texts, object)[rows].tolist() for texts in self[:3]),
            *(part[rows] for part in self[3:7]),
            {name: values[rows] for name, values in self.surface.items()},
        )


def count_frames(
    examples: Examples, predicted: Predicted, rules: Sequence[Rule]
) -> Int[np.ndarray, "chosen 4"]:
    """Decide each frame at its original size by its rule and count its pixels.

    Returns:
      (tp, fp, fn, tn) of each frame.
    """
    counts = np.zeros((len(rules), 4), np.int64)
    for row, (position, rule) in enumerate(
        zip(predicted.positions, rules, strict=True)
    ):
        pred = predicted.decide(examples, row, rule)
        counts[row] = compute_counts(pred, examples.truth(int(position)))
    return counts


def score_frames(
    examples: Examples,
    predicted: Predicted,
    rules: Sequence[Rule],
    *,
    threshold: float,
    groups: Sequence[str],
    doubtful: set[int],
) -> Scored:
    """Score each frame at its original size, decided by its rule.

    Args:
      examples: of the data set.
      predicted: by a model that was not trained on these frames.
      rules: one a frame, none fitted on it.
      threshold: the plain one that the rules are held against.
      groups: of each frame of the data set.
      doubtful: positions of frames whose label a frame of the same view contradicts.
    """
    plain, rows = Threshold(threshold), []
    for row, (position, rule) in enumerate(
        zip(predicted.positions.tolist(), rules, strict=True)
    ):
        truth = examples.truth(position)
        pred = predicted.decide(examples, row, rule)
        spacing = examples.spacing_mm[position]
        rows.append(
            {
                "counts": compute_counts(pred, truth),
                "plain": compute_counts(predicted.decide(examples, row, plain), truth),
                "presence": rule.presence(
                    predicted.probs[row], float(predicted.presence_probs[row])
                ),
                **compute_surface_scores(pred, truth, spacing),
            }
        )
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Scored(
        [examples.frames[i] for i in predicted.positions],
        [examples.subjects[i] for i in predicted.positions],
        [groups[i] for i in predicted.positions],
        columns.pop("counts"),
        columns.pop("presence"),
        compute_dice(columns.pop("plain")),
        np.array([int(i) in doubtful for i in predicted.positions]),
        columns,
    )


def draw_scored(
    examples: Examples,
    predicted: Predicted,
    rules: Sequence[Rule],
    scored: Scored,
    num_frames: int = 6,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw frames from the worst scored to the best; arguments as of `score_frames`."""
    dice, presence = compute_dice(scored.counts), compute_presence(scored.counts)
    columns = []
    for row in map(int, choose_from_worst_to_best(dice, presence, num_frames)):
        position = int(predicted.positions[row])
        pred = predicted.decide(examples, row, rules[row])
        caption = f"{examples.frames[position]}  Dice {dice[row]:.2f}"
        image, truth = examples.original(position), examples.truth(position)
        columns.append((image, truth, pred, caption))
    return draw_sheet(columns)


def write_scores(path: Path, scored: Scored) -> None:
    """Write one row a frame; a surface measure that is not defined stays empty."""
    header = (
        *("frame", "subject", "group", *COUNTS, "dice", "presence_prob"),
        *("dice_at_threshold", "doubtful", *scored.surface),
    )
    columns = (
        scored.frames,
        scored.subjects,
        scored.groups,
        *scored.counts.T.tolist(),
        map(_show, compute_dice(scored.counts)),
        map(_show, scored.presence_probs),
        map(_show, scored.dice_at_threshold),
        scored.doubtful.astype(int).tolist(),
        *(map(_show, values) for values in scored.surface.values()),
    )
    write_table(path, header, list(zip(*columns, strict=True)))


def read_scores(paths: Sequence[Path]) -> Scored:
    """Read one or several tables of `write_scores`, one after another."""
    rows = [row for path in paths for row in read_table(path)]
    counts = [[int(row[key]) for key in COUNTS] for row in rows]
    names = [key for key in rows[0] if key.endswith(("px", "mm"))] if rows else []
    return Scored(
        [row["frame"] for row in rows],
        [row["subject"] for row in rows],
        [row["group"] for row in rows],
        np.array(counts, np.int64).reshape(-1, 4),
        *(_column(rows, key) for key in ("presence_prob", "dice_at_threshold")),
        _column(rows, "doubtful").astype(bool),
        {name: _column(rows, name) for name in names},
    )


def _column(rows: list[dict], key: str) -> Float[np.ndarray, " rows"]:
    return np.array([float(row[key] or "nan") for row in rows])


def _show(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"
