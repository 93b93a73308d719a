"""Folds -> out-of-fold predictions -> one report: the command `--mode=train`."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import checkpoints, metrics, parallel, report, workdirs
from nerve_jax.augment import make_augment
from nerve_jax.batches import batch_positions
from nerve_jax.errors import InputError
from nerve_jax.evaluate import count_frames, draw_scored, read_counts, write_scores
from nerve_jax.examples import Examples, create_builder, load_examples
from nerve_jax.files import write_array, write_json, write_png
from nerve_jax.losses import make_loss
from nerve_jax.models import create_model
from nerve_jax.predict import make_predict_batch, predict_probs
from nerve_jax.progress import training_bar
from nerve_jax.splits import load_or_create_splits
from nerve_jax.train import (
    Frames,
    create_optimizer,
    create_state,
    make_train_step,
    make_train_steps,
    train_fold,
)

STEPS_PER_CALL = 20  # on accelerators; a CPU is faster one step at a time


class Programs(NamedTuple):
    """What runs on the devices; compiled once and shared by all folds.

    Attributes:
      init: key -> state before the first step.
      compile_steps: compiles `run_steps`, so that compiling is not timed as training.
      run_steps: (state, positions [steps batch], key) -> (state, metrics).
      predict_batch: (params, images [batch height width]) -> (probs, presence_probs).
      steps_per_call: rows that `run_steps` takes at a time; else one.
    """

    init: Callable
    compile_steps: Callable
    run_steps: Callable
    predict_batch: Callable
    steps_per_call: int


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


def cross_validate(config: ConfigDict, workdir: Path) -> dict:
    """Train the folds that `config.folds` names, score them, and report on all finished.

    Folds that are finished already are not trained again; one that was interrupted goes
    on from its newest checkpoint.

    Returns:
      The content of report.json.

    Raises:
      InputError: a configuration, data set or folder that does not fit.
      RunError: training could not go on.
    """
    started = time.perf_counter()
    mesh = parallel.create_mesh()
    _check(config, mesh)
    examples = load_examples_from(config, "train")
    labelled = np.flatnonzero(examples.labelled)
    if not labelled.size:
        raise InputError(
            f"{examples.fingerprint}: none of {len(examples)} frames has a mask, so "
            "there is nothing to train on (predicting works)"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    workdirs.save_config(workdir, config)
    workdirs.save_dataset(workdir, examples)
    splits = load_or_create_splits(
        workdir / "splits.json",
        [examples.frames[i] for i in labelled],
        [examples.subjects[i] for i in labelled],
        examples.presence[labelled],
        num_folds=config.num_folds,
        seed=config.seed,
    )
    wrong = [fold for fold in config.folds if not 0 <= fold < len(splits)]
    if wrong:
        raise InputError(
            f"folds={config.folds}: there are folds 0 to {len(splits) - 1}"
        )
    programs = create_programs(config, mesh, examples)
    for fold in config.folds:
        if fold not in workdirs.finished_folds(workdir):
            _run_fold(config, workdir, fold, splits[fold], examples, programs, started)
            started = time.perf_counter()
    content = write_report(workdir, config, examples)
    title = f"{workdir}: {examples.fingerprint}, {content['num_frames']} frames"
    report.print_scores(content, title=title, folds=content["by_fold"])
    print(
        f"wrote {workdir / 'report.json'}, metrics.jsonl, splits.json, and in fold_k/"
    )
    print("  checkpoints/, scores.csv (a row a frame), val_probs.npy and examples.png")
    return content


def _check(config: ConfigDict, mesh) -> None:
    parallel.check_batch_size(mesh, config.batch_size, config.accumulate_steps)
    for name in ("num_train_steps", "eval_every_steps"):
        if config[name] < 1:
            raise InputError(f"{name}={config[name]} must be at least 1")
    if not config.folds:
        raise InputError('folds=(): name at least one, e.g. --config.folds="(0,)"')


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
    train_step = make_train_step(
        apply,
        make_loss(
            config.loss,
            presence_weight=config.presence_weight,
            coarse_weight=config.coarse_weight,
        ),
        make_augment(**config.augment),
        optimizer,
        ema_decay=config.ema_decay,
        accumulate_steps=config.accumulate_steps,
        constrain=lambda batch: jax.lax.with_sharding_constraint(batch, by_batch),
    )
    train_steps = jax.jit(
        make_train_steps(train_step),
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

    predict_batch = jax.jit(
        make_predict_batch(apply),
        in_shardings=(same, by_batch),
        out_shardings=by_batch,
    )
    return Programs(init_state, compile_steps, run_steps, predict_batch, steps_per_call)


def _run_fold(
    config: ConfigDict,
    workdir: Path,
    fold: int,
    split: dict[str, list[str]],
    examples: Examples,
    programs: Programs,
    started: float,
) -> None:
    """Train one fold, predict its validation frames with the last average, score them."""
    directory = workdirs.fold_dir(workdir, fold)
    directory.mkdir(exist_ok=True)
    train, val = (examples.positions(split[part]) for part in ("train", "val"))
    key = jax.random.fold_in(jax.random.key(config.seed), fold)
    log = workdirs.MetricsLog(workdir)

    def validate(params) -> tuple:
        probs, presence = predict_probs(
            programs.predict_batch, [params], examples.images[val], eval_batch(config)
        )
        probs = probs.astype(np.float16)  # as they are kept
        counts = count_frames(examples, val, probs, presence, **decision(config))
        return probs, presence, counts

    def next_positions(step: int) -> np.ndarray:
        places = batch_positions(
            step,
            batch_size=config.batch_size,
            num_frames=len(train),
            seed=config.seed,
            fold=fold,
        )
        return train[places].astype(np.int32)

    programs.compile_steps()
    bar_of = training_bar(fold, config.num_train_steps, config.batch_size)
    with (
        checkpoints.open_checkpoints(directory / "checkpoints") as checkpointer,
        bar_of as bar,
    ):

        def on_resume(step: int) -> None:
            log.rewind(fold, step)
            bar.start_at(step)

        def on_eval(row: dict) -> None:
            rate = row["step"] * config.batch_size / row["train_seconds"]
            row = {"fold": fold, **row, "images_per_second": rate}
            log.write(row)
            bar.show_eval(row)

        state, seconds = train_fold(
            programs.init(key),
            lambda state, rows: programs.run_steps(state, rows, key),
            next_positions,
            lambda params: metrics.compute_scores(validate(params)[2]),
            checkpointer,
            num_train_steps=config.num_train_steps,
            eval_every_steps=config.eval_every_steps,
            steps_per_call=programs.steps_per_call,
            started=started,
            on_resume=on_resume,
            on_step=bar.show_step,
            on_eval=on_eval,
        )
        best_step, best_dice = checkpoints.best_step(checkpointer)
    probs, presence, counts = validate(state.ema_params)
    write_array(directory / "val_probs.npy", probs)
    write_scores(directory / "scores.csv", examples, val, counts, presence)
    sheet = draw_scored(examples, val, probs, presence, counts, **decision(config))
    write_png(directory / "examples.png", sheet)
    write_json(
        directory / "summary.json",  # last: it says that the fold is finished
        {
            "num_train_steps": config.num_train_steps,
            "batch_size": config.batch_size,
            "train_seconds": seconds["train"],
            "wall_seconds": seconds["wall"],
            "best_step": best_step,
            "dice_of_best_step_selected_on_these_frames": best_dice,
        },
    )


def decision(config: ConfigDict) -> dict[str, float]:
    """The arguments of `decide` that a configuration gives."""
    return {
        "threshold": config.threshold,
        "presence_threshold": config.presence_threshold,
    }


def eval_batch(config: ConfigDict) -> int:
    """Frames that go through the model at a time."""
    return config.batch_size // config.accumulate_steps


def write_report(workdir: Path, config: ConfigDict, examples: Examples) -> dict:
    """Pool all finished folds into report.json and return its content."""
    folds = workdirs.finished_folds(workdir)
    tables = {f: workdirs.fold_dir(workdir, f) / "scores.csv" for f in folds}
    summaries = [
        workdirs.read_json(workdirs.fold_dir(workdir, f) / "summary.json")
        for f in folds
    ]
    rows = [
        {"fold": fold, **metrics.compute_scores(read_counts([tables[fold]])), **summary}
        for fold, summary in zip(folds, summaries, strict=True)
    ]
    train_seconds = sum(s["train_seconds"] for s in summaries)
    num_images = sum(s["num_train_steps"] * s["batch_size"] for s in summaries)
    content = {
        **metrics.compute_scores(read_counts(list(tables.values()))),
        "folds": folds,
        "num_folds": config.num_folds,
        "by_fold": rows,
        "over_folds": report.summarise_folds(rows),
        "train_seconds": train_seconds,
        "images_per_second": num_images / train_seconds,
        "wall_seconds": sum(s["wall_seconds"] for s in summaries),
        "dataset": examples.fingerprint,
        "num_subjects": len(set(examples.subjects)),
        "config": workdirs.to_plain(config),
        **report.describe_environment(),
    }
    write_json(workdir / "report.json", content)
    return content
