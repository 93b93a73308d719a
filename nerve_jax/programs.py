"""From a configuration to what runs: model, data, compiled training and prediction."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import parallel
from nerve_jax.augment import make_augment
from nerve_jax.examples import Examples, create_builder, load_examples
from nerve_jax.losses import make_loss
from nerve_jax.models import create_model
from nerve_jax.predict import make_predict_batch, predict_probs
from nerve_jax.train_step import (
    Frames,
    create_optimizer,
    create_state,
    make_train_step,
    make_train_steps,
)

STEPS_PER_CALL = 20  # on accelerators; a CPU is faster one step at a time


def create_model_from(config: ConfigDict):
    """The model that a configuration describes: `create_model`'s (apply, init)."""
    return create_model(
        widths=config.widths,
        blocks_per_level=config.blocks_per_level,
        block=config.block,
        num_groups=config.num_groups,
        dropout_rate=config.dropout_rate,
        deep_supervision=config.deep_supervision,
        presence_head=config.presence_head,
        stem_stride=config.stem_stride,
        compute_dtype=config.compute_dtype,
    )


def load_examples_from(config: ConfigDict, split: str) -> Examples:
    """The frames that a configuration names, at its training size."""
    builder = create_builder(
        config.dataset,
        data_dir=config.data_dir,
        manual_dir=config.manual_dir,
        num_subjects=config.num_subjects,
        frames_per_subject=config.frames_per_subject,
        seed=config.phantom_seed,
    )
    return load_examples(builder, split, tuple(config.image_size))


class Programs(NamedTuple):
    """What runs on the devices; compiled once and shared by all folds.

    Attributes:
      init: key -> state before the first step.
      compile_steps: compiles `run_steps`, so that compiling is not timed as training.
      run_steps: (state, positions [steps batch], key) -> (state, metrics).
      predict: see `create_predictor`.
      steps_per_call: rows that `run_steps` takes at a time; else one.
    """

    init: Callable
    compile_steps: Callable
    run_steps: Callable
    predict: Callable
    steps_per_call: int


def create_programs(config: ConfigDict, mesh, examples: Examples) -> Programs:
    """Put the frames on the devices and say how to train and predict there."""
    same, by_batch = parallel.replicated(mesh), parallel.split_axis(mesh)
    by_row = parallel.split_axis(mesh, axis=1)
    apply, init = create_model_from(config)
    optimizer = create_optimizer(
        learning_rate=config.learning_rate,
        num_train_steps=config.num_train_steps,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    train_steps = jax.jit(
        make_train_steps(_create_train_step(config, apply, optimizer, by_batch)),
        donate_argnums=0,
        in_shardings=(same, same, by_row, same),
        out_shardings=same,
    )
    init_state = jax.jit(
        lambda key: create_state(init(key), optimizer), out_shardings=same
    )
    frames = jax.device_put(Frames(examples.images, examples.masks), same)
    on_cpu = jax.default_backend() == "cpu"
    steps_per_call = config.steps_per_call or (1 if on_cpu else STEPS_PER_CALL)

    @functools.cache
    def compile_steps():
        key = jax.random.key(0)
        shapes = jax.eval_shape(init_state, key)
        one_by_one = any(
            steps % steps_per_call
            for steps in (config.eval_every_steps, config.num_train_steps)
        )
        return {
            count: train_steps.lower(
                shapes,
                frames,
                jax.ShapeDtypeStruct((count, config.batch_size), np.int32),
                key,
            ).compile()
            for count in {steps_per_call} | ({1} if one_by_one else set())
        }

    def run_steps(state, positions, key):
        program = compile_steps()[len(positions)]
        return program(state, frames, jax.device_put(positions, by_row), key)

    predict = create_predictor(config)
    return Programs(init_state, compile_steps, run_steps, predict, steps_per_call)


def _create_train_step(config: ConfigDict, apply, optimizer, by_batch) -> Callable:
    loss = make_loss(
        config.loss,
        presence_weight=config.presence_weight,
        coarse_weight=config.coarse_weight,
    )
    return make_train_step(
        apply,
        loss,
        make_augment(**config.augment),
        optimizer,
        ema_decay=config.ema_decay,
        accumulate_steps=config.accumulate_steps,
        constrain=lambda batch: jax.lax.with_sharding_constraint(batch, by_batch),
    )


def create_predictor(config: ConfigDict):
    """Return `predict(members, images)`: see `predict_probs`.

    It flips as the configuration says, unless told `flips=`.

    Raises:
      InputError: the batch cannot be shared out over the devices.
    """
    mesh = parallel.create_mesh()
    parallel.check_batch_size(mesh, config.batch_size, config.accumulate_steps)
    by_batch = parallel.split_axis(mesh)
    apply, _ = create_model_from(config)
    predict_batch = jax.jit(
        make_predict_batch(apply),
        in_shardings=(parallel.replicated(mesh), by_batch),
        out_shardings=by_batch,
    )
    frames_at_a_time = config.batch_size // config.accumulate_steps
    return functools.partial(
        predict_probs,
        predict_batch,
        batch_size=frames_at_a_time,
        flips=config.test_flips,
    )
