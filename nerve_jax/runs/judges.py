"""Who may judge a frame: folds that have not seen it, by a rule fitted without it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from nerve_jax.data.population import Population
from nerve_jax.runs import folder
from nerve_jax.runs.out_of_fold import load_fold_rules, load_rule
from nerve_jax.runs.seen import load_seen
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.console import say
from nerve_jax.system.files import Path

Judges = list[tuple[int, ...]]  # the folds that may score each frame


def choose_judges(
    workdir: Path, folds: Sequence[int], population: Population
) -> tuple[Judges, Bool[np.ndarray, " frames"]]:
    """Name the folds that may score each frame: those not trained on it (see `seen`).

    Args:
      workdir: of the run.
      folds: its finished ones, at least one.
      population: of any data set.

    Returns:
      The folds of each frame, none where all of them know it; and which frames would have
      some if nobody were known by likeness.
    """
    seen = [load_seen(workdir, fold, "train") for fold in folds]
    if not all(s.whole for s in seen):
        say(
            f"{workdir} keeps no thumbnails of some frames that it was trained on (an "
            "earlier version made it): equal frames are left out, nearly equal ones are "
            "not found"
        )
    examples, groups = population.examples, population.groups
    known = [s.find_known(examples, groups) for s in seen]
    by_name = np.stack([found.by_name for found in known], 1)
    knows = by_name | np.stack([found.by_likeness for found in known], 1)
    judges = [
        tuple(fold for fold, knows_it in zip(folds, row, strict=True) if not knows_it)
        for row in knows
    ]
    return judges, knows.all(1) & ~by_name.all(1)


def choose_rules(
    workdir: Path,
    population: Population,
    positions: Int[np.ndarray, " scored"],
    subfolder: str,
    kind: str,
    threshold: float,
) -> list[Rule]:
    """The rule for each frame that is scored, fitted without it.

    A frame that a fold has scored is decided by the rule for that fold's frames.

    Args:
      workdir: of the run, with a finished fold.
      population: of any data set.
      positions: of the frames that are scored.
      subfolder: of the structure, see `folder.find_subfolder`.
      kind: "threshold" for the plain rule (see `load_rule`).
      threshold: the plain one.
    """
    examples, groups = population.examples, population.groups
    folds = folder.finished_folds(workdir)
    seen = [load_seen(workdir, fold, "val") for fold in folds]
    knows = np.stack([np.any(s.find_known(examples, groups), 0) for s in seen], 1)
    general = load_rule(workdir / subfolder, kind, threshold)
    own = [
        load_fold_rules(folder.fold_dir(workdir, fold) / subfolder, kind, threshold)
        for fold in folds
    ]

    def choose(i: int) -> Rule:
        if not knows[i].any():
            return general
        return own[int(knows[i].argmax())].find((examples.subjects[i], groups[i]))

    return [choose(i) for i in positions.tolist()]
