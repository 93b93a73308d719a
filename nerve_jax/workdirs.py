"""What a run's folder holds, and whether a run may go on in it.

config.json    the resolved configuration
code.json      hash of the code, versions of packages; what --force went over
dataset.json   name and fingerprint of the prepared records, what is learnt from them
splits.json    the folds (see `splits`)
frames.csv     every frame: id, subject, group, labelled, presence, digest of its pixels
metrics.jsonl  a row each time something was measured
decision.json  how masks are made of probabilities, fitted on all finished folds
report.lock    while a report is written
fold_k/        lock (while a run trains it), split.json (its frames), checkpoints/,
               init.json (with `init_from`: what was taken, and whom it has seen),
               val_probs.npy, val_presence.npy,
               summary.json (it is finished); and, made anew with every report,
               decision.json (fitted on the other folds), scores.csv, examples.png
report.json    scores pooled over all finished folds
report.html    the same for people
"""

from collections.abc import Sequence

import ml_collections

from nerve_jax import environment, locks
from nerve_jax.config_files import list_differences, to_plain, to_tuples
from nerve_jax.errors import InputError, raise_if_any
from nerve_jax.examples import Examples
from nerve_jax.files import (
    Path,
    read_json,
    remove_leftovers,
    write_json,
    write_table,
)

# What may change from one command to the next in the same folder: which folds it trains,
# how they and the frames lie on the devices, and where the files lie (their content has
# its own fingerprint).
FREE_FIELDS = ("folds", "folds_together", "max_resident_gb", "data_dir", "manual_dir")

SEGMENTATION, PRETRAINING = "segmentation", "pretraining"  # what a run learns

# What the weights and predictions of finished folds depend on: a folder has one of each.
MODEL_FIELDS = (
    "image_size",
    "widths",
    "blocks_per_level",
    "block",
    "num_groups",
    "deep_supervision",
    "presence_head",
    "stem_stride",
)


def check_run(
    workdir: Path,
    config: ml_collections.ConfigDict,
    examples: Examples,
    *,
    task: str = SEGMENTATION,
    force: bool = False,
) -> list[str]:
    """Check that what was trained in a folder was trained as it would be now.

    Args:
      workdir: of the run.
      config: may differ in `FREE_FIELDS`.
      examples: the data set.
      task: what is learnt, `SEGMENTATION` or `PRETRAINING`.
      force: say what differs and go on.

    Returns:
      What differs, for `save_run` to note.

    Raises:
      InputError: lists all that differs in configuration, data set and code.
    """
    if not _is_begun(workdir, "fold_*"):
        return []
    differences: dict[str, list[str]] = {}
    for name, now, free in (
        ("config.json", to_plain(config), FREE_FIELDS),
        ("dataset.json", _describe_dataset(examples, task), ()),
        ("code.json", environment.describe_code(), ("commit", "forced")),
    ):
        if (workdir / name).exists():
            before = read_json(workdir / name)
            differences[name] = list_differences(before, now, free)
    listed = [line for lines in differences.values() for line in lines]
    if force and listed:
        _check_finished(workdir, config, differences)
        print(f"--force: going on though these differ: {'; '.join(listed)}")
        return listed
    raise_if_any(
        listed,
        f"{workdir} holds a run of another configuration, data set or code",
        "Name another folder (--workdir), set these back, or mix both with --force.",
    )
    return []


def _check_finished(workdir: Path, config, differences: dict[str, list[str]]) -> None:
    """Raise `InputError` where going on would make finished folds into what they are not."""
    finished = finished_folds(workdir)
    fixed, mend = [], "Name another folder (--workdir) or set these back."
    if finished:
        fixed = differences.get("dataset.json", []) + [
            line
            for line in differences.get("config.json", [])
            if line.partition(":")[0] in MODEL_FIELDS
            or set(config.folds) <= set(finished)  # none is trained otherwise
        ]
    raise_if_any(fixed, f"{workdir}: its folds {finished} are finished and have", mend)


def read_forced(workdir: Path) -> list[list[str]]:
    """What differed each time when --force went on all the same."""
    path = workdir / "code.json"
    return read_json(path).get("forced", []) if path.exists() else []


def save_run(
    workdir: Path,
    config: ml_collections.ConfigDict,
    examples: Examples,
    groups: list[str],
    *,
    task: str = SEGMENTATION,
    forced: Sequence[str] = (),
) -> None:
    """Write config.json, code.json, dataset.json and frames.csv.

    `forced` is what `check_run` was made to go over.
    """
    for folder in (workdir, *workdir.glob("fold_*")):
        remove_leftovers(folder)
    write_json(workdir / "config.json", to_plain(config))
    write_json(
        workdir / "code.json",
        environment.describe_code()
        | {
            "commit": environment.read_commit(),
            "forced": [*read_forced(workdir), *([forced] if forced else [])],
        },
    )
    columns = (examples.frames, examples.subjects, groups)
    marks = (examples.labelled.astype(int), examples.presence.astype(int))
    write_table(
        workdir / "frames.csv",
        ("frame", "subject", "group", "labelled", "presence", "digest"),
        list(zip(*columns, *marks, examples.digests, strict=True)),
    )
    write_json(workdir / "dataset.json", _describe_dataset(examples, task))


def _describe_dataset(examples: Examples, task: str) -> dict:
    return {
        "fingerprint": examples.fingerprint,
        "num_frames": len(examples),
        "task": task,
    }


def load_config(workdir: Path) -> ml_collections.ConfigDict:
    """Read config.json back.

    Raises:
      InputError: there is none, so nothing was trained there.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(
            f"{workdir}: no config.json there, so no run to use. Train first, or name "
            "the folder of a run: --workdir=FOLDER"
        )
    return ml_collections.ConfigDict(to_tuples(read_json(path)))


def check_segments(workdir: Path) -> None:
    """Raise `InputError` where a run has not learnt to segment."""
    if read_json(workdir / "dataset.json").get("task") == PRETRAINING:
        raise InputError(
            f"{workdir} was pretrained and does not know nerves yet: train another run "
            f"from it, --mode=train --config.init_from={workdir}"
        )


def check_splits(workdir: Path, splits: list[dict[str, list[str]]]) -> None:
    """Check that no fold that was begun has other frames now (see `save_split`)."""
    for path in workdir.glob("fold_*/split.json"):
        number = path.parent.name.removeprefix("fold_")
        if number.isdecimal() and _is_begun(workdir, path.parent.name):
            known = int(number) < len(splits)
            save_split(workdir, int(number), splits[int(number)] if known else {})


def save_split(workdir: Path, fold: int, split: dict[str, list[str]]) -> None:
    """Write the train and val frames of a fold before it is trained, or check them.

    Raises:
      InputError: the fold was begun with other frames.
    """
    path = fold_dir(workdir, fold) / "split.json"
    if path.exists() and _is_begun(workdir, path.parent.name):
        if read_json(path) != split:
            raise InputError(
                f"{workdir / 'splits.json'} gives fold {fold} other frames than it was "
                f"trained with ({path}). Bring the old file back, or name another folder "
                "(--workdir)."
            )
        return
    path.parent.mkdir(exist_ok=True)
    write_json(path, split)


def _is_begun(workdir: Path, folds: str) -> bool:
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


def finished_folds(workdir: Path) -> list[int]:
    """Numbers of the folds that are trained and scored."""
    names = [path.parent.name for path in workdir.glob("fold_*/summary.json")]
    return sorted(int(name[5:]) for name in names if name[5:].isdecimal())


def load_split(workdir: Path, fold: int) -> dict[str, list[str]]:
    """Read the frames that a fold trains on ("train") and scores ("val")."""
    return read_json(fold_dir(workdir, fold) / "split.json")
