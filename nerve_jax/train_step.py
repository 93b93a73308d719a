"""One training step: augment, loss, gradient, update, average; state -> state."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, UInt8

from nerve_jax.models import ENCODER, Params
from nerve_jax.scalars import Scalar


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
    """Frames and masks, 0 to 255: those of a data set, or of a batch."""

    images: UInt8[Array, "frames height width"]
    masks: UInt8[Array, "frames height width"]


def create_optimizer(
    *,
    learning_rate: Scalar,
    num_train_steps: int,
    warmup_steps: int,
    weight_decay: Scalar,
    clip_norm: Scalar,
    encoder_frozen_steps: int = 0,
    encoder_rate_factor: float = 1.0,
) -> optax.GradientTransformation:
    """AdamW behind gradient clipping, with linear warm-up and cosine decay to 0.

    Args:
      learning_rate: at its peak.
      num_train_steps: at least 1; the rate would be 0 one step later.
      warmup_steps: at most a tenth of all steps is taken.
      weight_decay: of kernels; norms and biases have none.
      clip_norm: largest global norm of the gradient.
      encoder_frozen_steps: the encoder stays as it is for so many first steps.
      encoder_rate_factor: of the encoder's learning rate, at least 0.
    """
    warmup = min(warmup_steps, num_train_steps // 10)
    shape = optax.warmup_cosine_decay_schedule(
        init_value=1.0 / (warmup + 1),
        peak_value=1.0,
        warmup_steps=warmup,
        decay_steps=num_train_steps,
    )
    parts = [
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(
            lambda step: learning_rate * shape(step),
            weight_decay=weight_decay,
            mask=lambda params: {name: name.endswith("kernel") for name in params},
        ),
    ]
    if encoder_frozen_steps or encoder_rate_factor != 1.0:
        slowed = optax.scale_by_schedule(
            lambda step: jnp.where(step < encoder_frozen_steps, 0, encoder_rate_factor)
        )
        parts.append(
            optax.masked(
                slowed,
                lambda params: {name: name.startswith(ENCODER) for name in params},
            )
        )
    chain = optax.chain(*parts)

    def update(gradient, state, params):
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to int powers
            return chain.update(gradient, state, params)

    return optax.GradientTransformation(chain.init, update)


def create_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; the average starts at the initial parameters."""
    average = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.int32(0), params, average, optimizer.init(params))


def make_train_step(
    objective: Callable,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: Scalar,
    accumulate_steps: int,
    axis_name: str | None = None,
) -> Callable:
    """Return `train_step(state, batch, key) -> (state, metrics)`.

    Args:
      objective: (params, images, masks, keys) -> loss of each frame; images and masks
        are float32 in [0, 1], [batch height width 1].
      optimizer: `create_optimizer`.
      ema_decay: of the average of the parameters, in [0, 1); short runs use
        min(ema_decay, (1 + t) / (10 + t)) at step t.
      accumulate_steps: the batch goes through the model in so many equal parts.
      axis_name: of the mesh axis over whose devices the batch is shared out; each takes
        the gradient of its own frames, and their mean is the one thing they exchange.

    The returned step takes a batch of `Frames` and the fold's key; its metrics are the
    mean loss and the gradient's norm before clipping, float32. All its randomness comes
    from (key, state.step, place in the batch).
    """

    def compute_loss(params, images, masks, keys):
        return objective(params, images, masks, keys).mean()

    def train_step(state: TrainState, batch: Frames, key):
        step_key = jax.random.fold_in(key, state.step)
        places = jnp.arange(len(batch.images))
        if axis_name:
            places += jax.lax.axis_index(axis_name) * len(places)
        keys = jax.vmap(lambda place: jax.random.fold_in(step_key, place))(places)
        value, gradient = _accumulate(
            jax.value_and_grad(compute_loss),
            state.params,
            (*map(_to_unit, batch), keys),
            accumulate_steps,
        )
        if axis_name:
            value, gradient = jax.lax.pmean((value, gradient), axis_name)
        metrics = {"loss": value, "grad_norm": optax.tree.norm(gradient)}
        return move(state, gradient, optimizer, ema_decay), metrics

    return train_step


def move(
    state: TrainState,
    gradient: Params,
    optimizer: optax.GradientTransformation,
    ema_decay: Scalar,
) -> TrainState:
    """The state after a step by a gradient; see `make_train_step`."""
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    t = state.step.astype(jnp.float32)
    decay = jnp.minimum(ema_decay, (1.0 + t) / (10.0 + t))
    average = jax.tree.map(
        lambda old, new: decay * old + (1.0 - decay) * new, state.ema_params, params
    )
    return TrainState(state.step + 1, params, average, opt_state)


def _to_unit(grey: UInt8[Array, "batch height width"]):
    return grey.astype(jnp.float32)[..., None] / 255.0


def _accumulate(value_and_grad, params, batch, parts: int):
    """Mean loss and gradient over a batch that is worked off in equal parts."""
    if parts == 1:
        return value_and_grad(params, *batch)
    pieces = jax.tree.map(
        lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch
    )

    def add(total, piece):
        return jax.tree.map(jnp.add, total, value_and_grad(params, *piece)), None

    zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
    # XLA's CPU backend is slow on convolutions inside a loop: there it is unrolled.
    unroll = parts if jax.default_backend() == "cpu" else 1
    total, _ = jax.lax.scan(add, zero, pieces, unroll=unroll)
    return jax.tree.map(lambda x: x / parts, total)


def pick_frames(frames: Frames, positions: Int[Array, " batch"]) -> Frames:
    """The frames of a batch out of all frames."""
    return Frames(frames.images[positions], frames.masks[positions])


def make_train_steps(make_step: Callable, pick: Callable = pick_frames) -> Callable:
    """Return `train_steps(state, frames, rows, key, numbers)`.

    Takes as many steps as there are rows in one call and gives the metrics of each. One
    row is the plain step; more ride in a scan, which pays on accelerators.

    Args:
      make_step: gives `train_step` (see `make_train_step`) for numbers by name, which
        may be arguments of the program (see `scalars`).
      pick: gives a step's batch of (frames, its row).
    """

    def train_steps(state: TrainState, frames, rows, key, numbers):
        train_step = make_step(numbers)

        def take(state, row):
            return train_step(state, pick(frames, row), key)

        if len(jax.tree.leaves(rows)[0]) == 1:
            state, metrics = take(state, jax.tree.map(lambda x: x[0], rows))
            return state, jax.tree.map(lambda m: m[None], metrics)
        return jax.lax.scan(take, state, rows)

    return train_steps
