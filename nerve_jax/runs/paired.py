"""What two runs scored, paired frame by frame, for each structure that both have."""

from typing import NamedTuple

import numpy as np

from nerve_jax.data.listing import list_some
from nerve_jax.data.structures import NERVE
from nerve_jax.runs import folder
from nerve_jax.runs.score_table import read_scores
from nerve_jax.scoring.scores import Scored
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, read_json, show


class Pair(NamedTuple):
    """What two runs scored of one structure.

    Attributes:
      ours, theirs: the frames that both scored, in the same order.
      num_lonely: how many frames one of them scored alone.
    """

    ours: Scored
    theirs: Scored
    num_lonely: int


def find_shared(first: Path, second: Path) -> list[str]:
    """The structures of the first run that the second has too.

    Raises:
      InputError: there are none, or a run has no finished folds.
    """
    for workdir in (first, second):
        if not folder.finished_folds(workdir):
            raise InputError(
                f"{workdir}: no finished fold there to compare; train one to its end"
            )
    ours, theirs = read_structures(first), read_structures(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise InputError(
            f"no structure in common: {first} outlines {', '.join(ours)}, and {second} "
            f"{', '.join(theirs)}. Name two runs that have one in common in "
            "config.data.structures"
        )
    return shared


def read_structures(workdir: Path) -> list[str]:
    """The structures of a run; its config.json may be older than any other than nerve."""
    path = workdir / "config.json"
    content = read_json(path) if path.exists() else {}
    return content.get("data", {}).get("structures", [NERVE])


def pair_up(first: Path, second: Path, structure: str) -> Pair:
    """The frames that both runs have scored for a structure; maybe none.

    Raises:
      InputError: a run was stopped before its report, or scored other truths.
    """
    ours, theirs = (_read_scores(run, structure) for run in (first, second))
    shared = sorted(set(ours.frames) & set(theirs.frames))
    num_lonely = len(set(ours.frames) ^ set(theirs.frames))
    pair = Pair(_in_order(ours, shared), _in_order(theirs, shared), num_lonely)
    other = _find_other_truths(pair)
    if other:
        raise InputError(
            f"{first} and {second} scored other truths of {structure} under the same "
            f"name: {show(list_some(other, 8))}. Name two runs of one data set, or train "
            "one of them again with the masks of the other"
        )
    return pair


def is_scored(workdir: Path, structure: str) -> bool:
    """Whether a run has scored any frame for a structure."""
    return any(path.exists() for path in _list_tables(workdir, structure))


def explain_apart(first: Path, second: Path, structure: str) -> str:
    """Say what runs without a common frame have scored, and what to do about it."""
    found = []
    for workdir in (first, second):
        frames = _read_scores(workdir, structure).frames
        folds = ", ".join(map(str, folder.finished_folds(workdir)))
        found.append(
            f"{workdir} scored {len(frames)} frames, e.g. {show(frames[0])}, of fold {folds}"
        )
    return (
        f"no frame in common: {'; '.join(found)}. Frames are matched by their names: name "
        "two runs of one data set that have finished the same folds"
    )


def _read_scores(workdir: Path, structure: str) -> Scored:
    """The table of frames that a run's finished folds scored for a structure."""
    tables = _list_tables(workdir, structure)
    if len(read_structures(workdir)) > 1:  # a fold may have no frame labelled for one
        tables = [path for path in tables if path.exists()] or tables
    folder.check_reported(tables)
    return read_scores(tables)


def _list_tables(workdir: Path, structure: str) -> list[Path]:
    """The table of each finished fold."""
    subfolder = folder.find_subfolder(read_structures(workdir), structure)
    folds = folder.finished_folds(workdir)
    return [folder.fold_dir(workdir, fold) / subfolder / "scores.csv" for fold in folds]


def _in_order(scored: Scored, frames: list[str]) -> Scored:
    """The rows of some frames, in their order."""
    where = {frame: row for row, frame in enumerate(scored.frames)}
    return scored.select(np.array([where[frame] for frame in frames], np.int64))


def _find_other_truths(pair: Pair) -> list[str]:
    """Frames whose pixels of truth, or all pixels, are not as many in both."""
    truths = [
        (scored.counts[:, 0] + scored.counts[:, 2], scored.counts.sum(1))
        for scored in pair[:2]
    ]
    differ = (truths[0][0] != truths[1][0]) | (truths[0][1] != truths[1][1])
    return [
        frame for frame, other in zip(pair.ours.frames, differ, strict=True) if other
    ]
