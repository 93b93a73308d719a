"""Folds -> out-of-fold predictions -> one report: the command `--mode=train`."""

import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import checkpoints, metrics, parallel, report, workdirs
from nerve_jax.batches import batch_positions
from nerve_jax.errors import InputError
from nerve_jax.evaluate import (
    compute_summary,
    count_frames,
    draw_scored,
    read_scores,
    write_scores,
)
from nerve_jax.examples import Examples
from nerve_jax.files import write_array, write_json, write_png
from nerve_jax.programs import (
    Programs,
    create_programs,
    decision,
    load_examples_from,
)
from nerve_jax.progress import training_bar
from nerve_jax.splits import group_subjects, load_or_create_splits
from nerve_jax.train import train_fold


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
    workdirs.check_config(workdir, config)
    workdirs.check_dataset(workdir, examples)
    programs = create_programs(config, mesh, examples)
    splits = _split(config, workdir, examples, labelled)
    workdirs.save_config(workdir, config)
    workdirs.save_dataset(workdir, examples)
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


def _split(config: ConfigDict, workdir: Path, examples: Examples, labelled) -> list:
    """Read or create splits.json; subjects that share a frame count as one."""
    subjects = [examples.subjects[i] for i in labelled]
    groups = group_subjects(subjects, [examples.digests[i] for i in labelled])
    joined = len(set(subjects)) - len(set(groups))
    if joined:
        print(f"subjects that share frames are kept together: {joined} fewer groups")
    path = workdir / "splits.json"
    made = not path.exists()
    workdir.mkdir(parents=True, exist_ok=True)
    splits = load_or_create_splits(
        path,
        [examples.frames[i] for i in labelled],
        groups,
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
    workdirs.save_split(workdir, fold, split)
    train, val = (examples.positions(split[part]) for part in ("train", "val"))
    key = jax.random.fold_in(jax.random.key(config.seed), fold)
    log = workdirs.MetricsLog(workdir)

    def validate(params) -> tuple:
        probs, presence = programs.predict([params], examples.images[val])
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
    with (
        checkpoints.open_checkpoints(directory / "checkpoints") as checkpointer,
        training_bar(fold, config.num_train_steps, config.batch_size) as bar,
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
    summary = {
        "num_train_steps": config.num_train_steps,
        "batch_size": config.batch_size,
        "train_seconds": seconds["train"],
        "wall_seconds": seconds["wall"],
        "best_step": best_step,
        "dice_of_best_step_selected_on_these_frames": best_dice,
    }
    predicted = validate(state.ema_params)
    _write_fold(directory, examples, val, *predicted, decision(config), summary)


def _write_fold(
    directory, examples, val, probs, presence_probs, counts, thresholds, summary
) -> None:
    """Write what a finished fold leaves; summary.json last, which says it is finished."""
    write_array(directory / "val_probs.npy", probs)
    write_scores(directory / "scores.csv", examples, val, counts, presence_probs)
    sheet = draw_scored(examples, val, probs, presence_probs, counts, **thresholds)
    write_png(directory / "examples.png", sheet)
    write_json(directory / "summary.json", summary)


def write_report(workdir: Path, config: ConfigDict, examples: Examples) -> dict:
    """Pool all finished folds into report.json and return its content."""
    folds = workdirs.finished_folds(workdir)
    tables = {f: workdirs.fold_dir(workdir, f) / "scores.csv" for f in folds}
    summaries = [
        workdirs.read_json(workdirs.fold_dir(workdir, f) / "summary.json")
        for f in folds
    ]
    rows = [
        {
            "fold": fold,
            **metrics.compute_scores(read_scores([tables[fold]]).counts),
            **summary,
        }
        for fold, summary in zip(folds, summaries, strict=True)
    ]
    train_seconds = sum(s["train_seconds"] for s in summaries)
    num_images = sum(s["num_train_steps"] * s["batch_size"] for s in summaries)
    content = {
        **compute_summary(read_scores(list(tables.values()))),
        "folds": folds,
        "num_folds": len(workdirs.read_json(workdir / "splits.json")),
        "by_fold": rows,
        "over_folds": report.summarise_folds(rows),
        "train_seconds": train_seconds,
        "images_per_second": num_images / train_seconds,
        "wall_seconds": sum(s["wall_seconds"] for s in summaries),
        "dataset": examples.fingerprint,
        "config": workdirs.to_plain(config),
        **report.describe_environment(),
    }
    write_json(workdir / "report.json", content)
    return content
