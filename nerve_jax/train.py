"""Training of folds: steps, evaluations, checkpoints, from wherever they stand.

Folds that ride together take the same steps at the same time; their states lie as
`folds` says. One fold alone is the case of one.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from nerve_jax import checkpoints
from nerve_jax.errors import RunError
from nerve_jax.models import Params
from nerve_jax.train_step import TrainState

STEPS_IN_FLIGHT = 2  # calls handed to the device before the oldest is waited for


class Interval(NamedTuple):
    """What `train_interval` did.

    Attributes:
      states: after it.
      losses: mean of each fold.
      seconds: that it took.
    """

    states: TrainState
    losses: list[float]
    seconds: float


def train_interval(
    states: TrainState,
    run_steps: Callable[[TrainState, Any], tuple[TrainState, dict]],
    next_rows: Callable[[int], Any],
    *,
    first_step: int,
    last_step: int,
    steps_per_call: int,
    on_step: Callable[[int, float], None],
) -> Interval:
    """Train from one evaluation to the next, keeping the devices busy.

    Args:
      states: after `first_step` steps; their buffers are given up.
      run_steps: compiled `train_steps` with frames and keys filled in.
      next_rows: the batches of a step, [folds batch ...].
      first_step: steps taken before.
      last_step: steps taken after.
      steps_per_call: how many steps one call takes; the rest go one by one.
      on_step: told the number of steps taken and the newest mean loss, a little late.

    Raises:
      RunError: a loss or gradient that is not finite; names the first such step.
    """
    pending: deque = deque()
    losses: list[np.ndarray] = []

    def collect() -> None:
        step, metrics = pending.popleft()
        metrics = jax.device_get(metrics)
        finite = np.isfinite(metrics["loss"]) & np.isfinite(metrics["grad_norm"])
        if not finite.all():
            bad, fold = np.argwhere(~finite.T)[0]
            raise RunError(
                f"step {step + bad}: loss {metrics['loss'][fold, bad]}, gradient norm "
                f"{metrics['grad_norm'][fold, bad]}. Lower --config.learning_rate or "
                "--config.clip_norm"
            )
        losses.extend(metrics["loss"].T)
        on_step(step + finite.shape[1] - 1, float(losses[-1].mean()))

    started = time.perf_counter()
    step = first_step
    while step < last_step:
        count = steps_per_call if last_step - step >= steps_per_call else 1
        rows = [next_rows(step + i) for i in range(count)]
        rows = jax.tree.map(lambda *x: np.stack(x, axis=1), *rows)
        states, metrics = run_steps(states, rows)
        pending.append((step + 1, metrics))
        step += count
        if len(pending) > STEPS_IN_FLIGHT:
            collect()
    while pending:
        collect()
    jax.block_until_ready(states)
    seconds = time.perf_counter() - started
    return Interval(states, np.mean(losses, axis=0).tolist(), seconds)


def train_folds(
    states: TrainState,
    run_steps: Callable,
    next_rows: Callable[[int], Any],
    validate: Callable[[int, Params], dict[str, float]],
    checkpointers: Sequence,
    take: Callable[[TrainState, int], TrainState],
    join: Callable[..., TrainState],
    *,
    num_train_steps: int,
    eval_every_steps: int,
    steps_per_call: int,
    started: float,
    on_resume: Callable[[int, int], None],
    on_step: Callable[[int, float], None],
    on_eval: Callable[[int, dict], None],
) -> tuple[TrainState, dict[str, float]]:
    """Train folds to their last step, from their newest checkpoints if they have any.

    A fold whose checkpoint is newer than another's waits for it: a killed run may have
    saved one and not yet the other.

    Args:
      states: at step 0, placed on the devices; give shapes and shardings.
      run_steps: see `train_interval`.
      next_rows: see `train_interval`.
      validate: scores averaged parameters on the validation frames of the fold at a
        place among those that ride together.
      checkpointers: of `open_checkpoints`, one a fold.
      take: (states, place) -> the state of one fold.
      join: states of one fold each -> states.
      num_train_steps: at least 1.
      eval_every_steps: how often to validate and save; the last step always does.
      steps_per_call: see `train_interval`.
      started: `time.perf_counter()` from which "wall" seconds count.
      on_resume: told a fold's place and the step that it goes on from.
      on_step: see `train_interval`.
      on_eval: given a fold's place and a row of scores at every evaluation.

    Returns:
      The states after the last step, and the seconds spent in "train" and "wall".

    Raises:
      RunError: a loss is not finite; says which checkpoint is the last good one.
    """
    places = range(len(checkpointers))
    ahead, seconds = _restore(checkpointers, [take(states, p) for p in places])
    reached = [int(state.step) for state in ahead]
    for place in places:
        on_resume(place, reached[place])
    step, states = min(reached), join(*ahead)
    wall_before = seconds["wall"]
    while step < num_train_steps:
        last_step = min(
            step - step % eval_every_steps + eval_every_steps, num_train_steps
        )
        try:
            states, losses, spent = train_interval(
                states,
                run_steps,
                next_rows,
                first_step=step,
                last_step=last_step,
                steps_per_call=steps_per_call,
                on_step=on_step,
            )
        except RunError as error:
            raise RunError(
                f"{error}; last good checkpoint: {_latest(checkpointers)}"
            ) from error
        waiting = [place for place in places if reached[place] >= last_step]
        if waiting:  # what they did meanwhile is not theirs
            states = join(
                *(ahead[p] if p in waiting else take(states, p) for p in places)
            )
        step = last_step
        seconds = {
            "train": seconds["train"] + spent,
            "wall": wall_before + time.perf_counter() - started,
        }
        for place in sorted(set(places) - set(waiting)):
            one = take(states, place)
            scores = validate(place, one.ema_params)
            row = {"step": step, "loss": losses[place], **scores}
            on_eval(place, row | {"train_seconds": seconds["train"]})
            checkpoints.save(
                checkpointers[place],
                step,
                one,
                dice=scores["dice"],
                seconds=seconds,
            )
    for checkpointer in checkpointers:
        checkpointer.wait()
    seconds["wall"] = wall_before + time.perf_counter() - started
    return states, seconds


def _restore(checkpointers: Sequence, initial: list[TrainState]):
    """States from the newest checkpoints, else those given; and the seconds spent."""
    states, seconds = [], {"train": 0.0, "wall": 0.0}
    for checkpointer, state in zip(checkpointers, initial, strict=True):
        restored, spent = checkpoints.restore_latest(checkpointer, state) or (
            state,
            seconds,
        )
        states.append(restored)
        seconds = max(seconds, spent, key=lambda spent: spent["wall"])
    return states, seconds


def _latest(checkpointers: Sequence) -> str:
    """The newest checkpoint of each fold, in words."""
    said = []
    for checkpointer in checkpointers:
        checkpointer.wait()
        latest = checkpointer.latest
        said.append("none was saved" if latest is None else str(latest.path))
    return ", ".join(said)
