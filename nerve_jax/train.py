"""Training of one fold: steps, evaluations, checkpoints, from wherever it stands."""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from nerve_jax import checkpoints
from nerve_jax.errors import RunError
from nerve_jax.models import Params
from nerve_jax.train_step import TrainState

STEPS_IN_FLIGHT = 2  # calls handed to the device before the oldest is waited for


class Interval(NamedTuple):
    """What `train_interval` did."""

    state: TrainState
    loss: float
    seconds: float


def train_interval(
    state: TrainState,
    run_steps: Callable[[TrainState, np.ndarray], tuple[TrainState, dict]],
    next_positions: Callable[[int], np.ndarray],
    *,
    first_step: int,
    last_step: int,
    steps_per_call: int,
    on_step: Callable[[int, float], None],
) -> Interval:
    """Train from one evaluation to the next, keeping the device busy.

    Args:
      state: after `first_step` steps; its buffers are given up.
      run_steps: compiled `train_steps` with frames and key filled in.
      next_positions: the batch of a step, int32 [batch].
      first_step: steps taken before.
      last_step: steps taken after.
      steps_per_call: how many steps one call takes; the rest go one by one.
      on_step: told the number of steps taken and the newest loss, a little late.

    Returns:
      The new state, the mean loss, and the seconds the steps took.

    Raises:
      RunError: a loss or gradient that is not finite; names the first such step.
    """
    pending: deque = deque()
    losses: list[float] = []

    def collect() -> None:
        step, metrics = pending.popleft()
        metrics = jax.device_get(metrics)
        finite = np.isfinite(metrics["loss"]) & np.isfinite(metrics["grad_norm"])
        if not finite.all():
            bad = int(np.argmin(finite))
            raise RunError(
                f"step {step + bad}: loss {metrics['loss'][bad]}, gradient norm "
                f"{metrics['grad_norm'][bad]}. Lower --config.learning_rate or "
                "--config.clip_norm"
            )
        losses.extend(metrics["loss"].tolist())
        on_step(step + len(finite) - 1, losses[-1])

    started = time.perf_counter()
    step = first_step
    while step < last_step:
        count = steps_per_call if last_step - step >= steps_per_call else 1
        rows = np.stack([next_positions(step + i) for i in range(count)])
        state, metrics = run_steps(state, rows)
        pending.append((step + 1, metrics))
        step += count
        if len(pending) > STEPS_IN_FLIGHT:
            collect()
    while pending:
        collect()
    jax.block_until_ready(state)
    seconds = time.perf_counter() - started
    return Interval(state, float(np.mean(losses)), seconds)


def train_fold(
    state: TrainState,
    run_steps: Callable,
    next_positions: Callable[[int], np.ndarray],
    validate: Callable[[Params], dict[str, float]],
    checkpointer,
    *,
    num_train_steps: int,
    eval_every_steps: int,
    steps_per_call: int,
    started: float,
    on_resume: Callable[[int], None],
    on_step: Callable[[int, float], None],
    on_eval: Callable[[dict], None],
) -> tuple[TrainState, dict[str, float]]:
    """Train a fold to its last step, from its newest checkpoint if it has one.

    Args:
      state: at step 0, placed on the devices; gives shapes and shardings.
      run_steps: see `train_interval`.
      next_positions: see `train_interval`.
      validate: scores averaged parameters on the fold's validation frames.
      checkpointer: of `open_checkpoints`.
      num_train_steps: at least 1.
      eval_every_steps: how often to validate and save; the last step always does.
      steps_per_call: see `train_interval`.
      started: `time.perf_counter()` from which "wall" seconds count.
      on_resume: told the step that training goes on from.
      on_step: see `train_interval`.
      on_eval: given a row of scores at every evaluation.

    Returns:
      The state after the last step, and the seconds spent in "train" and "wall".

    Raises:
      RunError: the loss is not finite; says which checkpoint is the last good one.
    """
    seconds = {"train": 0.0, "wall": 0.0}
    restored = checkpoints.restore_latest(checkpointer, state)
    if restored is not None:
        state, seconds = restored
    wall_before = seconds["wall"]
    step = int(state.step)
    on_resume(step)
    while step < num_train_steps:
        last_step = min(
            step - step % eval_every_steps + eval_every_steps, num_train_steps
        )
        try:
            state, loss, spent = train_interval(
                state,
                run_steps,
                next_positions,
                first_step=step,
                last_step=last_step,
                steps_per_call=steps_per_call,
                on_step=on_step,
            )
        except RunError as error:
            checkpointer.wait()
            latest = checkpointer.latest
            good = "none was saved" if latest is None else str(latest.path)
            raise RunError(f"{error}; last good checkpoint: {good}") from error
        step = last_step
        scores = validate(state.ema_params)
        seconds = {
            "train": seconds["train"] + spent,
            "wall": wall_before + time.perf_counter() - started,
        }
        on_eval(
            {"step": step, "loss": loss, **scores, "train_seconds": seconds["train"]}
        )
        checkpoints.save(
            checkpointer, step, state, dice=scores["dice"], seconds=seconds
        )
    checkpointer.wait()
    seconds["wall"] = wall_before + time.perf_counter() - started
    return state, seconds
