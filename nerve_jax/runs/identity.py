"""Whether what was trained in a folder is what would be trained there now."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nerve_jax.data.examples import Examples
from nerve_jax.data.frames import Storage
from nerve_jax.runs.config import check_version, load_reference, to_plain
from nerve_jax.runs.differences import (
    ABSENT,
    FREE,
    ROUNDING,
    find_differences,
    flatten,
    is_among,
    show_differences,
)
from nerve_jax.runs.folder import (
    PRETRAINING,
    SEGMENTATION,
    finished_folds,
    is_begun,
)
from nerve_jax.system import environment
from nerve_jax.system.console import say
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.files import (
    Path,
    read_json,
    remove_leftovers,
    write_array,
    write_json,
    write_table,
)

# What the arrays of a checkpoint are named, shaped and counted by, and what finished folds
# have predicted with: a folder has one of each.
BUILT = (
    *("data.image_size", "data.structures", "model."),
    *("start.encoder_frozen_steps", "start.encoder_rate_factor"),
)
# Fields that a task does not read.
UNREAD = {
    SEGMENTATION: ("pretrain.",),
    PRETRAINING: ("loss.", "decision.rule", "decision.threshold", "data.clean_train"),
}
# Packages of which no number depends: one stores checkpoints, one is the language.
STORING = ("python", "orbax-checkpoint")


class Differences(NamedTuple):
    """How a run that goes on differs from what it was, as `find_differences` has it.

    Attributes:
      changing: what may change its numbers.
      noted: what does so by no more than rounding.
    """

    changing: dict[str, tuple]
    noted: dict[str, tuple]


class Notes(NamedTuple):
    """What a run went over, a line for each difference.

    Attributes:
      forced: by --force.
      noted: what changes numbers by no more than rounding.
    """

    forced: Sequence[str] = ()
    noted: Sequence[str] = ()


def check_run(
    workdir: Path,
    config: dict,
    examples: Examples,
    *,
    task: str = SEGMENTATION,
    force: bool = False,
) -> Notes:
    """Check that what was trained in a folder was trained as it would be now.

    What changes numbers by no more than rounding is printed, and no reason to stop:
    `differences.ROUNDING`, and other patches of packages. Nor is other code where all folds
    asked for are finished, for it trains nothing then.

    Args:
      workdir: of the run.
      config: plain values; may differ in `differences.FREE`.
      examples: the data set.
      task: what is learnt, `SEGMENTATION` or `PRETRAINING`.
      force: say what differs and go on.

    Returns:
      What differs, for `save_run` to keep.

    Raises:
      InputError: lists all that differs in configuration, data set and code.
    """
    finished = finished_folds(workdir)
    if not finished and not is_begun(workdir, "fold_*"):
        return Notes()
    fields = _compare_config(workdir, config, task)
    now = _describe_dataset(examples, task)  # its fingerprint says how many bits
    dataset = _compare(workdir, "dataset.json", now, leave_out=Storage._fields)
    code = _compare_code(workdir, trains=not set(config["folds"]) <= set(finished))
    changing = show_differences(fields.changing | dataset | code.changing)
    noted = show_differences(fields.noted | code.noted)
    if noted:
        say(f"differs, by which numbers change at most in rounding: {'; '.join(noted)}")
    if force and changing:
        _check_kept(workdir, config, fields.changing, dataset)
        say(f"--force: going on though these differ: {'; '.join(changing)}")
        return Notes(changing, noted)
    raise_if_any(
        changing,
        f"{workdir} holds a run of another configuration, data set or code",
        "Name another folder (--workdir), set these back, or mix both with --force.",
    )
    return Notes([], noted)


def _compare(
    workdir: Path, name: str, now: dict, leave_out: Sequence[str] = ()
) -> dict[str, tuple]:
    """What differs from a file of the run; nothing where the file is not there."""
    path = workdir / name
    return find_differences(read_json(path), now, leave_out) if path.exists() else {}


def _compare_config(workdir: Path, config: dict, task: str) -> Differences:
    path = workdir / "config.json"
    if path.exists():
        check_version(path, read_json(path))
    found = _compare(workdir, "config.json", config, (*FREE, *UNREAD[task]))
    # A run that is older than a field had what the reference has, as `load_config` says.
    usual = flatten(to_plain(load_reference()))
    found = {
        name: (was, now)
        for name, (was, now) in found.items()
        if was != ABSENT or name not in usual or now != usual[name]
    }
    noted = {name for name in found if is_among(name, ROUNDING)}
    return _sort(found, noted)


def _compare_code(workdir: Path, *, trains: bool) -> Differences:
    now = environment.describe_code()
    found = _compare(workdir, "code.json", now, ("commit", "forced", "noted"))
    return _sort(found, find_harmless(found) if trains else set(found))


def find_harmless(code: Mapping[str, tuple]) -> set[str]:
    """Names of differing packages that change numbers by no more than rounding.

    These are packages that compute nothing, and patches of those that do: versions that
    differ from the third number on. The project's own code is not among them.
    """
    return {
        name
        for name, (was, now) in code.items()
        if name.rpartition(".")[2] in STORING
        or "." in was
        and was.split(".")[:2] == now.split(".")[:2]
    }


def _sort(found: Mapping[str, tuple], noted: Collection[str]) -> Differences:
    changing = {name: found[name] for name in found if name not in noted}
    return Differences(changing, {name: found[name] for name in noted})


def _check_kept(workdir: Path, config: dict, fields: Mapping, dataset: Mapping) -> None:
    """Raise `InputError` where going on would unmake what was trained."""
    finished = finished_folds(workdir)
    nothing_left = set(config["folds"]) <= set(finished)
    kept = {
        name: values
        for name, values in fields.items()
        if nothing_left or is_among(name, BUILT)
    }
    kept |= dataset if finished else {}
    which = f"its folds {finished} are finished" if finished else "its folds are begun"
    raise_if_any(
        show_differences(kept),
        f"{workdir}: {which} and have other values, which --force cannot change",
        "Name another folder (--workdir) or set these back.",
    )


def read_forced(workdir: Path) -> list[list[str]]:
    """What differed each time when --force went on all the same."""
    path = workdir / "code.json"
    return read_json(path).get("forced", []) if path.exists() else []


def save_run(
    workdir: Path,
    config: dict,
    examples: Examples,
    groups: list[str],
    *,
    task: str = SEGMENTATION,
    notes: Notes | None = None,
) -> None:
    """Write config.json, code.json, dataset.json, frames.csv and thumbnails.npy.

    code.json keeps the code that trained, where all folds of the configuration are
    finished, and the `notes` of `check_run`.
    """
    for folder in (workdir, *workdir.glob("fold_*")):
        remove_leftovers(folder)
    write_json(workdir / "config.json", config)
    _save_code(workdir, config["folds"], notes or Notes())
    columns = (examples.frames, examples.subjects, groups)
    marks = (examples.labelled.astype(int), examples.presence.astype(int))
    write_table(
        workdir / "frames.csv",
        ("frame", "subject", "group", "labelled", "presence", "digest"),
        list(zip(*columns, *marks, examples.digests, strict=True)),
    )
    write_array(workdir / "thumbnails.npy", np.asarray(examples.thumbnails))
    write_json(workdir / "dataset.json", _describe_dataset(examples, task))


def _save_code(workdir: Path, folds: Sequence[int], notes: Notes) -> None:
    path = workdir / "code.json"
    before = read_json(path) if path.exists() else {}
    now = environment.describe_code() | {"commit": environment.read_commit()}
    if before and set(folds) <= set(finished_folds(workdir)):
        now = before
    forced = [list(notes.forced)] if notes.forced else []
    noted = dict.fromkeys([*before.get("noted", []), *notes.noted])
    write_json(
        path,
        now | {"forced": [*before.get("forced", []), *forced], "noted": list(noted)},
    )


def _describe_dataset(examples: Examples, task: str) -> dict:
    return {
        "fingerprint": examples.fingerprint,
        "num_frames": len(examples),
        **examples.storage._asdict(),
        "task": task,
    }
