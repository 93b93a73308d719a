"""Training of folds: steps, evaluations, checkpoints, from wherever they stand.

Folds that ride together take the same steps at the same time; their states lie as
`folds` says. One fold alone is the case of one.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nerve_jax import checkpoints
from nerve_jax.checkpoints import Progress
from nerve_jax.errors import DivergedError, RunError
from nerve_jax.models import Params
from nerve_jax.train_step import TrainState

STEPS_IN_FLIGHT = 2  # calls handed to the device before the oldest is waited for


class Interval(NamedTuple):
    """What `train_interval` did.

    Attributes:
      states: after it.
      step: the last one taken.
      totals: see `train_interval`.
      seconds: that it took.
    """

    states: TrainState
    step: int
    totals: np.ndarray
    seconds: float


def train_interval(
    states: TrainState,
    run_steps: Callable[[TrainState, Any], tuple[TrainState, dict]],
    next_rows: Callable[[int], Any],
    *,
    first_step: int,
    last_step: int,
    totals: np.ndarray,
    steps_per_call: int,
    on_step: Callable[[int, float], None],
    must_stop: Callable[[], bool],
) -> Interval:
    """Train from one evaluation to the next, keeping the devices busy.

    Args:
      states: after `first_step` steps; their buffers are given up.
      run_steps: compiled `train_steps` with frames and keys filled in.
      next_rows: the batches of a step, [folds batch ...].
      first_step: steps taken before.
      last_step: steps taken after, unless told to stop.
      totals: float64 [folds 2], sum and number of each fold's losses so far; those of
        the interval are added one by one, so that one in two pieces gives the same.
      steps_per_call: how many steps one call takes; the rest go one by one.
      on_step: told the number of steps taken and the newest mean loss, a little late.
      must_stop: whether to end here; asked before every call.

    Raises:
      DivergedError: a loss or gradient that is not finite; names the first such step.
    """
    pending: deque = deque()
    totals = totals.copy()

    def collect() -> None:
        step, metrics = pending.popleft()
        metrics = jax.device_get(metrics)
        finite = np.isfinite(metrics["loss"]) & np.isfinite(metrics["grad_norm"])
        if not finite.all():
            bad, fold = np.argwhere(~finite.T)[0]
            raise DivergedError(
                f"step {step + bad}: loss {metrics['loss'][fold, bad]}, gradient norm "
                f"{metrics['grad_norm'][fold, bad]}. Lower --config.learning_rate or "
                "--config.clip_norm; with --config.compute_dtype=bfloat16 try float32"
            )
        for loss in metrics["loss"].T:
            totals[:] += np.stack([loss, np.ones_like(loss)], axis=1)
        on_step(step + finite.shape[1] - 1, float(metrics["loss"][:, -1].mean()))

    started = time.perf_counter()
    step = first_step
    while step < last_step and not must_stop():
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
    return Interval(states, step, totals, time.perf_counter() - started)


def train_folds(
    states: TrainState,
    run_steps: Callable,
    next_rows: Callable[[int], Any],
    validate: Callable[[int, int, Params], dict[str, float]],
    checkpointers: Sequence,
    take: Callable[[TrainState, int], TrainState],
    join: Callable[..., TrainState],
    *,
    measure: str,
    num_train_steps: int,
    eval_every_steps: int,
    steps_per_call: int,
    started: float,
    on_resume: Callable[[int, int], None],
    on_step: Callable[[int, float], None],
    on_eval: Callable[[int, dict], None],
    before_save: Callable[[int], None],
    must_stop: Callable[[], bool],
) -> tuple[TrainState, int, Progress]:
    """Train folds to their last step, from their newest checkpoints if they have any.

    A fold whose checkpoint is newer than another's waits for it: a killed run may have
    saved one and not yet the other.

    Args:
      states: at step 0, placed on the devices; give shapes and shardings.
      run_steps: see `train_interval`.
      next_rows: see `train_interval`.
      validate: (place, step, averaged parameters) -> scores on the validation frames of
        the fold at a place among those that ride together.
      measure: name of the score by which the best checkpoint is chosen, the higher the
        better.
      checkpointers: of `open_checkpoints`, one a fold.
      take: (states, place) -> the state of one fold.
      join: states of one fold each -> states.
      num_train_steps: at least 1.
      eval_every_steps: how often to validate and save; the last step always does.
      steps_per_call: see `train_interval`.
      started: `time.perf_counter()` from which wall seconds count.
      on_resume: told a fold's place and the step that it goes on from.
      on_step: see `train_interval`.
      on_eval: given a fold's place and a row of scores at every evaluation.
      before_save: told a fold's place before anything of it is written; may raise.
      must_stop: see `train_interval`; then every fold is saved where it stands.

    Returns:
      The states, the step and the progress at the end, or where it had to stop.

    Raises:
      DivergedError: a loss is not finite; says which checkpoint is the last good one.
      RunError: a checkpoint cannot be written.
    """
    places = range(len(checkpointers))
    ahead, restored = _restore(checkpointers, [take(states, p) for p in places])
    reached = [int(state.step) for state in ahead]
    for place in places:
        on_resume(place, reached[place])
    step, saved, states = min(reached), list(reached), join(*ahead)
    totals = np.array([progress[2:] for progress in restored])
    train_seconds = max(progress.train_seconds for progress in restored)
    started -= max(progress.wall_seconds for progress in restored)
    stopped = must_stop()
    while step < num_train_steps and not stopped:
        with _naming_last_good(checkpointers):
            states, step, totals, seconds = train_interval(
                states,
                run_steps,
                next_rows,
                first_step=step,
                last_step=_find_next_stop(
                    step, reached, eval_every_steps, num_train_steps
                ),
                totals=totals,
                steps_per_call=steps_per_call,
                on_step=on_step,
                must_stop=must_stop,
            )
        train_seconds += seconds
        stopped = must_stop()
        if step in reached:  # what those folds did meanwhile was not their own
            back = [place for place in places if reached[place] == step]
            states = join(*(ahead[p] if p in back else take(states, p) for p in places))
            totals[back] = [restored[place][2:] for place in back]
        due = step % eval_every_steps == 0 or step == num_train_steps
        for place in places:
            if saved[place] >= step or not (due or stopped):
                continue
            one, scores = take(states, place), {}
            with _naming_last_good(checkpointers):
                check_finite(one.params, step)
            if due:
                scores = validate(place, step, one.ema_params)
            before_save(place)
            if due:
                row = {"step": step, "loss": totals[place, 0] / totals[place, 1]}
                on_eval(place, {**row, **scores, "train_seconds": train_seconds})
                totals[place] = 0
            spent = (train_seconds, time.perf_counter() - started)
            checkpoints.save(
                checkpointers[place],
                step,
                one,
                score=scores.get(measure),
                progress=Progress(*spent, *totals[place].tolist()),
            )
            saved[place] = step
    for checkpointer in checkpointers:
        checkpoints.wait(checkpointer)
    return states, step, Progress(train_seconds, time.perf_counter() - started)


def check_finite(params: Params, step: int) -> None:
    """Raise `DivergedError` if the last step's update has overflowed."""
    bad = [name for name, ok in jax.device_get(_are_finite(params)).items() if not ok]
    if bad:
        raise DivergedError(
            f"step {step}: {len(bad)} of {len(params)} parameters are no longer finite, "
            f"such as {bad[0]}. Lower --config.learning_rate"
        )


@jax.jit
def _are_finite(params: Params):
    return jax.tree.map(lambda x: jnp.isfinite(x).all(), params)


def _find_next_stop(
    step: int, reached: Sequence[int], eval_every_steps: int, num_train_steps: int
) -> int:
    """The next evaluation, or before it the step that a waiting fold has reached."""
    next_eval = step - step % eval_every_steps + eval_every_steps
    return min(next_eval, num_train_steps, *(r for r in reached if r > step))


def _restore(checkpointers: Sequence, initial: list[TrainState]):
    """States and progress from the newest checkpoints, else those given and none."""
    found = [
        checkpoints.restore_latest(checkpointer, state) or (state, Progress())
        for checkpointer, state in zip(checkpointers, initial, strict=True)
    ]
    return [state for state, _ in found], [progress for _, progress in found]


@contextlib.contextmanager
def _naming_last_good(checkpointers: Sequence) -> Iterator[None]:
    """Say in a `RunError` which is the newest checkpoint of each fold."""
    try:
        yield
    except RunError as error:
        said = []
        for checkpointer in checkpointers:
            checkpoints.wait(checkpointer)
            latest = checkpointer.latest
            said.append("none was saved" if latest is None else str(latest.path))
        text = f"{error}; last good checkpoint: {', '.join(said)}"
        raise type(error)(text) from error
