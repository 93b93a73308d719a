"""Folds -> out-of-fold predictions -> one report: the command `--mode=train`."""

import contextlib
import time
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from nerve_jax import locks, parallel, processes, report, workdirs
from nerve_jax.decide import check_rule
from nerve_jax.duplicates import (
    Pair,
    contradicting_empty,
    find_duplicates,
    group_subjects,
    shared_subjects,
)
from nerve_jax.errors import InputError
from nerve_jax.examples import Examples
from nerve_jax.files import Path
from nerve_jax.fold_training import Fold, run_folds
from nerve_jax.programs import create_programs, load_examples_from
from nerve_jax.splits import load_or_create_splits
from nerve_jax.tables import print_scores


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
    _check(config, mesh)
    examples = processes.take_turns(lambda: load_examples_from(config, "train"))
    labelled = np.flatnonzero(examples.labelled)
    if not labelled.size:
        raise InputError(
            f"{examples.fingerprint}: none of {len(examples)} frames has a mask, so "
            "there is nothing to train on (predicting works)"
        )
    pairs = find_duplicates(examples.thumbnails, examples.digests)
    groups = group_subjects(examples.subjects, pairs)
    splits = processes.share(
        lambda: _prepare(config, workdir, examples, groups, force=force)
    )
    programs = create_programs(config, mesh, examples)
    together = config.folds_together
    for first in range(0, len(config.folds), together):
        numbers = config.folds[first : first + together]
        finished = processes.share(lambda: workdirs.finished_folds(workdir))
        if set(numbers) <= set(finished):
            continue
        folds = [
            _choose_frames(config, workdir, number, splits[number], examples, pairs)
            for number in numbers
        ]
        with _hold_locks(folds):
            run_folds(config, workdir, folds, examples, programs, started)
        started = time.perf_counter()
    content = processes.share(lambda: _report(workdir, config, examples, pairs, groups))
    title = f"{workdir}: {examples.fingerprint}, {content['num_frames']} frames"
    print_scores(content, title=title, folds=content["by_fold"])
    print(
        f"wrote {workdir / 'report.html'}, report.json and, in fold_k/, a row a frame"
    )
    return content


def _prepare(config, workdir: Path, examples: Examples, groups, *, force: bool) -> list:
    """Check that the folder fits, write what describes the run; the folds' frames."""
    forced = workdirs.check_run(workdir, config, examples, force=force)
    splits = _split(config, workdir, examples, groups)
    workdirs.check_splits(workdir, splits)
    workdirs.save_run(workdir, config, examples, groups, forced=forced)
    for number in config.folds:
        workdirs.save_split(workdir, number, splits[number])
    return splits


def _report(workdir: Path, config: ConfigDict, examples: Examples, pairs, groups):
    """Write the report, one run at a time: others may train other folds in the folder."""
    with locks.hold(workdir / "report.lock", wait=True):
        return report.write_report(workdir, config, examples, pairs, groups)


@contextlib.contextmanager
def _hold_locks(folds: list[Fold]) -> Iterator[None]:
    """Keep other runs from the folds; the first process holds the locks for all."""
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            for fold in folds:
                stack.enter_context(locks.hold(fold.lock))

        processes.share(hold)
        yield


def _choose_frames(config, workdir, number: int, split: dict, examples, pairs) -> Fold:
    given, val = (examples.positions(split[part]) for part in ("train", "val"))
    train = given
    if config.clean_train:
        train = leave_out_doubtful(given, examples, pairs)
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


def _split(
    config: ConfigDict, workdir: Path, examples: Examples, groups: list[str]
) -> list:
    """Read or create splits.json; subjects that share a view count as one."""
    for people in shared_subjects(examples.subjects, groups):
        shown = ", ".join(people[:6]) + ", …" * (len(people) > 6)
        print(f"subjects that share frames are kept together in the folds: {shown}")
    labelled = np.flatnonzero(examples.labelled)
    path = workdir / "splits.json"
    made = not path.exists()
    workdir.mkdir(parents=True, exist_ok=True)
    splits = load_or_create_splits(
        path,
        [examples.frames[i] for i in labelled],
        [groups[i] for i in labelled],
        examples.presence[labelled],
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


def _check(config: ConfigDict, mesh) -> None:
    parallel.check_batch_size(mesh, config.batch_size, config.accumulate_steps)
    check_rule(config.decide)
    for name in ("num_train_steps", "eval_every_steps"):
        if config[name] < 1:
            raise InputError(f"{name}={config[name]} must be at least 1")
    if config.seed < 0 or config.steps_per_call < 0:
        raise InputError(
            f"seed={config.seed} and steps_per_call={config.steps_per_call} must be at "
            "least 0"
        )
    if not config.folds:
        raise InputError('folds=(): name at least one, e.g. --config.folds="(0,)"')
    if len(config.folds) % config.folds_together:
        raise InputError(
            f"folds={config.folds} are {len(config.folds)}, which is no multiple of "
            f"folds_together={config.folds_together}"
        )
