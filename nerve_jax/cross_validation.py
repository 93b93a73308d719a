"""Folds -> out-of-fold predictions -> one report: the command `--mode=train`."""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import checkpoints, metrics, parallel, report, workdirs
from nerve_jax.decide import Threshold, check_rule
from nerve_jax.duplicates import (
    Pair,
    contradicting_empty,
    find_duplicates,
    group_subjects,
    shared_subjects,
)
from nerve_jax.errors import InputError
from nerve_jax.examples import Examples
from nerve_jax.files import write_array, write_json
from nerve_jax.metrics_log import MetricsLog
from nerve_jax.programs import Programs, create_programs, load_examples_from
from nerve_jax.progress import training_bar
from nerve_jax.scores import Predicted, count_frames
from nerve_jax.splits import load_or_create_splits
from nerve_jax.tables import print_scores
from nerve_jax.train import train_folds


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
    mesh = parallel.create_mesh(config.folds_together)
    _check(config, mesh)
    examples = load_examples_from(config, "train")
    labelled = np.flatnonzero(examples.labelled)
    if not labelled.size:
        raise InputError(
            f"{examples.fingerprint}: none of {len(examples)} frames has a mask, so "
            "there is nothing to train on (predicting works)"
        )
    workdirs.check_config(workdir, config)
    workdirs.check_dataset(workdir, examples)
    programs = create_programs(config, mesh, examples)
    pairs = find_duplicates(examples.thumbnails, examples.digests)
    groups = group_subjects(examples.subjects, pairs)
    splits = _split(config, workdir, examples, groups)
    workdirs.check_splits(workdir, splits)
    workdirs.save_config(workdir, config)
    workdirs.save_dataset(workdir, examples, groups)
    together = config.folds_together
    for first in range(0, len(config.folds), together):
        numbers = config.folds[first : first + together]
        if set(numbers) <= set(workdirs.finished_folds(workdir)):
            continue
        folds = [
            _choose_frames(config, workdir, number, splits[number], examples, pairs)
            for number in numbers
        ]
        _run_folds(config, workdir, folds, examples, programs, started)
        started = time.perf_counter()
    content = report.write_report(workdir, config, examples, pairs, groups)
    title = f"{workdir}: {examples.fingerprint}, {content['num_frames']} frames"
    print_scores(content, title=title, folds=content["by_fold"])
    print(
        f"wrote {workdir / 'report.html'}, report.json and, in fold_k/, a row a frame"
    )
    return content


class Fold(NamedTuple):
    """A fold, its folder, and the positions of its frames.

    Attributes:
      given: frames of its training part; `train` leaves out those that are doubtful.
    """

    number: int
    directory: Path
    given: np.ndarray
    train: np.ndarray
    val: np.ndarray


def _choose_frames(config, workdir, number: int, split: dict, examples, pairs) -> Fold:
    workdirs.save_split(workdir, number, split)
    given, val = (examples.positions(split[part]) for part in ("train", "val"))
    train = given
    if config.clean_train:
        train = leave_out_doubtful(given, examples, pairs)
    return Fold(number, workdirs.fold_dir(workdir, number), given, train, val)


def leave_out_doubtful(
    train: np.ndarray, examples: Examples, pairs: list[Pair]
) -> np.ndarray:
    """Leave out frames labelled empty that another training frame contradicts."""
    known = set(train.tolist())
    inside = [pair for pair in pairs if {pair.first, pair.second} <= known]
    wrong = contradicting_empty(inside, examples.presence, examples.labelled)
    print(f"clean_train: {len(wrong)} contradicted empty frames are not trained on")
    return train[~np.isin(train, wrong)]


def _split(
    config: ConfigDict, workdir: Path, examples: Examples, groups: list[str]
) -> list:
    """Read or create splits.json; subjects that share a view count as one."""
    for people in shared_subjects(examples.subjects, groups):
        shown = ", ".join(people[:6]) + ", …" * (len(people) > 6)
        print(f"subjects that share frames are kept together in the folds: {shown}")
    labelled = np.flatnonzero(examples.labelled)
    path = workdir / "splits.json"
    made = not path.exists()
    workdir.mkdir(parents=True, exist_ok=True)
    splits = load_or_create_splits(
        path,
        [examples.frames[i] for i in labelled],
        [groups[i] for i in labelled],
        examples.presence[labelled],
        num_folds=config.num_folds,
        seed=config.seed,
    )
    if not made and len(splits) != config.num_folds:
        print(
            f"{path} has {len(splits)} folds and is honoured, whatever num_folds says"
        )
    wrong = [fold for fold in config.folds if not 0 <= fold < len(splits)]
    if wrong:
        raise InputError(
            f"folds={config.folds}: there are folds 0 to {len(splits) - 1}"
        )
    return splits


def _check(config: ConfigDict, mesh) -> None:
    parallel.check_batch_size(mesh, config.batch_size, config.accumulate_steps)
    check_rule(config.decide)
    for name in ("num_train_steps", "eval_every_steps"):
        if config[name] < 1:
            raise InputError(f"{name}={config[name]} must be at least 1")
    if config.seed < 0 or config.steps_per_call < 0:
        raise InputError(
            f"seed={config.seed} and steps_per_call={config.steps_per_call} must be at "
            "least 0"
        )
    if not config.folds:
        raise InputError('folds=(): name at least one, e.g. --config.folds="(0,)"')
    if len(config.folds) % config.folds_together:
        raise InputError(
            f"folds={config.folds} are {len(config.folds)}, which is no multiple of "
            f"folds_together={config.folds_together}"
        )


def _run_folds(
    config: ConfigDict,
    workdir: Path,
    folds: list[Fold],
    examples: Examples,
    programs: Programs,
    started: float,
) -> None:
    """Train folds that ride together, predict with their last averaged weights.

    Writes each fold's predictions, and at last its summary.json, which says that it is
    finished.
    """
    numbers = [fold.number for fold in folds]
    run_key = jax.random.key(config.seed)
    keys = jax.vmap(lambda number: jax.random.fold_in(run_key, number))(
        np.array(numbers, np.uint32)
    )
    log = MetricsLog(workdir)
    programs.compile_steps()
    with contextlib.ExitStack() as stack:
        checkpointers = [
            stack.enter_context(
                checkpoints.open_checkpoints(fold.directory / "checkpoints")
            )
            for fold in folds
        ]
        stack.enter_context(contextlib.closing(log))
        bar = stack.enter_context(
            training_bar(numbers, config.num_train_steps, config.batch_size)
        )

        def predict(place: int, params) -> Predicted:
            val = folds[place].val
            probs, presence = programs.predict([params], examples.images[val])
            return Predicted(val, probs.astype(np.float16), presence)

        def validate(place: int, params) -> dict[str, float]:
            plain = [Threshold(config.threshold)] * len(folds[place].val)
            return metrics.compute_scores(
                count_frames(examples, predict(place, params), plain)
            )

        def on_resume(place: int, step: int) -> None:
            log.begin(numbers[place], step)
            bar.start_at(numbers[place], step)

        def on_eval(place: int, row: dict) -> None:
            rate = row["step"] * config.batch_size / row["train_seconds"]
            row = {"fold": numbers[place], **row, "images_per_second": rate}
            log.write(row)
            bar.show_eval(row)

        states, seconds = train_folds(
            programs.init(keys),
            lambda states, rows: programs.run_steps(states, rows, keys),
            programs.open_batches(numbers, [fold.train for fold in folds]),
            validate,
            checkpointers,
            programs.take,
            programs.join,
            num_train_steps=config.num_train_steps,
            eval_every_steps=config.eval_every_steps,
            steps_per_call=programs.steps_per_call,
            started=started,
            on_resume=on_resume,
            on_step=bar.show_step,
            on_eval=on_eval,
        )
        for place, (fold, checkpointer) in enumerate(
            zip(folds, checkpointers, strict=True)
        ):
            predicted = predict(place, programs.take(states, place).ema_params)
            _write_fold(config, fold, predicted, seconds, checkpointer)


def _write_fold(
    config: ConfigDict, fold: Fold, predicted: Predicted, seconds: dict, checkpointer
) -> None:
    write_array(fold.directory / "val_probs.npy", predicted.probs)
    write_array(fold.directory / "val_presence.npy", predicted.presence_probs)
    best_step, best_dice = checkpoints.best_step(checkpointer)
    summary = {
        "num_frames_left_out_of_training": len(fold.given) - len(fold.train),
        "num_train_steps": config.num_train_steps,
        "batch_size": config.batch_size,
        "train_seconds": seconds["train"],
        "wall_seconds": seconds["wall"],
        "best_step": best_step,
        "dice_of_best_step_selected_on_these_frames": best_dice,
    }
    write_json(fold.directory / "summary.json", summary)
