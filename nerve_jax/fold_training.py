"""Folds that ride together: from their newest checkpoints to their predictions."""

import contextlib
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import checkpoints, locks, metrics, processes, stopping
from nerve_jax.checkpoints import Progress
from nerve_jax.decide import Threshold
from nerve_jax.examples import Examples
from nerve_jax.files import Path, write_array, write_json
from nerve_jax.metrics_log import MetricsLog
from nerve_jax.programs import Programs
from nerve_jax.progress import training_bar
from nerve_jax.scores import Predicted, count_frames
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


def run_folds(
    config: ConfigDict,
    workdir: Path,
    folds: list[Fold],
    examples: Examples,
    programs: Programs,
    started: float,
) -> None:
    """Train folds that ride together, predict with their last averaged weights.

    Writes each fold's predictions, and at last its summary.json, which says that it is
    finished.

    Raises:
      RunError: training could not go on.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    numbers = [fold.number for fold in folds]
    keys = programs.make_keys(numbers)
    states = programs.init(keys)
    shapes = jax.eval_shape(lambda states: programs.take(states, 0), states)
    damaged = [checkpoints.find_damaged(fold.checkpoints, shapes) for fold in folds]
    processes.share(lambda: _set_aside(folds, damaged))
    programs.compile_steps()
    log = MetricsLog(workdir)
    with contextlib.ExitStack() as stack:
        checkpointers = [
            stack.enter_context(checkpoints.open_checkpoints(fold.checkpoints))
            for fold in folds
        ]
        stack.enter_context(contextlib.closing(log))
        bar = stack.enter_context(
            training_bar(numbers, config.num_train_steps, config.batch_size)
        )
        stop = stack.enter_context(stopping.listen())

        def predict(place: int, params) -> Predicted:
            val = folds[place].val
            probs, presence = programs.predict([params], examples.images[val])
            return Predicted(val, probs.astype(np.float16), presence)

        def validate(place: int, params) -> dict[str, float]:
            plain = [Threshold(config.threshold)] * len(folds[place].val)
            return metrics.compute_scores(
                count_frames(examples, predict(place, params), plain)
            )

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
            lambda states, rows: programs.run_steps(states, rows, keys),
            programs.open_batches(numbers, [fold.train for fold in folds]),
            validate,
            checkpointers,
            programs.take,
            programs.join,
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
            predicted = predict(place, programs.take(states, place).ema_params)
            check_lock(place)
            if processes.is_first():
                _write_fold(config, fold, predicted, progress, checkpointer)
        if processes.agree(bool(stop)):  # other folds may be to come
            raise stopping.describe(stop, step, [fold.checkpoints for fold in folds])


def _set_aside(folds: list[Fold], damaged: list[dict[int, str]]) -> None:
    """Take damaged checkpoints out of the way, and say so."""
    for fold, problems in zip(folds, damaged, strict=True):
        for said in checkpoints.set_aside_damaged(fold.checkpoints, problems):
            print(
                f"damaged, so the newest whole checkpoint is used: {said}", flush=True
            )


def _write_fold(
    config: ConfigDict,
    fold: Fold,
    predicted: Predicted,
    progress: Progress,
    checkpointer,
) -> None:
    write_array(fold.directory / "val_probs.npy", predicted.probs)
    write_array(fold.directory / "val_presence.npy", predicted.presence_probs)
    best_step, best_dice = checkpoints.best_step(checkpointer)
    summary = {
        "num_frames_left_out_of_training": len(fold.given) - len(fold.train),
        "num_train_steps": config.num_train_steps,
        "batch_size": config.batch_size,
        "train_seconds": progress.train_seconds,
        "wall_seconds": progress.wall_seconds,
        "best_step": best_step,
        "dice_of_best_step_selected_on_these_frames": best_dice,
    }
    write_json(fold.directory / "summary.json", summary)
