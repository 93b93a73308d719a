"""Training of one fold: state -> state, one compiled step, checkpoints in between."""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, UInt8

from nerve_jax import checkpoints
from nerve_jax.errors import RunError
from nerve_jax.models import Params

STEPS_IN_FLIGHT = 2  # calls handed to the device before the oldest is waited for


class TrainState(NamedTuple):
    """All that changes while training.

    Attributes:
      step: steps taken so far, int32.
      params: parameters by name, float32.
      ema_params: their exponential moving average, with which frames are predicted.
      opt_state: of the optimiser.
    """

    step: Int[Array, ""]
    params: Params
    ema_params: Params
    opt_state: optax.OptState


class Frames(NamedTuple):
    """All frames of the data set on the device, 0 to 255."""

    images: UInt8[Array, "frames height width"]
    masks: UInt8[Array, "frames height width"]


def create_optimizer(
    *,
    learning_rate: float,
    num_train_steps: int,
    warmup_steps: int,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    """AdamW behind gradient clipping, with linear warm-up and cosine decay to 0.

    Args:
      learning_rate: at its peak.
      num_train_steps: at least 1; the rate would be 0 one step later.
      warmup_steps: at most a tenth of all steps is taken.
      weight_decay: of kernels; norms and biases have none.
      clip_norm: largest global norm of the gradient.
    """
    warmup = min(warmup_steps, num_train_steps // 10)
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=learning_rate / (warmup + 1),
        peak_value=learning_rate,
        warmup_steps=warmup,
        decay_steps=num_train_steps,
    )
    chain = optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(
            schedule,
            weight_decay=weight_decay,
            mask=lambda params: {name: name.endswith("kernel") for name in params},
        ),
    )

    def update(gradient, state, params):
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to int powers
            return chain.update(gradient, state, params)

    return optax.GradientTransformation(chain.init, update)


def create_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; the average starts at the initial parameters."""
    average = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.int32(0), params, average, optimizer.init(params))


def make_train_step(
    apply: Callable,
    loss: Callable,
    augment: Callable,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float,
    accumulate_steps: int,
    constrain: Callable = lambda batch: batch,
) -> Callable:
    """Return `train_step(state, frames, positions, key) -> (state, metrics)`.

    Args:
      apply: the model, `create_model`.
      loss: `make_loss`.
      augment: `make_augment`.
      optimizer: `create_optimizer`.
      ema_decay: of the average of the parameters, in [0, 1); short runs use
        min(ema_decay, (1 + t) / (10 + t)) at step t.
      accumulate_steps: the batch goes through the model in so many equal parts.
      constrain: says how the gathered batch is shared out over devices.

    The returned step takes `positions` int32 [batch] into `frames` and the fold's key;
    its metrics are the mean loss and the gradient's norm before clipping, float32. All
    its randomness comes from (key, state.step, place in the batch).
    """

    def compute_loss(params, images, masks, keys):
        images, masks = augment(images, masks, keys)
        dropout_key = jax.random.fold_in(keys[0], 1)
        return loss(apply(params, images, dropout_key), masks).mean()

    def train_step(state: TrainState, frames: Frames, positions, key):
        batch = positions.shape[0]
        step_key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(lambda place: jax.random.fold_in(step_key, place))(
            jnp.arange(batch)
        )
        images, masks = constrain(tuple(_to_unit(array[positions]) for array in frames))
        value, gradient = _accumulate(
            jax.value_and_grad(compute_loss),
            state.params,
            (images, masks, keys),
            accumulate_steps,
        )
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        t = state.step.astype(jnp.float32)
        decay = jnp.minimum(ema_decay, (1.0 + t) / (10.0 + t))
        average = jax.tree.map(
            lambda old, new: decay * old + (1.0 - decay) * new, state.ema_params, params
        )
        metrics = {"loss": value, "grad_norm": optax.tree.norm(gradient)}
        return TrainState(state.step + 1, params, average, opt_state), metrics

    return train_step


def _to_unit(grey: UInt8[Array, "batch height width"]):
    return grey.astype(jnp.float32)[..., None] / 255.0


def _accumulate(value_and_grad, params, batch, parts: int):
    """Mean loss and gradient over a batch that is worked off in equal parts."""
    if parts == 1:
        return value_and_grad(params, *batch)
    # Every part takes each `parts`-th frame, so that each stays spread over devices.
    pieces = jax.tree.map(
        lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1),
        batch,
    )

    def add(total, piece):
        return jax.tree.map(jnp.add, total, value_and_grad(params, *piece)), None

    zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
    # XLA's CPU backend is slow on convolutions inside a loop: there it is unrolled.
    unroll = parts if jax.default_backend() == "cpu" else 1
    total, _ = jax.lax.scan(add, zero, pieces, unroll=unroll)
    return jax.tree.map(lambda x: x / parts, total)


def make_train_steps(train_step: Callable) -> Callable:
    """Return `train_steps(state, frames, positions [steps batch], key)`.

    Takes as many steps as there are rows in one call and gives the metrics of each. One
    row is the plain step; more ride in a scan, which pays on accelerators.
    """

    def train_steps(state: TrainState, frames: Frames, positions, key):
        if positions.shape[0] == 1:
            state, metrics = train_step(state, frames, positions[0], key)
            return state, jax.tree.map(lambda m: m[None], metrics)
        return jax.lax.scan(
            lambda carried, row: train_step(carried, frames, row, key), state, positions
        )

    return train_steps


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
