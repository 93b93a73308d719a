"""The training loop: steps, evaluations, checkpoints, from wherever the folds stand.

Folds that train together take the same steps at the same time; one fold alone is the case
of one.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nerve_jax.model.unet import Params
from nerve_jax.runs import checkpoints
from nerve_jax.runs.folder import Fold
from nerve_jax.system.errors import DivergedError, InputError
from nerve_jax.system.processes import StopPoint
from nerve_jax.training.engine import Engine
from nerve_jax.training.feed import Feed, Stream
from nerve_jax.training.fold_runs import (
    FoldRun,
    begin,
    finish,
    naming_last_good,
    open_fold_runs,
    restore,
    save,
)
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.progress import RunLog
from nerve_jax.training.task import Task

STEPS_IN_FLIGHT = 2  # calls handed to the device before the oldest is waited for


class Steps(NamedTuple):
    """How many steps a fold takes in all, and how often it is evaluated and saved."""

    total: int
    eval_every: int

    def in_whole_calls(self, steps_per_call: int) -> "Steps":
        """Evaluations as far apart, or a little further, as whole calls of a step go.

        Between them no single steps are taken, for which another program would have to
        be compiled; only what is left before the last step is taken one by one. Where
        all steps are fewer than a call takes, nothing changes.
        """
        if self.total < steps_per_call:
            return self
        calls = -(-self.eval_every // steps_per_call)
        return self._replace(eval_every=calls * steps_per_call)


def train_folds(
    engine: Engine,
    feed: Feed,
    task: Task,
    folds: Sequence[Fold],
    log: RunLog,
    *,
    steps: Steps,
    stop: StopPoint,
) -> int:
    """Train folds from their newest checkpoints, if they have any, to the last step.

    A fold whose checkpoint is newer than another's waits for it: a killed run may have
    saved one and not yet the other. A finished fold leaves what the task exports, and
    last its summary.json.

    Args:
      engine: trains and predicts.
      feed: of the data set.
      task: what is learnt.
      folds: those that train together.
      log: keeps losses and time, and shows them.
      steps: how many, and how often to evaluate; the last step always is.
      stop: asked before every call of a step; then every fold is saved where it stands.

    Returns:
      Steps taken: fewer than `steps.total` where training had to stop.

    Raises:
      DivergedError: a loss is not finite; says which checkpoint is the last good one.
      InputError: a checkpoint lies after the last step.
      RunError: a checkpoint cannot be written, or another run has taken a fold over.
    """
    stream = feed.open(folds)
    each = begin(engine, task, folds, engine.init(stream.keys))
    with open_fold_runs(folds) as fold_runs:
        each = [restore(*pair) for pair in zip(fold_runs, each, strict=True)]
        check_reached(fold_runs, steps)
        log.resume([(fold_run.reached, fold_run.restored) for fold_run in fold_runs])
        step = min(fold_run.reached for fold_run in fold_runs)
        ahead = {
            p: each[p]
            for p, fold_run in enumerate(fold_runs)
            if fold_run.reached > step
        }
        states = engine.join(each)
        del each  # or every fold's state would be held twice from here on
        stopped = stop.reached()
        while step < steps.total and not stopped:
            last_step = _find_next_stop(step, fold_runs, steps)
            with naming_last_good(fold_runs):
                states, step = advance(
                    engine, stream, states, step, last_step, log, stop
                )
            stopped = stop.reached()
            back = [p for p in ahead if fold_runs[p].reached == step]
            states = engine.rejoin(states, {p: ahead.pop(p) for p in back})
            for place in back:  # what it did meanwhile was not its own training
                log.losses[place] = fold_runs[place].restored[2:]
            due = step % steps.eval_every == 0 or step == steps.total
            if not due and not stopped:
                continue
            for place, state in enumerate(engine.split(states)):
                if fold_runs[place].saved < step:
                    with naming_last_good(fold_runs):
                        check_finite(state.params, step)
                    save(engine, task, fold_runs[place], state, log, place, due)
        for fold_run in fold_runs:
            checkpoints.wait(fold_run.checkpointer)
        if step == steps.total:
            for fold_run, state in zip(fold_runs, engine.split(states), strict=True):
                finish(engine, task, fold_run, state.ema_params, log, steps.total)
    return step


def advance(
    engine: Engine,
    stream: Stream,
    states: TrainState,
    step: int,
    last_step: int,
    log: RunLog,
    stop: StopPoint,
) -> tuple[TrainState, int]:
    """Train from one evaluation to the next, keeping the devices busy.

    Args:
      engine: trains.
      stream: of the folds.
      states: after `step` steps; their buffers are donated.
      step: steps taken before.
      last_step: steps taken after, unless training must stop.
      log: gets losses, a little late, and the seconds taken.
      stop: asked before every call of a step.

    Returns:
      The states, and the number of steps they have taken.

    Raises:
      DivergedError: a loss or gradient is not finite; names the first such step.
    """
    pending: deque = deque()

    def collect() -> None:
        first, metrics = pending.popleft()
        metrics = jax.device_get(metrics)
        _check_metrics(first, metrics)
        log.add_losses(first, metrics["loss"])

    started = time.perf_counter()
    while step < last_step and not stop.reached():
        # What does not fill a whole call is taken step by step: two programs will do.
        count = engine.steps_per_call
        count = count if last_step - step >= count else 1
        rows = [stream.next_rows(step + i) for i in range(count)]
        rows = jax.tree.map(lambda *x: np.stack(x, axis=1), *rows)
        states, metrics = engine.step(states, rows, stream.keys)
        pending.append((step + 1, metrics))
        step += count
        # Reading metrics waits for the devices, so some calls are always ahead of it.
        if len(pending) > STEPS_IN_FLIGHT:
            collect()
    while pending:
        collect()
    jax.block_until_ready(states)
    log.train_seconds += time.perf_counter() - started
    return states, step


def check_finite(params: Params, step: int) -> None:
    """Raise `DivergedError` if the last step's update has overflowed."""
    bad = [name for name, ok in jax.device_get(_are_finite(params)).items() if not ok]
    if bad:
        raise DivergedError(
            f"step {step}: {len(bad)} of {len(params)} parameters are no longer finite, "
            f"such as {bad[0]}. Lower --config.optimizer.learning_rate"
        )


@jax.jit
def _are_finite(params: Params):
    return jax.tree.map(lambda x: jnp.isfinite(x).all(), params)


def check_reached(fold_runs: Sequence[FoldRun], steps: Steps) -> None:
    """Raise `InputError` where a checkpoint lies after the last step."""
    for fold_run in fold_runs:
        if fold_run.reached > steps.total:
            raise InputError(
                f"{fold_run.fold.checkpoints} stands at step {fold_run.reached}, after "
                f"the last one: num_train_steps={steps.total}. Raise it, or train in "
                "another folder (--workdir)"
            )


def _check_metrics(step: int, metrics: dict[str, np.ndarray]) -> None:
    """Raise `DivergedError` unless all are finite; `step` is that of the first column."""
    finite = np.isfinite(metrics["loss"]) & np.isfinite(metrics["grad_norm"])
    if not finite.all():
        bad, fold = np.argwhere(~finite.T)[0]
        raise DivergedError(
            f"step {step + bad}: loss {metrics['loss'][fold, bad]}, gradient norm "
            f"{metrics['grad_norm'][fold, bad]}. Lower --config.optimizer.learning_rate "
            "or --config.optimizer.clip_norm; with --config.model.compute_dtype=bfloat16 "
            "try float32"
        )


def _find_next_stop(step: int, fold_runs: Sequence[FoldRun], steps: Steps) -> int:
    """The next evaluation, or before it the step that a waiting fold has reached."""
    next_eval = step - step % steps.eval_every + steps.eval_every
    waiting = (fold_run.reached for fold_run in fold_runs if fold_run.reached > step)
    return min(next_eval, steps.total, *waiting)
