"""From a configuration to what runs: model, data, compiled training and prediction."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import parallel, streaming
from nerve_jax.augment import make_augment
from nerve_jax.batches import batch_positions
from nerve_jax.examples import Examples, create_builder, load_examples
from nerve_jax.folds import create_fold_programs
from nerve_jax.losses import make_loss
from nerve_jax.models import create_model
from nerve_jax.predict import make_predict_batch, predict_probs
from nerve_jax.train_step import (
    Frames,
    create_optimizer,
    create_state,
    make_train_step,
    make_train_steps,
    pick_frames,
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

    Rows, keys and metrics have a first axis of the folds that ride together; states lie
    as `folds` says, which see also for `init`, `take` and `join`.

    Attributes:
      init: keys -> states before the first step.
      compile_steps: compiles `run_steps`, so that compiling is not timed as training.
      run_steps: (states, rows [folds steps ...], keys) -> (states, metrics).
      open_batches: (numbers of folds, training positions of each) -> `next_rows(step)`,
        which gives the rows of one step, [folds ...].
      take: (states, place) -> the state of one fold, on all devices.
      join: states of one fold each -> states.
      predict: see `create_predictor`.
      steps_per_call: steps that `run_steps` takes at a time; else one.
    """

    init: Callable
    compile_steps: Callable
    run_steps: Callable
    open_batches: Callable
    take: Callable
    join: Callable
    predict: Callable
    steps_per_call: int


def create_programs(config: ConfigDict, mesh, examples: Examples) -> Programs:
    """Put the frames on the devices, or stream them, and say how to train and predict.

    Args:
      config: of the run.
      mesh: of `create_mesh(config.folds_together)`.
      examples: the data set.
    """
    apply, init = create_model_from(config)
    optimizer = create_optimizer(
        learning_rate=config.learning_rate,
        num_train_steps=config.num_train_steps,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    streamed = streaming.is_too_big(examples, config.max_resident_gb)
    pick = streaming.pick_streamed if streamed else pick_frames
    ready = create_fold_programs(
        lambda key: create_state(init(key), optimizer),
        make_train_steps(_create_train_step(config, apply, optimizer), pick),
        mesh,
    )
    resident = () if streamed else Frames(examples.images, examples.masks)
    frames = jax.device_put(resident, parallel.replicated(mesh))
    on_cpu = jax.default_backend() == "cpu"
    steps_per_call = config.steps_per_call or (1 if on_cpu else STEPS_PER_CALL)
    open_batches = functools.partial(
        streaming.open_streams if streamed else _open_positions,
        examples=examples,
        mesh=mesh,
        batch_size=config.batch_size,
        seed=config.seed,
    )

    @functools.cache
    def compile_steps():
        keys = jax.random.split(jax.random.key(0), mesh.shape["fold"])
        shapes = jax.eval_shape(ready.init, keys)
        one_by_one = any(
            steps % steps_per_call
            for steps in (config.eval_every_steps, config.num_train_steps)
        )
        programs = {}
        for count in {steps_per_call} | ({1} if one_by_one else set()):
            rows = (len(keys), count, config.batch_size)
            if streamed:
                grey = jax.ShapeDtypeStruct(
                    (*rows, *examples.images.shape[1:]), np.uint8
                )
                given = Frames(grey, grey)
            else:
                given = jax.ShapeDtypeStruct(rows, np.int32)
            programs[count] = ready.run.lower(shapes, frames, given, keys).compile()
        return programs

    by_fold = parallel.split_folds(mesh)

    def run_steps(states, rows, keys):
        program = compile_steps()[jax.tree.leaves(rows)[0].shape[1]]
        rows = parallel.put_rows(rows, mesh)
        return program(states, frames, rows, jax.device_put(keys, by_fold))

    return Programs(
        ready.init,
        compile_steps,
        run_steps,
        open_batches,
        ready.take,
        ready.join,
        create_predictor(config),
        steps_per_call,
    )


def _open_positions(folds, trains, *, examples, mesh, batch_size: int, seed: int):
    """Rows of positions into the frames that lie on the devices."""
    del examples
    own_folds, own_frames = parallel.find_own_rows(mesh, batch_size)

    def next_rows(step: int):
        rows = []
        for place in own_folds:
            positions = batch_positions(
                step,
                batch_size=batch_size,
                num_frames=len(trains[place]),
                seed=seed,
                fold=folds[place],
            )
            rows.append(trains[place][positions[own_frames]])
        return np.stack(rows).astype(np.int32)

    return next_rows


def _create_train_step(config: ConfigDict, apply, optimizer) -> Callable:
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
        axis_name="batch",
    )


def create_predictor(config: ConfigDict):
    """Return `predict(members, images)`: see `predict_probs`.

    It flips as the configuration says, unless told `flips=`.
    """
    mesh = parallel.create_mesh()
    by_frame = parallel.split_frames(mesh)
    apply, _ = create_model_from(config)
    predict_batch = jax.jit(
        make_predict_batch(apply),
        in_shardings=(parallel.replicated(mesh), by_frame),
        out_shardings=by_frame,
    )
    frames_at_a_time = config.batch_size // config.accumulate_steps
    return functools.partial(
        predict_probs,
        predict_batch,
        batch_size=-(-frames_at_a_time // mesh.size) * mesh.size,
        flips=config.test_flips,
    )
