"""AdamW with a schedule, and the average of the parameters: state -> state."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from nerve_jax.model.unet import ENCODER, Params
from nerve_jax.system.errors import InputError, check_at_least
from nerve_jax.training.scalars import Scalar


class TrainState(NamedTuple):
    """All that a step reads and writes, beside the batch.

    Attributes:
      step: steps taken so far, int32.
      params: parameters by name, float32.
      ema_params: their exponential moving average, with which frames are predicted.
      opt_state: of the optimizer.
      scalars: hyperparameters that the compiled step takes as arguments, by dotted name,
        float32 (see `scalars`). They never change, and are not saved.
    """

    step: Int[Array, ""]
    params: Params
    ema_params: Params
    opt_state: optax.OptState
    scalars: Mapping[str, Float[Array, ""]]


class Optimizer(NamedTuple):
    """How a state begins, and how a gradient changes it.

    Attributes:
      init: (params, scalars) -> the state before the first step.
      update: (state, gradient) -> the state after one more step.
    """

    init: Callable[[Params, Mapping], TrainState]
    update: Callable[[TrainState, Params], TrainState]


def create_optimizer(*, ema_decay: Scalar, **options) -> Optimizer:
    """Create AdamW with an exponential moving average of its parameters.

    Args:
      ema_decay: of the average, in [0, 1); short runs use
        min(ema_decay, (1 + t) / (10 + t)) at step t. It starts at the initial parameters.
      **options: of `create_transform`.
    """
    transform = create_transform(**options)

    def init(params: Params, scalars: Mapping) -> TrainState:
        average = jax.tree.map(jnp.copy, params)
        return TrainState(
            jnp.int32(0), params, average, transform.init(params), scalars
        )

    def update(state: TrainState, gradient: Params) -> TrainState:
        updates, opt_state = transform.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        t = state.step.astype(jnp.float32)
        decay = jnp.minimum(ema_decay, (1.0 + t) / (10.0 + t))
        average = jax.tree.map(
            lambda old, new: decay * old + (1.0 - decay) * new,
            state.ema_params,
            params,
        )
        return TrainState(state.step + 1, params, average, opt_state, state.scalars)

    return Optimizer(init, update)


def rescale(
    options: Mapping[str, float], old: tuple[int, int], new: tuple[int, int]
) -> dict[str, float]:
    """Options for another batch size and length, from those that suit one.

    The learning rate grows with the square root of the batch (Malladi et al. 2022,
    arXiv:2205.10287). The average of the parameters keeps its half-life as a share of
    the run (Busbridge et al. 2023, arXiv:2307.13813, scale it so with the batch).
    1 / (rate * weight decay), the steps over which decay forgets (Wang & Aitchison 2024,
    arXiv:2405.13698), are those of the run.

    Args:
      options: `learning_rate`, `weight_decay` and `ema_decay`; a decay of 0 stays 0.
      old: batch size and number of steps that they suit.
      new: batch size and number of steps of the run.

    Example:
      >>> suits = {"learning_rate": 2e-3, "weight_decay": 0.05, "ema_decay": 0.99}
      >>> rescale(suits, (8, 4000), (32, 1000))["learning_rate"]
      0.004
    """
    (batch, steps), (new_batch, new_steps) = old, new
    rate = options["learning_rate"] * (new_batch / batch) ** 0.5
    decays = bool(options["weight_decay"])
    return {
        "learning_rate": rate,
        "weight_decay": 1.0 / (rate * new_steps) if decays else 0.0,
        "ema_decay": options["ema_decay"] ** (steps / new_steps),
    }


def create_transform(
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

    Raises:
      InputError: a number outside its range.
    """
    check_at_least(1, num_train_steps=num_train_steps)
    check_at_least(
        0,
        warmup_steps=warmup_steps,
        encoder_frozen_steps=encoder_frozen_steps,
        encoder_rate_factor=encoder_rate_factor,
    )
    if not isinstance(clip_norm, jax.Array) and clip_norm <= 0:
        raise InputError(f"clip_norm={clip_norm}: nothing would be learnt")
    shape = _shape_rate(num_train_steps, warmup_steps)
    parts = [
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(
            lambda step: learning_rate * shape(step),
            weight_decay=weight_decay,
            mask=lambda params: {name: name.endswith("kernel") for name in params},
        ),
    ]
    if encoder_frozen_steps or encoder_rate_factor != 1.0:
        parts.append(_slow_encoder(encoder_frozen_steps, encoder_rate_factor))
    chain = optax.chain(*parts)

    def update(gradient, state, params):
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to int powers
            return chain.update(gradient, state, params)

    return optax.GradientTransformation(chain.init, update)


def _shape_rate(num_train_steps: int, warmup_steps: int) -> optax.Schedule:
    """The learning rate of each step as a share of its peak."""
    warmup = min(warmup_steps, num_train_steps // 10)
    return optax.warmup_cosine_decay_schedule(
        init_value=1.0 / (warmup + 1),
        peak_value=1.0,
        warmup_steps=warmup,
        decay_steps=num_train_steps,
    )


def _slow_encoder(
    frozen_steps: int, rate_factor: float
) -> optax.GradientTransformation:
    """Scale the updates of the encoder alone, by 0 in the first steps."""
    slowed = optax.scale_by_schedule(
        lambda step: jnp.where(step < frozen_steps, 0, rate_factor)
    )
    return optax.masked(
        slowed, lambda params: {name: name.startswith(ENCODER) for name in params}
    )
