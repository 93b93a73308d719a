"""One training step: loss, gradient, update; state -> state."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from nerve_jax.data.batches import Frames
from nerve_jax.model.unet import Params
from nerve_jax.training.optimizer import TrainState


class Batch(NamedTuple):
    """Frames as a loss sees them: float32 in [0, 1].

    Attributes:
      images: grey values.
      masks: share of each pixel that is a structure.
      labelled: for which structures each frame is labelled.
    """

    images: Float[Array, "batch height width 1"]
    masks: Float[Array, "batch height width structures"]
    labelled: Bool[Array, "batch structures"]


def make_train_step(
    loss: Callable,
    update: Callable,
    *,
    accumulate_steps: int = 1,
    axis_name: str | None = None,
) -> Callable:
    """Return `train_step(state, frames, key) -> (state, metrics)`.

    Args:
      loss: (params, state, batch, keys) -> loss of each frame, float32 [batch]; `state`
        is the one before the step, `batch` a `Batch`, `keys` one per frame.
      update: (state, gradient) -> state.
      accumulate_steps: the batch goes through the model in so many equal parts.
      axis_name: of the mesh axis over whose devices the batch is shared; each computes
        the gradient of its own frames, and their mean is all that they exchange.

    The returned step takes a batch of `Frames` and the fold's key; its metrics are the
    mean loss and the gradient's norm before clipping, float32. All its randomness comes
    from (key, state.step, place in the batch), so that neither the number of devices nor
    `accumulate_steps` changes what is drawn.
    """

    def train_step(state: TrainState, frames: Frames, key):
        def compute_loss(params, batch, keys):
            return loss(params, state, batch, keys).mean()

        step_key = jax.random.fold_in(key, state.step)
        places = jnp.arange(len(frames.images))
        if axis_name:  # the first of them stands behind those of the devices before
            places += jax.lax.axis_index(axis_name) * len(places)
        keys = jax.vmap(lambda place: jax.random.fold_in(step_key, place))(places)
        value, gradient = _accumulate(
            jax.value_and_grad(compute_loss),
            state.params,
            (_to_batch(frames), keys),
            accumulate_steps,
        )
        if axis_name:
            value, gradient = jax.lax.pmean((value, gradient), axis_name)
        metrics = {"loss": value, "grad_norm": optax.tree.norm(gradient)}
        return update(state, gradient), metrics

    return train_step


def _to_batch(frames: Frames) -> Batch:
    images, masks = (x.astype(jnp.float32) / 255.0 for x in frames[:2])
    return Batch(images[..., None], jnp.moveaxis(masks, 1, -1), frames.labelled)


def _accumulate(value_and_grad: Callable, params: Params, batch, parts: int):
    """Mean loss and gradient over a batch that goes through in equal parts."""
    if parts == 1:
        return value_and_grad(params, *batch)
    pieces = jax.tree.map(
        lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch
    )

    def add(total, piece):
        return jax.tree.map(jnp.add, total, value_and_grad(params, *piece)), None

    zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
    # XLA's CPU backend is slow on convolutions inside a loop: there it is unrolled.
    total = jax.lax.platform_dependent(
        zero,
        pieces,
        cpu=lambda *x: jax.lax.scan(add, *x, unroll=parts)[0],
        default=lambda *x: jax.lax.scan(add, *x)[0],
    )
    return jax.tree.map(lambda x: x / parts, total)


def make_train_steps(train_step: Callable, pick: Callable) -> Callable:
    """Return `train_steps(state, frames, rows, key) -> (state, metrics)`.

    Takes as many steps as there are rows in one call and returns the metrics of each. A
    single row is the plain step; more go through a scan, which pays on accelerators (on
    a CPU convolutions inside a loop are slow).

    Args:
      train_step: of `make_train_step`.
      pick: gives a step's batch of (frames, its row).
    """

    def train_steps(state: TrainState, frames, rows, key):
        def take(state, row):
            return train_step(state, pick(frames, row), key)

        if len(jax.tree.leaves(rows)[0]) == 1:
            state, metrics = take(state, jax.tree.map(lambda x: x[0], rows))
            return state, jax.tree.map(lambda m: m[None], metrics)
        return jax.lax.scan(take, state, rows)

    return train_steps
