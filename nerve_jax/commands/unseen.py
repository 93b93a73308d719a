"""Frames that a run has not seen, predicted by the folds that may judge them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population
from nerve_jax.model.unet import Params
from nerve_jax.runs.folder import find_subfolder
from nerve_jax.runs.judges import choose_judges, choose_rules
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.metrics import compute_dice
from nerve_jax.scoring.predictor import Views, average, keep
from nerve_jax.scoring.scores import Predicted, count_structures
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path


class Chosen(NamedTuple):
    """Frames to be scored.

    Attributes:
      positions: of each, at least one.
      judges: the folds that score each.
      rules: how each is decided, by structure.
      num_alike: labelled frames that are left out for their likeness alone.
    """

    positions: Int[np.ndarray, " scored"]
    judges: list[tuple[int, ...]]
    rules: dict[str, list[Rule]]
    num_alike: int


def choose_frames(
    config: ConfigDict,
    workdir: Path,
    folds: Sequence[int],
    population: Population,
    split: str,
) -> Chosen:
    """Labelled frames that any fold may score; raises `InputError` if there is none."""
    examples, decision = population.examples, config.decision
    judges, alike = choose_judges(workdir, folds, population)
    known = examples.structures_labelled.any(1)
    labelled = np.flatnonzero(known)
    positions = np.array([i for i in labelled if judges[i]], np.int64)
    if not positions.size:
        raise InputError(
            f"{examples.fingerprint}, split {split}: no frame to score. "
            f"{len(labelled)} of {len(examples)} frames have a mask"
            + (", and every fold was trained on those" * bool(len(labelled)))
        )
    rules = {
        name: choose_rules(
            workdir,
            population,
            positions,
            find_subfolder(examples.structures, name),
            decision.rule,
            decision.threshold,
        )
        for name in examples.structures
    }
    most = None if decision.ensemble else 1
    chosen = [judges[i][:most] for i in positions]
    return Chosen(positions, chosen, rules, int((known & alike).sum()))


class Averaged(NamedTuple):
    """What the folds that score frames say of them, on average.

    Attributes:
      probs, presence_probs: of `average`.
      dice_without: of each frame without, where they were used, mirror images
        ("flip_gain"), and the mean Dice of each fold by itself ("ensemble_gain", NaN for
        a frame that only one may score).
    """

    probs: Float[np.ndarray, "frames structures height width"]
    presence_probs: Float[np.ndarray, "frames structures"]
    dice_without: dict[str, Float[np.ndarray, "frames structures"]]

    def of(self, place: int, positions: Int[np.ndarray, " frames"]) -> Predicted:
        """What they say of the structure at a place."""
        return Predicted(positions, self.probs[:, place], self.presence_probs[:, place])


def predict_unseen(
    config: ConfigDict, members: dict[int, Params], examples: Examples, chosen: Chosen
) -> Averaged:
    """Predict frames, and score them without mirror images and by single folds.

    Each of several processes counts the frames that it predicts.
    """
    positions, flips = chosen.positions, config.decision.test_flips
    predictor = setup.create_predictor_of(config, keep)
    shape = (len(positions), len(examples.structures))
    whole = Averaged(
        np.zeros((*shape, *examples.images.shape[1:]), np.float16),
        np.zeros(shape, np.float32),
        {},
    )
    for group, rows in _list_groups(chosen.judges):
        judges = [members[fold] for fold in group]
        use = _make_use(examples, chosen, rows, _list_parts(len(group), flips))
        found = predictor(judges, examples.images[positions[rows]], use)
        whole.probs[rows], whole.presence_probs[rows], counts = found
        for name, of_parts in counts.items():
            dice = compute_dice(of_parts.reshape(-1, 4)).reshape(of_parts.shape[:-1])
            without = whole.dice_without.setdefault(name, np.full(shape, np.nan))
            without[rows] = dice.mean(1)
    return whole


def _make_use(
    examples: Examples,
    chosen: Chosen,
    rows: Int[np.ndarray, " group"],
    parts: dict[str, list[list[int]]],
) -> Callable:
    """Return what `predict_probs` keeps of rows: averages, and counts.

    These are [frames parts structures 4].
    """

    def use(own, probs, presence_probs):
        views, at = Views(probs, presence_probs), rows[own]
        rules = [[rules[row] for row in at] for rules in chosen.rules.values()]

        def count(part: list[int]):
            seen = average(views.choose(part))
            return count_structures(examples, chosen.positions[at], *seen, rules)

        counts = {n: np.stack([count(p) for p in each], 1) for n, each in parts.items()}
        return *average(views), counts

    return use


def _list_groups(
    judges: Sequence[tuple[int, ...]],
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Rows of frames that the same folds may score."""
    for group in sorted(set(judges)):
        yield group, np.flatnonzero([own == group for own in judges])


def _list_parts(num_folds: int, flips: bool) -> dict[str, list[list[int]]]:
    """The views to score apart, by the gain that they are for."""
    ways = 2 if flips else 1
    views = range(num_folds * ways)
    parts = {"flip_gain": [list(views[::2])]} if flips else {}
    if num_folds > 1:
        folds = [list(views[i : i + ways]) for i in views[::ways]]
        parts["ensemble_gain"] = folds
    return parts
