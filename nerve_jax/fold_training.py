"""Folds that ride together: from their newest checkpoints to what they leave."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import checkpoints, locks, processes, stopping
from nerve_jax.files import Path, write_json
from nerve_jax.metrics_log import MetricsLog
from nerve_jax.models import Params
from nerve_jax.programs import Programs
from nerve_jax.progress import training_bar
from nerve_jax.train import train_folds


class Fold(NamedTuple):
    """A fold, its folder, and the positions of its frames.

    Attributes:
      given: frames of its training part; `train` leaves out those that are doubtful.
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
    def lock(self) -> Path:
        """What the run that trains it holds."""
        return self.directory / "lock"


class Task(NamedTuple):
    """What is learnt in a fold.

    Attributes:
      measure: name of the score by which the best checkpoint is chosen, the higher the
        better.
      begin: (fold, parameters) -> those that training starts from.
      score: (fold, step, averaged parameters) -> scores on its validation frames.
      finish: (fold, averaged parameters) -> a function that writes what the fold leaves;
        all processes call `finish`, the first alone what it gives.
    """

    measure: str
    begin: Callable[[Fold, Params], Params]
    score: Callable[[Fold, int, Params], dict[str, float]]
    finish: Callable[[Fold, Params], Callable[[], None]]


def run_folds(
    config: ConfigDict,
    workdir: Path,
    folds: list[Fold],
    task: Task,
    programs: Programs,
    started: float,
) -> None:
    """Train folds that ride together to their end.

    Writes what the task leaves with the last averaged weights, and at last each fold's
    summary.json, which says that it is finished.

    Raises:
      RunError: training could not go on.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    numbers = [fold.number for fold in folds]
    keys, scalars = programs.make_keys(numbers), programs.put_numbers(config)
    states = _begin(folds, task, programs, programs.init(keys))
    programs.compile_steps(scalars)
    log = MetricsLog(workdir)
    with contextlib.ExitStack() as stack:
        checkpointers = [
            stack.enter_context(checkpoints.open_checkpoints(fold.checkpoints))
            for fold in folds
        ]
        stack.enter_context(contextlib.closing(log))
        bar = stack.enter_context(
            training_bar(
                numbers, config.num_train_steps, config.batch_size, task.measure
            )
        )
        stop = stack.enter_context(stopping.listen())

        def check_lock(place: int) -> None:
            if processes.is_first():
                locks.check(folds[place].lock)

        def on_resume(place: int, step: int) -> None:
            if processes.is_first():
                log.begin(numbers[place], step)
            bar.start_at(numbers[place], step)

        def on_eval(place: int, row: dict) -> None:
            rate = row["step"] * config.batch_size / row["train_seconds"]
            row = {"fold": numbers[place], **row, "images_per_second": rate}
            if processes.is_first():
                log.write(row)
            bar.show_eval(row)

        states, step, progress = train_folds(
            states,
            lambda states, rows: programs.run_steps(states, rows, keys, scalars),
            programs.open_batches(numbers, [fold.train for fold in folds]),
            lambda place, step, params: task.score(folds[place], step, params),
            checkpointers,
            programs.take,
            programs.join,
            measure=task.measure,
            num_train_steps=config.num_train_steps,
            eval_every_steps=config.eval_every_steps,
            steps_per_call=programs.steps_per_call,
            started=started,
            on_resume=on_resume,
            on_step=bar.show_step,
            on_eval=on_eval,
            before_save=check_lock,
            must_stop=processes.make_stop_point(lambda: bool(stop)),
        )
        if step < config.num_train_steps:
            raise stopping.describe(stop, step, [fold.checkpoints for fold in folds])
        for place, (fold, checkpointer) in enumerate(
            zip(folds, checkpointers, strict=True)
        ):
            leave = task.finish(fold, programs.take(states, place).ema_params)
            check_lock(place)
            if processes.is_first():
                leave()
                spent = [seconds / len(folds) for seconds in progress[:2]]
                _write_summary(config, fold, task.measure, spent, checkpointer)
        if processes.agree(bool(stop)):  # other folds may be to come
            raise stopping.describe(stop, step, [fold.checkpoints for fold in folds])


def _begin(folds: list[Fold], task: Task, programs: Programs, states):
    """Take damaged checkpoints out of the way; where there is none, begin as the task does."""
    shapes = jax.eval_shape(lambda states: programs.take(states, 0), states)
    problems = [checkpoints.find_damaged(fold.checkpoints, shapes) for fold in folds]
    processes.share(lambda: _set_aside(folds, problems))
    begun = processes.share(lambda: [bool(found) for found in problems])
    each = [programs.take(states, place) for place in range(len(folds))]
    for place, fold in enumerate(folds):
        if not begun[place]:
            params = task.begin(fold, each[place].params)
            each[place] = each[place]._replace(params=params, ema_params=params)
    return programs.join(*each)


def _set_aside(folds: list[Fold], damaged: list[dict[int, str]]) -> None:
    """Take damaged checkpoints out of the way, and say so."""
    for fold, problems in zip(folds, damaged, strict=True):
        for said in checkpoints.set_aside_damaged(fold.checkpoints, problems):
            print(
                f"damaged, so the newest whole checkpoint is used: {said}", flush=True
            )


def _write_summary(
    config: ConfigDict,
    fold: Fold,
    measure: str,
    spent: Sequence[float],
    checkpointer,
) -> None:
    """Write summary.json; `spent` are the fold's share of train and wall seconds."""
    best_step, best_score = checkpoints.best_step(checkpointer)
    summary = {
        "num_frames_left_out_of_training": len(fold.given) - len(fold.train),
        "num_train_steps": config.num_train_steps,
        "batch_size": config.batch_size,
        "train_seconds": spent[0],
        "wall_seconds": spent[1],
        "best_step": best_step,
        f"{measure}_of_best_step_selected_on_these_frames": best_score,
    }
    write_json(fold.directory / "summary.json", summary)
