"""Folds -> out-of-fold predictions -> one report: the command `--mode=train`."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nerve_jax import locks, parallel, processes, report, transfer, workdirs
from nerve_jax.decide import check_rule
from nerve_jax.duplicates import (
    Pair,
    contradicting_empty,
    find_duplicates,
    group_subjects,
    shared_subjects,
)
from nerve_jax.errors import InputError
from nerve_jax.examples import Examples, check_image_size
from nerve_jax.files import Path
from nerve_jax.fold_training import Fold, Task, run_folds
from nerve_jax.loading import load_examples_from
from nerve_jax.programs import Programs, create_programs
from nerve_jax.segmentation import make_objective, make_task
from nerve_jax.splits import load_or_create_splits
from nerve_jax.tables import print_scores


class Data(NamedTuple):
    """A data set and who is who in it.

    Attributes:
      examples: its frames.
      pairs: of frames that show the same view.
      groups: the person of each frame; subjects that share a view are one.
    """

    examples: Examples
    pairs: list[Pair]
    groups: list[str]


def cross_validate(config: ConfigDict, workdir: Path, *, force: bool = False) -> dict:
    """Train the folds that `config.folds` names, score them, and report on all finished.

    Folds that are finished already are not trained again; one that was interrupted goes
    on from its newest checkpoint. Of several processes (see `processes`) the first
    writes what is not a checkpoint.

    Args:
      config: of the run.
      workdir: its folder; other runs may train other folds in it at the same time.
      force: go on with another configuration, data set or code than before.

    Returns:
      The content of report.json.

    Raises:
      InputError: a configuration, data set or folder that does not fit.
      RunError: training could not go on.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    started = time.perf_counter()
    mesh = parallel.create_mesh(config.folds_together)
    check_config(config, mesh)
    check_mixing(config, mesh)
    data = load_data(processes.take_turns(lambda: load_examples_from(config, "train")))
    check_labelled(data.examples)
    programs = create_programs(config, mesh, data.examples, make_objective)
    return train_and_report(config, workdir, data, programs, started, force=force)


def load_data(examples: Examples) -> Data:
    """Find out who is who among frames."""
    pairs = find_duplicates(examples.thumbnails, examples.digests)
    return Data(examples, pairs, group_subjects(examples.subjects, pairs))


def check_labelled(examples: Examples) -> None:
    """Raise `InputError` where there is nothing to train on or to score."""
    if not examples.labelled.any():
        raise InputError(
            f"{examples.fingerprint}: none of {len(examples)} frames has a mask, so "
            "there is nothing to train on (predicting works)"
        )


def train_and_report(
    config: ConfigDict,
    workdir: Path,
    data: Data,
    programs: Programs,
    started: float,
    *,
    change_task: Callable[[Task], Task] = lambda task: task,
    force: bool = False,
) -> dict:
    """What `cross_validate` does once frames are loaded and programs created.

    Args:
      config: of the run.
      workdir: its folder.
      data: labelled, at least in part.
      programs: of `create_programs`.
      started: `time.perf_counter()` from which wall seconds count.
      change_task: gives the task that is trained instead of plain segmentation.
      force: see `cross_validate`.
    """
    examples = data.examples
    splits = processes.share(
        lambda: prepare(config, workdir, data, examples.labelled, force=force)
    )
    task = make_task(
        config,
        examples,
        programs.predict,
        begin=transfer.make_begin(config, examples, data.groups),
    )
    folds = [
        _choose_frames(config, workdir, number, splits[number], data)
        for number in config.folds
    ]
    train_all(config, workdir, folds, change_task(task), programs, started)
    content = processes.share(lambda: _report(workdir, config, data))
    title = f"{workdir}: {examples.fingerprint}, {content['num_frames']} frames"
    print_scores(content, title=title, folds=content["by_fold"])
    print(
        f"wrote {workdir / 'report.html'}, report.json and, in fold_k/, a row a frame"
    )
    return content


def train_all(
    config: ConfigDict,
    workdir: Path,
    folds: list[Fold],
    task: Task,
    programs: Programs,
    started: float,
) -> None:
    """Train folds that are not finished, so many at a time as ride together."""
    together = config.folds_together
    for first in range(0, len(folds), together):
        riding = folds[first : first + together]
        finished = processes.share(lambda: workdirs.finished_folds(workdir))
        if {fold.number for fold in riding} <= set(finished):
            continue
        with _hold_locks(riding):
            run_folds(config, workdir, riding, task, programs, started)
        started = time.perf_counter()


def prepare(
    config: ConfigDict,
    workdir: Path,
    data: Data,
    dealt: np.ndarray,
    *,
    force: bool,
    task: str = workdirs.SEGMENTATION,
    change_split: Callable[[dict], dict] = lambda split: split,
) -> list[dict[str, list[str]]]:
    """Check that the folder fits, write what describes the run; the folds' frames.

    Args:
      config: of the run.
      workdir: its folder.
      data: of the run.
      dealt: whether each frame is dealt into folds.
      force: see `cross_validate`.
      task: see `workdirs.check_run`.
      change_split: gives the frames of a fold from those dealt to it.
    """
    examples, groups = data.examples, data.groups
    forced = workdirs.check_run(workdir, config, examples, task=task, force=force)
    dealt_splits = _split(config, workdir, data, np.flatnonzero(dealt))
    splits = [change_split(split) for split in dealt_splits]
    workdirs.check_splits(workdir, splits)
    workdirs.save_run(workdir, config, examples, groups, task=task, forced=forced)
    for number in config.folds:
        workdirs.save_split(workdir, number, splits[number])
    return splits


def _report(workdir: Path, config: ConfigDict, data: Data) -> dict:
    """Write the report, one run at a time: others may train other folds in the folder."""
    with locks.hold(workdir / "report.lock", wait=True):
        return report.write_report(workdir, config, *data)


@contextlib.contextmanager
def _hold_locks(folds: list[Fold]) -> Iterator[None]:
    """Keep other runs from the folds; the first process holds the locks for all."""
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            for fold in folds:
                stack.enter_context(locks.hold(fold.lock))

        processes.share(hold)
        yield


def _choose_frames(config, workdir, number: int, split: dict, data: Data) -> Fold:
    given, val = (data.examples.positions(split[part]) for part in ("train", "val"))
    train = given
    if config.clean_train:
        train = leave_out_doubtful(given, data.examples, data.pairs)
    return Fold(number, workdirs.fold_dir(workdir, number), given, train, val)


def leave_out_doubtful(
    train: np.ndarray, examples: Examples, pairs: list[Pair]
) -> np.ndarray:
    """Leave out frames labelled empty that another training frame contradicts."""
    known = set(train.tolist())
    inside = [pair for pair in pairs if {pair.first, pair.second} <= known]
    wrong = contradicting_empty(inside, examples.presence, examples.labelled)
    print(f"clean_train: {len(wrong)} contradicted empty frames are not trained on")
    return train[~np.isin(train, wrong)]


def _split(config: ConfigDict, workdir: Path, data: Data, dealt: np.ndarray) -> list:
    """Read or create splits.json; subjects that share a view count as one."""
    examples, groups = data.examples, data.groups
    for people in shared_subjects(examples.subjects, groups):
        shown = ", ".join(people[:6]) + ", …" * (len(people) > 6)
        print(f"subjects that share frames are kept together in the folds: {shown}")
    path = workdir / "splits.json"
    made = not path.exists()
    workdir.mkdir(parents=True, exist_ok=True)
    splits = load_or_create_splits(
        path,
        [examples.frames[i] for i in dealt],
        [groups[i] for i in dealt],
        examples.presence[dealt],
        num_folds=config.num_folds,
        seed=config.seed,
    )
    if not made and len(splits) != config.num_folds:
        print(
            f"{path} has {len(splits)} folds and is honoured, whatever num_folds says"
        )
    wrong = [fold for fold in config.folds if not 0 <= fold < len(splits)]
    if wrong:
        raise InputError(
            f"folds={config.folds}: there are folds 0 to {len(splits) - 1}"
        )
    return splits


def check_mixing(config: ConfigDict, mesh) -> None:
    """Raise `InputError` where frames cannot be mixed two by two."""
    if not 0 <= config.cutmix_prob <= 1:
        raise InputError(f"cutmix_prob={config.cutmix_prob} is no probability")
    each = config.batch_size // config.accumulate_steps // mesh.shape["batch"]
    if config.cutmix_prob and each % 2:
        raise InputError(
            f"cutmix_prob={config.cutmix_prob}: frames are mixed two by two, and each "
            f"device takes {each} at a time; choose a batch_size of which it takes an "
            "even number"
        )


def check_config(config: ConfigDict, mesh) -> None:
    """Raise `InputError` for what cannot be trained with."""
    parallel.check_batch_size(mesh, config.batch_size, config.accumulate_steps)
    check_rule(config.decide)
    transfer.check_transfer(config)
    for name in ("num_train_steps", "eval_every_steps", "stem_stride"):
        if getattr(config, name) < 1:
            raise InputError(f"{name}={getattr(config, name)} must be at least 1")
    for name in ("seed", "steps_per_call", "warmup_steps"):
        if getattr(config, name) < 0:
            raise InputError(f"{name}={getattr(config, name)} must be at least 0")
    if config.clip_norm <= 0:
        raise InputError(f"clip_norm={config.clip_norm}: nothing would be learnt")
    if not 0 <= config.dropout_rate < 1:
        raise InputError(f"dropout_rate={config.dropout_rate} is not in [0, 1)")
    check_image_size(tuple(config.image_size))
    if not config.folds:
        raise InputError('folds=(): name at least one, e.g. --config.folds="(0,)"')
    if len(config.folds) % config.folds_together:
        raise InputError(
            f"folds={config.folds} are {len(config.folds)}, which is no multiple of "
            f"folds_together={config.folds_together}"
        )
