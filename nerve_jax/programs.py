"""From a configuration to what runs: model, data, compiled training and prediction."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import parallel, processes, records, streaming
from nerve_jax.augment import make_augment
from nerve_jax.batches import batch_positions
from nerve_jax.examples import Examples, create_builder, load_examples, open_builder
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
    """The frames that a configuration names, at its training size.

    Real ones are prepared from `manual_dir`; without it the records in `data_dir` do.
    """
    folder = None
    if not config.manual_dir and not config.dataset.endswith("/phantom"):
        folder = records.find_prepared(config.dataset, config.data_dir)
    if folder:
        records.fetch(folder, config.data_dir)
        builder = open_builder(folder)
    else:
        builder = create_builder(
            config.dataset,
            data_dir=records.choose_local(config.data_dir),
            manual_dir=config.manual_dir,
            num_subjects=config.num_subjects,
            frames_per_subject=config.frames_per_subject,
            seed=config.phantom_seed,
        )
        folder = Path(builder.data_path)
        records.fetch(folder, config.data_dir)
    examples = load_examples(builder, split, tuple(config.image_size))
    if processes.is_first():
        records.publish(folder, config.data_dir)
    return examples


class Programs(NamedTuple):
    """What runs on the devices; compiled once and shared by all folds.

    Rows, keys and metrics have a first axis of the folds that ride together; states lie
    as `folds` says, which see also for `init`, `take` and `join`.

    Attributes:
      make_keys: numbers of folds -> their keys.
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

    make_keys: Callable
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
    def compile_call(count: int):
        keys = jax.random.split(jax.random.key(0), mesh.shape["fold"])
        shapes = jax.eval_shape(ready.init, keys)
        rows = (len(keys), count, config.batch_size)
        if streamed:
            grey = jax.ShapeDtypeStruct((*rows, *examples.images.shape[1:]), np.uint8)
            given = Frames(grey, grey)
        else:
            given = jax.ShapeDtypeStruct(rows, np.int32)
        return ready.run.lower(shapes, frames, given, keys).compile()

    def compile_steps() -> None:
        compile_call(steps_per_call)
        for steps in (config.eval_every_steps, config.num_train_steps):
            if steps % steps_per_call:
                compile_call(1)

    fold_in = jax.jit(
        jax.vmap(jax.random.fold_in, (None, 0)),
        out_shardings=parallel.split_folds(mesh),
    )

    def make_keys(numbers):
        return fold_in(jax.random.key(config.seed), np.array(numbers, np.uint32))

    def run_steps(states, rows, keys):
        program = compile_call(jax.tree.leaves(rows)[0].shape[1])
        rows = parallel.put(rows, parallel.split_rows(mesh))
        return program(states, frames, rows, keys)

    return Programs(
        make_keys,
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
