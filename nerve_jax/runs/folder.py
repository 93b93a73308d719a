"""What a run's folder holds.

config.json    the resolved configuration
code.json      hash of the code, versions of packages; what --force went over
dataset.json   name and fingerprint of the prepared records, how their files are
               stored, what is learnt from them
splits.json    the folds (see `splits`)
frames.csv     every frame: id, subject, group, labelled, presence, digest of its pixels
thumbnails.npy small pictures of the frames in frames.csv, to know like ones again
metrics.jsonl  one row per evaluation
decision.json  how masks are made of probabilities, fitted on all finished folds
report.lock    while a report is written
fold_k/        lock (while a run trains it), split.json (its frames), checkpoints/,
               init.json (with `start.workdir`: what was taken, and whom it has seen),
               init_thumbnails.npy (of the frames that it has seen),
               val_probs.npy, val_presence.npy,
               summary.json (it is finished); and, written again with every report,
               decision.json (fitted on the other folds), scores.csv, examples.png
structures/    a folder for each structure but the first, with its decision.json; and in
               fold_k/ with its val_*.npy, decision.json, scores.csv, examples.png
report.json    scores pooled over all finished folds
report.html    the same for people

Whose these files are says a marker (see `claims`).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nerve_jax.data.frames import Storage
from nerve_jax.system import claims, locks
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, read_json, write_json

# What a run writes there; splits.json may be the user's own, which is kept.
FILES = (
    *("config.json", "code.json", "dataset.json", "frames.csv", "metrics.*"),
    *("decision.json", "report.*", "fold_*", "structures", "tensorboard"),
)
SUMMARY = "summary.json"  # a fold that has it is finished
SEGMENTATION, PRETRAINING = "segmentation", "pretraining"  # what a run learns


class Fold(NamedTuple):
    """A fold, its folder, and the positions of its frames.

    Attributes:
      number: from 0.
      directory: its folder.
      given: frames of its training part.
      train: those of them that are trained on; doubtful ones may be left out.
      val: frames that it is scored on.
    """

    number: int
    directory: Path
    given: np.ndarray
    train: np.ndarray
    val: np.ndarray

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints are."""
        return self.directory / "checkpoints"

    @property
    def summary(self) -> Path:
        """The file that says that it is finished."""
        return self.directory / SUMMARY

    @property
    def lock(self) -> Path:
        """What the run that trains it holds."""
        return self.directory / "lock"


def find_subfolder(structures: Sequence[str], structure: str) -> str:
    """Where in the folder of a run, or of a fold, the files of one structure lie.

    Args:
      structures: of the run.
      structure: one of them.

    Returns:
      "" for the first one, else "structures/NAME/".
    """
    return "" if structure == structures[0] else f"structures/{structure}/"


def make_subfolder(directory: Path, subfolder: str) -> Path:
    """The folder of a structure (`find_subfolder`) in one of a run or fold, made if need be."""
    (directory / subfolder).mkdir(parents=True, exist_ok=True)
    return directory / subfolder


def check_folder(workdir: Path) -> None:
    """Check that a run can write into a folder and overwrites nobody's files there.

    Raises:
      InputError: see `claims.check_folder`.
    """
    own = FILES if _is_run(workdir) else ()
    claims.check_folder(workdir, FILES, flag="--workdir", own=own)


def claim(workdir: Path, task: str) -> None:
    """Make a run's folder if need be, and mark its files as those of a run."""
    mode = {SEGMENTATION: "train", PRETRAINING: "pretrain"}[task]
    claims.claim(workdir, mode, FILES, flag="--workdir")


def _is_run(workdir: Path) -> bool:
    """Whether a run is there, by its code.json; its marker may not have been copied."""
    try:
        content = read_json(workdir / "code.json")
    except (OSError, InputError):
        return False
    return isinstance(content, dict) and {"nerve_jax", "forced"} <= content.keys()


def check_segments(workdir: Path) -> None:
    """Raise `InputError` where a run has not learnt to segment."""
    if read_json(workdir / "dataset.json").get("task") == PRETRAINING:
        raise InputError(
            f"{workdir} was pretrained and does not know nerves yet: train another run "
            f"from it, --mode=train --config.start.workdir={workdir}"
        )


def load_storage(workdir: Path) -> Storage:
    """How the frames are stored that a run learnt from.

    What a run of an older version did not keep has its default.
    """
    kept = read_json(workdir / "dataset.json")
    return Storage(**{name: kept[name] for name in Storage._fields if name in kept})


def check_splits(workdir: Path, splits: list[dict[str, list[str]]]) -> None:
    """Check that no fold that was begun has other frames now (see `save_split`)."""
    for number in find_folds(workdir, "split.json"):
        if is_begun(workdir, f"fold_{number}"):
            known = number < len(splits)
            save_split(workdir, number, splits[number] if known else {})


def save_split(workdir: Path, fold: int, split: dict[str, list[str]]) -> None:
    """Write the train and val frames of a fold before it is trained, or check them.

    Raises:
      InputError: the fold was begun with other frames.
    """
    path = fold_dir(workdir, fold) / "split.json"
    if path.exists() and is_begun(workdir, path.parent.name):
        if read_json(path) != split:
            raise InputError(
                f"{workdir / 'splits.json'} gives fold {fold} other frames than it was "
                f"trained with ({path}). Bring the old file back, or name another folder "
                "(--workdir)."
            )
        return
    path.parent.mkdir(exist_ok=True)
    write_json(path, split)


def is_begun(workdir: Path, folds: str) -> bool:
    """Whether any of the folds, by a pattern of their names, has or will have weights."""
    held = (locks.is_held(path) for path in workdir.glob(f"{folds}/lock"))
    return any(workdir.glob(f"{folds}/checkpoints/*")) or any(held)


def fold_dir(workdir: Path, fold: int) -> Path:
    """Folder of one fold."""
    return workdir / f"fold_{fold}"


def check_reported(paths: Sequence[Path]) -> None:
    """Raise `InputError` unless the files that a report leaves are all there."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise InputError(
            f"{', '.join(missing)} not there: the run was stopped before its report; "
            "give its training command once more"
        )


def find_folds(workdir: Path, name: str) -> list[int]:
    """Numbers of the folds in whose folders there is a file of that name, in order."""
    paths = workdir.glob(f"fold_*/{name}")
    found = (re.fullmatch("fold_(0|[1-9][0-9]*)", path.parent.name) for path in paths)
    return sorted(int(match[1]) for match in found if match)


def finished_folds(workdir: Path) -> list[int]:
    """Numbers of the folds that are trained and scored."""
    return find_folds(workdir, SUMMARY)


def load_split(workdir: Path, fold: int) -> dict[str, list[str]]:
    """Read the frames that a fold trains on ("train") and scores ("val")."""
    return read_json(fold_dir(workdir, fold) / "split.json")
