"""Scores of predicted frames, each at its original size."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from nerve_jax.data import rle
from nerve_jax.data.examples import Examples
from nerve_jax.data.resize import Patch
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.metrics import compute_dice, compute_patch_counts
from nerve_jax.scoring.surface import compute_surface_scores
from nerve_jax.system.console import track


class Predicted(NamedTuple):
    """What a model says of one structure in some frames of a data set.

    Attributes:
      positions: which frames.
      probs: of the structure, at training size, float16 or float32.
      presence_probs: that it is in each of them, float32.
    """

    positions: Int[np.ndarray, " chosen"]
    probs: Float[np.ndarray, "chosen height width"]
    presence_probs: Float[np.ndarray, " chosen"]

    def select(self, rows: Bool[np.ndarray, " chosen"]) -> "Predicted":
        """Some of the rows, by a mask of them."""
        return Predicted(*(part[rows] for part in self))

    def decide(
        self, examples: Examples, row: int, rule: Rule
    ) -> Bool[np.ndarray, "_ _"]:
        """The mask of a row, at its frame's original size."""
        return self.patch(examples, row, rule).whole()

    def patch(self, examples: Examples, row: int, rule: Rule) -> Patch:
        """The mask of a row, as `decide` gives it, in its rectangle."""
        size = tuple(map(int, examples.sizes[self.positions[row]]))
        return rule.patch(self.probs[row], float(self.presence_probs[row]), size)


class Scored(NamedTuple):
    """A table of scores, one row per frame.

    Attributes:
      frames: ids.
      subjects: the person of each.
      groups: the same, but one for subjects that share a view; intervals draw these.
      scanners: that each frame was recorded with, "" where unknown.
      counts: of pixels, for what the rule decided.
      presence_probs: that there is a nerve, as the rule sees it.
      dice_at_threshold: what cutting at the plain threshold scores.
      doubtful: labelled otherwise than most frames of the same view (nerve or none).
      surface: see `surface.compute_surface_scores`.
    """

    frames: list[str]
    subjects: list[str]
    groups: list[str]
    scanners: list[str]
    counts: Int[np.ndarray, "frames 4"]
    presence_probs: Float[np.ndarray, " frames"]
    dice_at_threshold: Float[np.ndarray, " frames"]
    doubtful: Bool[np.ndarray, " frames"]
    surface: dict[str, Float[np.ndarray, " frames"]]

    def select(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " n"]) -> "Scored":
        """Some of the rows, by a mask of them or by their numbers."""
        return Scored(
            *(np.array(texts, object)[rows].tolist() for texts in self[:4]),
            *(part[rows] for part in self[4:8]),
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
        pred = predicted.patch(examples, row, rule)
        counts[row] = compute_patch_counts(pred, examples.truths[position])
    return counts


def count_structures(
    examples: Examples,
    positions: Int[np.ndarray, " chosen"],
    probs: Float[np.ndarray, "chosen structures height width"],
    presence_probs: Float[np.ndarray, "chosen structures"],
    rules: Sequence[Sequence[Rule]],
) -> Int[np.ndarray, "chosen structures 4"]:
    """`count_frames` of each structure.

    Args:
      examples: of the data set.
      positions: which frames.
      probs, presence_probs: what a model says of them.
      rules: of each structure, one per frame.
    """
    counts = [
        count_frames(
            examples.of(name),
            Predicted(positions, probs[:, place], presence_probs[:, place]),
            rules[place],
        )
        for place, name in enumerate(examples.structures)
    ]
    return np.stack(counts, 1)


def score_frames(
    examples: Examples,
    predicted: Predicted,
    rules: Sequence[Rule],
    *,
    threshold: float,
    groups: Sequence[str],
    doubtful: set[int],
    spread: Callable = map,
) -> Scored:
    """Score each frame at its original size, decided by its rule.

    Args:
      examples: of the data set.
      predicted: by a model that was not trained on these frames.
      rules: one per frame, at least one, none fitted on it.
      threshold: the plain one that the rules are held against.
      groups: of each frame of the data set.
      doubtful: positions of frames whose label a frame of the same view contradicts.
      spread: of `workers.spread_out`, or `processes.spread`; by default this process
        scores all.
    """
    frames = (
        _Frame(
            predicted.probs[row],
            float(predicted.presence_probs[row]),
            (int(examples.sizes[position][0]), int(examples.sizes[position][1])),
            examples.truths[position],
            examples.spacing_mm[position],
        )
        for row, position in enumerate(predicted.positions)
    )
    score = functools.partial(_score_frame, plain=Rule(threshold))
    bar = track(spread(score, frames, rules), "scoring", len(rules))
    rows = list(bar)
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Scored(
        [examples.frames[i] for i in predicted.positions],
        [examples.subjects[i] for i in predicted.positions],
        [groups[i] for i in predicted.positions],
        [examples.scanners[i] for i in predicted.positions],
        columns.pop("counts"),
        columns.pop("presence"),
        compute_dice(columns.pop("plain")),
        np.array([int(i) in doubtful for i in predicted.positions]),
        columns,
    )


class _Frame(NamedTuple):
    """What scoring a frame takes; small enough to travel to a worker.

    Attributes:
      probs: of nerve, at training size.
      presence_prob: that it holds a nerve.
      size: original height and width in px.
      truth: the original mask as run lengths.
      spacing_mm: height and width of an original pixel, NaN where unknown.
    """

    probs: Float[np.ndarray, "_ _"]
    presence_prob: float
    size: tuple[int, int]
    truth: str
    spacing_mm: Float[np.ndarray, "2"]


def _score_frame(frame: _Frame, rule: Rule, plain: Rule) -> dict:
    """Counts by the rule and by the plain one, presence, and scores of the outline."""
    known = (frame.probs, frame.presence_prob)
    pred = rule.patch(*known, frame.size)
    counts = by_plain = compute_patch_counts(pred, frame.truth)
    if rule != plain:
        by_plain = compute_patch_counts(plain.patch(*known, frame.size), frame.truth)
    truth = rle.decode(frame.truth, *frame.size)
    return {
        "counts": counts,
        "plain": by_plain,
        "presence": rule.predict_presence(*known),
        **compute_surface_scores(pred.whole(), truth, frame.spacing_mm),
    }
