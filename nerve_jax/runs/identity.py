"""Whether what was trained in a folder is what would be trained there now."""

from collections.abc import Sequence

from nerve_jax.data.examples import Examples
from nerve_jax.runs.config import FREE, check_version, is_among, list_differences
from nerve_jax.runs.folder import SEGMENTATION, finished_folds, is_begun
from nerve_jax.system import environment
from nerve_jax.system.console import say
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.files import (
    Path,
    read_json,
    remove_leftovers,
    write_json,
    write_table,
)

# What the weights and predictions of finished folds depend on: a folder has one of each.
MODEL_FIELDS = ("data.image_size", "model.")


def check_run(
    workdir: Path,
    config: dict,
    examples: Examples,
    *,
    task: str = SEGMENTATION,
    force: bool = False,
) -> list[str]:
    """Check that what was trained in a folder was trained as it would be now.

    Args:
      workdir: of the run.
      config: plain values; may differ in `config.FREE`.
      examples: the data set.
      task: what is learnt, `SEGMENTATION` or `PRETRAINING`.
      force: say what differs and go on.

    Returns:
      What differs, for `save_run` to note.

    Raises:
      InputError: lists all that differs in configuration, data set and code.
    """
    if not is_begun(workdir, "fold_*"):
        return []
    differences: dict[str, list[str]] = {}
    for name, now, free in (
        ("config.json", config, FREE),
        ("dataset.json", _describe_dataset(examples, task), ()),
        ("code.json", environment.describe_code(), ("commit", "forced")),
    ):
        if (workdir / name).exists():
            before = read_json(workdir / name)
            if name == "config.json":
                check_version(workdir / name, before)
            differences[name] = list_differences(before, now, free)
    listed = [line for lines in differences.values() for line in lines]
    if force and listed:
        _check_finished(workdir, config, differences)
        say(f"--force: going on though these differ: {'; '.join(listed)}")
        return listed
    raise_if_any(
        listed,
        f"{workdir} holds a run of another configuration, data set or code",
        "Name another folder (--workdir), set these back, or mix both with --force.",
    )
    return []


def _check_finished(
    workdir: Path, config: dict, differences: dict[str, list[str]]
) -> None:
    """Raise `InputError` where going on would make finished folds into what they are not."""
    finished = finished_folds(workdir)
    fixed, mend = [], "Name another folder (--workdir) or set these back."
    if finished:
        fixed = differences.get("dataset.json", []) + [
            line
            for line in differences.get("config.json", [])
            if is_among(line.partition(":")[0], MODEL_FIELDS)
            or set(config["folds"]) <= set(finished)  # none is trained otherwise
        ]
    raise_if_any(fixed, f"{workdir}: its folds {finished} are finished and have", mend)


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
    forced: Sequence[str] = (),
) -> None:
    """Write config.json, code.json, dataset.json and frames.csv.

    `forced` is what `check_run` was made to go over.
    """
    for folder in (workdir, *workdir.glob("fold_*")):
        remove_leftovers(folder)
    write_json(workdir / "config.json", config)
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
