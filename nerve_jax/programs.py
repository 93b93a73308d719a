"""From a configuration to what runs: model, data, compiled training and prediction."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import parallel, processes, scalars, streaming
from nerve_jax.augment import make_augment
from nerve_jax.batches import batch_positions
from nerve_jax.examples import Examples
from nerve_jax.folds import create_fold_programs
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


def make_augment_from(config: ConfigDict, numbers: dict):
    """The augmentation of a configuration at the strengths of `scalars.fill_in`."""
    strengths = scalars.pick_strengths(numbers)
    return make_augment(**strengths, elastic_cells=config.augment.elastic_cells)


class Programs(NamedTuple):
    """What runs on the devices; compiled once and shared by all folds.

    Rows, keys and metrics have a first axis of the folds that ride together; states lie
    as `folds` says, which see also for `init`, `take` and `join`.

    Attributes:
      make_keys: numbers of folds -> their keys.
      put_numbers: a configuration -> its scalars, on the devices.
      init: keys -> states before the first step.
      compile_steps: numbers -> None; compiles `run_steps`, so that compiling is not
        timed as training.
      run_steps: (states, rows [folds steps ...], keys, numbers) -> (states, metrics).
      open_batches: (numbers of folds, training positions of each) -> `next_rows(step)`,
        which gives the rows of one step, [folds ...].
      take: (states, place) -> the state of one fold, on all devices.
      join: states of one fold each -> states.
      predict: see `create_predictor`.
      steps_per_call: steps that `run_steps` takes at a time; else one.
    """

    make_keys: Callable
    put_numbers: Callable
    init: Callable
    compile_steps: Callable
    run_steps: Callable
    open_batches: Callable
    take: Callable
    join: Callable
    predict: Callable
    steps_per_call: int


def create_programs(
    config: ConfigDict, mesh, examples: Examples, make_objective: Callable
) -> Programs:
    """Put the frames on the devices, or stream them, and say how to train and predict.

    Args:
      config: of the run; other runs that differ in `SCALARS` alone may share them.
      mesh: of `create_mesh(config.folds_together)`.
      examples: the data set.
      make_objective: (config, apply, numbers) -> objective of `make_train_step`; numbers
        are those of `scalars.fill_in`.
    """
    apply, init = create_model_from(config)
    optimizer = _create_optimizer(config, scalars.fill_in({}))
    streamed = streaming.is_too_big(examples, config.max_resident_gb)
    pick = streaming.pick_streamed if streamed else pick_frames
    ready = create_fold_programs(
        lambda key: create_state(init(key), optimizer),
        make_train_steps(_make_step(config, apply, make_objective), pick),
        mesh,
    )
    resident = () if streamed else Frames(examples.images, examples.masks)
    frames = parallel.put(resident, parallel.replicated(mesh))
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
    def compile_call(count: int, names: tuple[str, ...]):
        keys = jax.random.split(jax.random.key(0), mesh.shape["fold"])
        shapes = jax.eval_shape(ready.init, keys)
        rows = (len(keys), count, config.batch_size)
        if streamed:
            grey = jax.ShapeDtypeStruct((*rows, *examples.images.shape[1:]), np.uint8)
            given = Frames(grey, grey)
        else:
            given = jax.ShapeDtypeStruct(rows, np.int32)
        numbers = {name: jax.ShapeDtypeStruct((), np.float32) for name in names}
        return ready.run.lower(shapes, frames, given, keys, numbers).compile()

    def compile_steps(numbers) -> None:
        compile_call(steps_per_call, tuple(numbers))
        for steps in (config.eval_every_steps, config.num_train_steps):
            if steps % steps_per_call:
                compile_call(1, tuple(numbers))

    fold_in = jax.jit(
        jax.vmap(jax.random.fold_in, (None, 0)),
        out_shardings=parallel.split_folds(mesh),
    )

    def make_keys(numbers):
        return fold_in(jax.random.key(config.seed), np.array(numbers, np.uint32))

    def run_steps(states, rows, keys, numbers):
        program = compile_call(jax.tree.leaves(rows)[0].shape[1], tuple(numbers))
        rows = parallel.put(rows, parallel.split_rows(mesh))
        return program(states, frames, rows, keys, numbers)

    def put_numbers(config):
        numbers = scalars.read_scalars(config)
        return parallel.put(
            {name: np.float32(value) for name, value in numbers.items()},
            parallel.replicated(mesh),
        )

    return Programs(
        make_keys,
        put_numbers,
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


def _create_optimizer(config: ConfigDict, numbers: dict):
    return create_optimizer(
        learning_rate=numbers["learning_rate"],
        num_train_steps=config.num_train_steps,
        warmup_steps=config.warmup_steps,
        weight_decay=numbers["weight_decay"],
        clip_norm=numbers["clip_norm"],
        encoder_frozen_steps=config.encoder_frozen_steps,
        encoder_rate_factor=config.encoder_rate_factor,
    )


def _make_step(config: ConfigDict, apply, make_objective: Callable) -> Callable:
    """Return `make_step(numbers) -> train_step`: see `make_train_steps`."""

    def make_step(numbers):
        numbers = scalars.fill_in(numbers)
        return make_train_step(
            make_objective(config, apply, numbers),
            _create_optimizer(config, numbers),
            ema_decay=numbers["ema_decay"],
            accumulate_steps=config.accumulate_steps,
            axis_name="batch",
        )

    return make_step


def create_predictor(config: ConfigDict):
    """Return `predict(members, images)`: see `predict_probs`.

    It flips as the configuration says, unless told `flips=`. Each of several processes
    predicts a part of the frames on its own devices, and all get the whole.
    """
    mesh = parallel.create_local_mesh()
    everywhere, by_frame = parallel.replicated(mesh), parallel.split_frames(mesh)
    apply, _ = create_model_from(config)
    compiled = jax.jit(
        make_predict_batch(apply),
        in_shardings=(everywhere, by_frame),
        out_shardings=by_frame,
    )

    def predict_batch(params, images):
        return compiled(params, jax.device_put(images, by_frame))

    frames_at_a_time = config.batch_size // config.accumulate_steps
    each = -(-frames_at_a_time // jax.process_count())
    predict_part = functools.partial(
        predict_probs,
        predict_batch,
        batch_size=-(-each // mesh.size) * mesh.size,
        flips=config.test_flips,
    )

    def predict(members, images, **options):
        if jax.process_count() == 1:
            return predict_part(members, images, **options)
        members = [parallel.bring_home(params, everywhere) for params in members]
        return processes.share_out(
            lambda rows: predict_part(members, images[rows], **options), len(images)
        )

    return predict
