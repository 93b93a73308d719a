"""A fold in the loop: where it begins, how it is saved, what it leaves."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from nerve_jax.model.unet import Params
from nerve_jax.runs import checkpoints, damage
from nerve_jax.runs.checkpoints import Progress
from nerve_jax.runs.folder import Fold, make_subfolder
from nerve_jax.system import locks, processes
from nerve_jax.system.console import is_first, say
from nerve_jax.system.errors import RunError
from nerve_jax.system.files import write_array, write_json
from nerve_jax.training.engine import Engine
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.progress import RunLog
from nerve_jax.training.task import Task


@dataclass
class FoldRun:
    """A fold in the loop.

    Attributes:
      fold: its frames and folder.
      checkpointer: of `checkpoints.open_checkpoints`.
      reached: steps taken by its newest checkpoint when training began; 0 without one.
      saved: steps taken by the checkpoint that was saved last.
      restored: the progress noted in its newest checkpoint.
    """

    fold: Fold
    checkpointer: Any
    reached: int = 0
    saved: int = 0
    restored: Progress = field(default_factory=Progress)


def begin(
    engine: Engine, task: Task, folds: Sequence[Fold], states: TrainState
) -> list[TrainState]:
    """The state of each fold at step 0, begun as the task says where it is needed.

    Damaged checkpoints are set aside first, so that the newest whole one is used.
    """
    each = list(engine.split(states))
    shapes = jax.eval_shape(lambda: _without_scalars(each[0]))
    damaged = [damage.find_damaged(fold.checkpoints, shapes) for fold in folds]

    def set_aside() -> list[bool]:
        for fold, problems in zip(folds, damaged, strict=True):
            for problem in damage.set_aside_damaged(fold.checkpoints, problems):
                say(f"damaged, so the newest whole checkpoint is used: {problem}")
        return [bool(found) for found in damaged]

    begun = processes.share(set_aside)
    for place, fold in enumerate(folds):
        if not begun[place]:
            params = task.begin(fold, each[place].params)
            each[place] = each[place]._replace(params=params, ema_params=params)
    return each


@contextlib.contextmanager
def open_fold_runs(folds: Sequence[Fold]) -> Iterator[list[FoldRun]]:
    """Open the checkpoints of folds for as long as the context lasts."""
    with contextlib.ExitStack() as stack:
        yield [
            FoldRun(
                fold,
                stack.enter_context(checkpoints.open_checkpoints(fold.checkpoints)),
            )
            for fold in folds
        ]


def restore(fold_run: FoldRun, state: TrainState) -> TrainState:
    """The state of a fold's newest checkpoint, or the given one without any."""
    found = checkpoints.restore_latest(fold_run.checkpointer, _without_scalars(state))
    if found is None:
        return state
    restored, fold_run.restored = found
    fold_run.reached = fold_run.saved = int(restored.step)
    return restored._replace(scalars=state.scalars)


def _without_scalars(state: TrainState) -> TrainState:
    """What a checkpoint holds: hyperparameters are those of the configuration."""
    return state._replace(scalars={})


def save(
    engine: Engine,
    task: Task,
    fold_run: FoldRun,
    state: TrainState,
    log: RunLog,
    place: int,
    due: bool,
) -> None:
    """Save a fold and, where an evaluation is due, score and log it before.

    The first checkpoint of a fold is read back before training goes on.
    """
    step, scores = int(state.step), {}
    if due:
        scores = task.score(engine.predict, fold_run.fold, step, state.ema_params)
    _check_lock(fold_run.fold)
    if due:
        log.write(place, step, scores)
    spent = (log.train_seconds, log.wall_seconds)
    checkpoints.save(
        fold_run.checkpointer,
        step,
        _without_scalars(state),
        score=scores.get(task.measure),
        progress=Progress(*spent, *log.losses[place].tolist()),
    )
    if not fold_run.saved:  # nothing has been read from there yet
        damage.check_saved(fold_run.checkpointer, step, _without_scalars(state))
    fold_run.saved = step


def finish(
    engine: Engine,
    task: Task,
    fold_run: FoldRun,
    params: Params,
    log: RunLog,
    num_train_steps: int,
) -> None:
    """Write what a fold leaves; summary.json last, for it says that the fold is finished.

    A fold that was finished before, and waited for others, is left as it is.
    """
    fold = fold_run.fold
    if processes.share(fold.summary.exists):
        return
    arrays = task.export(engine.predict, fold, params)
    _check_lock(fold)
    if not is_first():
        return
    for name, array in arrays.items():
        subfolder, _, name = name.rpartition("/")
        write_array(make_subfolder(fold.directory, subfolder) / name, array)
    best_step, best_score = checkpoints.best_step(fold_run.checkpointer)
    summary = {
        "num_frames_left_out_of_training": len(fold.given) - len(fold.train),
        "num_train_steps": num_train_steps,
        "batch_size": log.batch_size,
        "train_seconds": log.train_seconds / len(log.losses),  # a fold's share
        "wall_seconds": log.wall_seconds / len(log.losses),
        "best_step": best_step,
        f"{task.measure}_of_best_step_selected_on_these_frames": best_score,
    }
    write_json(fold.summary, summary)


def _check_lock(fold: Fold) -> None:
    """Raise `RunError` where another run has taken the fold over, before any write."""
    if is_first():
        locks.check(fold.lock)


@contextlib.contextmanager
def naming_last_good(fold_runs: Sequence[FoldRun]) -> Iterator[None]:
    """Name in a `RunError` the newest checkpoint of each fold."""
    try:
        yield
    except RunError as error:
        newest = []
        for fold_run in fold_runs:
            checkpoints.wait(fold_run.checkpointer)
            latest = fold_run.checkpointer.latest
            newest.append("none was saved" if latest is None else str(latest.path))
        text = f"{error}; last good checkpoint: {', '.join(newest)}"
        raise type(error)(text) from error
