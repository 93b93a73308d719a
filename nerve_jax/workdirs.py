"""What a run's folder holds, and whether a run may go on in it.

config.json    the resolved configuration, written once
dataset.json   name and fingerprint of the prepared records
splits.json    the folds (see `splits`)
frames.csv     every frame: id, subject, group, labelled, presence, digest of its pixels
metrics.jsonl  a row each time something was measured
decision.json  how masks are made of probabilities, fitted on all finished folds
fold_k/        split.json (its frames), checkpoints/, val_probs.npy, val_presence.npy,
               summary.json (it is finished); and, made anew with every report,
               decision.json (fitted on the other folds), scores.csv, examples.png
report.json    scores pooled over all finished folds
report.html    the same for people
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ml_collections

from nerve_jax.errors import InputError, raise_if_any
from nerve_jax.examples import Examples
from nerve_jax.files import (
    read_table,
    write_json,
    write_table,
)

# What may change from one command to the next in the same folder: which folds it trains,
# how they and the frames lie on the devices, and where the files lie (their content has
# its own fingerprint).
FREE_FIELDS = ("folds", "folds_together", "max_resident_gb", "data_dir", "manual_dir")


def to_plain(config: ml_collections.ConfigDict) -> dict:
    """The configuration as plain JSON values."""
    return json.loads(config.to_json())


def check_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Check that what was trained in a folder was trained with this configuration.

    Raises:
      InputError: lists every field that differs, but for `FREE_FIELDS`.
    """
    path = workdir / "config.json"
    if path.exists() and _is_begun(workdir, "fold_*"):
        differences = list_differences(read_json(path), to_plain(config), FREE_FIELDS)
        raise_if_any(
            differences,
            f"{workdir} holds a run of another configuration",
            "Name another folder (--workdir), or set these back.",
        )


def save_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Write config.json."""
    write_json(workdir / "config.json", to_plain(config))


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
    return ml_collections.ConfigDict(_tuples(read_json(path)))


def check_dataset(workdir: Path, examples: Examples) -> None:
    """Check that what was trained in a folder was trained on this data set.

    Raises:
      InputError: the data set has another fingerprint.
    """
    path = workdir / "dataset.json"
    if path.exists() and _is_begun(workdir, "fold_*"):
        before = read_json(path)["fingerprint"]
        if before != examples.fingerprint:
            raise InputError(
                f"{workdir} was trained on {before}, but the data set is now "
                f"{examples.fingerprint}: its frames, masks or subjects have changed. "
                "Name another folder (--workdir) or bring the old files back."
            )


def save_dataset(workdir: Path, examples: Examples, groups: list[str]) -> None:
    """Write dataset.json and frames.csv."""
    write_table(
        workdir / "frames.csv",
        ("frame", "subject", "group", "labelled", "presence", "digest"),
        list(
            zip(
                examples.frames,
                examples.subjects,
                groups,
                examples.labelled.astype(int),
                examples.presence.astype(int),
                examples.digests,
                strict=True,
            )
        ),
    )
    content = {"fingerprint": examples.fingerprint, "num_frames": len(examples)}
    write_json(workdir / "dataset.json", content)


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
    """Whether any of the folds, by a pattern of their names, has a checkpoint."""
    return any(workdir.glob(f"{folds}/checkpoints/*"))


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


class Seen(NamedTuple):
    """Frames that a fold has seen: digests of their pixels, their subjects and groups."""

    digests: set[str]
    people: set[str]


def load_seen(workdir: Path, fold: int, part: str) -> Seen:
    """Read what a fold was trained on ("train") or scored on ("val")."""
    rows = {row["frame"]: row for row in read_table(workdir / "frames.csv")}
    frames = load_split(workdir, fold)[part]
    return Seen(
        {rows[frame]["digest"] for frame in frames},
        {rows[frame][name] for frame in frames for name in ("subject", "group")},
    )


def read_json(path: Path):
    """Read a JSON file; raise `InputError` where it is none."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); mend or delete it") from error


def flatten(tree: dict, prefix: str = "") -> dict:
    """A nested dictionary as a flat one of dotted names."""
    flat = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def list_differences(before: dict, now: dict, leave_out: Sequence[str]) -> list[str]:
    """Say of every field that differs, nested ones by dotted name, what it was and is."""
    before, now, absent = flatten(before), flatten(now), "not there"
    return [
        f"{key}: {before.get(key, absent)} before, {now.get(key, absent)} now"
        for key in sorted(before.keys() | now.keys())
        if key not in leave_out and before.get(key) != now.get(key)
    ]


def _tuples(value):
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
