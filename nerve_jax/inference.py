"""Use of a trained run: the commands `--mode=predict` and `--mode=evaluate`."""

import functools
from operator import getitem
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import checkpoints, parallel, report, workdirs
from nerve_jax.errors import InputError, raise_if_any
from nerve_jax.evaluate import (
    compute_summary,
    count_frames,
    draw_scored,
    read_scores,
    write_scores,
)
from nerve_jax.files import write_json, write_png
from nerve_jax.predict import predict_folder
from nerve_jax.programs import (
    create_model_from,
    create_predictor,
    decision,
    load_examples_from,
)

DATA_FIELDS = (
    "dataset",
    "data_dir",
    "manual_dir",
    "num_subjects",
    "frames_per_subject",
    "phantom_seed",
)
DECISION_FIELDS = ("threshold", "presence_threshold")
FRAMES_IN_MEMORY = 64


def load_members(workdir: Path) -> dict[int, dict[str, jax.Array]]:
    """Load the last averaged parameters of every finished fold, by fold.

    Raises:
      InputError: no fold is finished there.
    """
    config = workdirs.load_config(workdir)
    _, init = create_model_from(config)
    shapes = jax.eval_shape(init, jax.random.key(0))
    same = parallel.replicated(parallel.create_mesh())
    shapes = jax.tree.map(lambda x: x.update(sharding=same), shapes)
    folds = workdirs.finished_folds(workdir)
    if not folds:
        raise InputError(
            f"{workdir}: no fold is trained to its end there; run --mode=train first"
        )
    return {
        fold: checkpoints.load_average(
            workdirs.fold_dir(workdir, fold) / "checkpoints", shapes
        )
        for fold in folds
    }


def predict(
    workdir: Path,
    overrides: dict,
    input_dir: Path,
    output_dir: Path,
    *,
    submission: bool,
) -> int:
    """Segment a folder of frames with the average of all finished folds.

    `overrides` may set `DECISION_FIELDS` anew. See `predict.predict_folder` for what is
    written and raised.

    Returns:
      How many frames were done.
    """
    config = _override(workdir, overrides, DECISION_FIELDS)
    members = load_members(workdir)
    predictor = create_predictor(config)
    count = predict_folder(
        input_dir,
        output_dir,
        lambda images: predictor(list(members.values()), images),
        image_size=tuple(config.image_size),
        **decision(config),
        chunk_size=FRAMES_IN_MEMORY,
        submission=submission,
    )
    print(
        f"{count} frames by {len(members)} fold(s); wrote {output_dir}/predictions.csv"
    )
    print("  masks/ and overlays/" + (", submission.csv" if submission else ""))
    return count


def evaluate(workdir: Path, overrides: dict, split: str) -> dict:
    """Score a labelled split; each frame only by folds that were not trained on it.

    A fold counts as trained on a frame when it was trained on one of the same pixels,
    whatever data set and name that came under, and on its own data set also when it was
    trained on any frame of the same subject.

    Args:
      workdir: of a run with finished folds.
      overrides: fields of the run's configuration to set anew: `DATA_FIELDS`, to score
        another data set, and `DECISION_FIELDS`.
      split: "train" or "test".

    Returns:
      The content of evaluation.json; evaluation.csv has a row a frame, and
      evaluation.png shows frames from the worst scored to the best.

    Raises:
      InputError: no labelled frames there, or all of them were trained on by all folds.
    """
    config = _override(workdir, overrides, (*DATA_FIELDS, *DECISION_FIELDS))
    members = load_members(workdir)
    examples = load_examples_from(config, split)
    judges = _choose_judges(workdir, list(members), examples)
    positions = np.array(
        [i for i in np.flatnonzero(examples.labelled) if judges[i]], np.int64
    )
    if not positions.size:
        raise InputError(
            f"{examples.fingerprint}, split {split}: no frame to score. "
            f"{int(examples.labelled.sum())} of {len(examples)} frames have a mask"
            + (", and every fold was trained on those" * bool(examples.labelled.any()))
        )
    probs, presence = _predict_by_judges(
        create_predictor(config), members, examples.images, positions, judges
    )
    counts = count_frames(examples, positions, probs, presence, **decision(config))
    write_scores(workdir / "evaluation.csv", examples, positions, counts, presence)
    scores = compute_summary(read_scores([workdir / "evaluation.csv"]))
    content = {
        **scores,
        "split": split,
        "dataset": examples.fingerprint,
        "folds": list(members),
        "num_frames_left_out": int(examples.labelled.sum()) - len(positions),
        **report.describe_environment(),
    }
    sheet = draw_scored(
        examples, positions, probs, presence, counts, **decision(config)
    )
    write_png(workdir / "evaluation.png", sheet)
    write_json(workdir / "evaluation.json", content)
    title = f"{examples.fingerprint}, split {split}, {len(positions)} frames"
    report.print_scores(scores, title=title)
    if content["num_frames_left_out"]:
        print(
            f"{content['num_frames_left_out']} frames left out: all folds trained on them"
        )
    print(f"wrote {workdir / 'evaluation.json'}, evaluation.csv and evaluation.png")
    return content


def _choose_judges(workdir: Path, folds: list[int], examples) -> list[tuple[int, ...]]:
    """Name the folds that may score each frame."""
    trained = {fold: workdirs.load_trained(workdir, fold) for fold in folds}
    fingerprint = workdirs.read_json(workdir / "dataset.json")["fingerprint"]
    own = fingerprint == examples.fingerprint
    return [
        tuple(
            fold
            for fold, seen in trained.items()
            if digest not in seen.digests and not (own and subject in seen.subjects)
        )
        for digest, subject in zip(examples.digests, examples.subjects, strict=True)
    ]


def _override(workdir: Path, overrides: dict, fields: tuple[str, ...]) -> ConfigDict:
    """The run's configuration with some fields set anew; no other may differ."""
    config = workdirs.load_config(workdir)
    free = (*fields, *workdirs.FREE_FIELDS)
    wrong = [
        f"--config.{name}={value}"
        for name, value in overrides.items()
        if name not in free
        and functools.reduce(getitem, name.split("."), config) != value
    ]
    raise_if_any(
        wrong,
        f"{workdir} was trained with another configuration than",
        f"Only these can be set anew: {', '.join(fields)}.",
    )
    config.update({name: overrides[name] for name in fields if name in overrides})
    return config


def _predict_by_judges(predictor, members, images, positions, judges):
    """Predict frames in groups that share the same folds; rows as in `positions`."""
    probs = np.zeros((len(positions), *images.shape[1:]), np.float32)
    presence = np.zeros(len(positions), np.float32)
    for group in sorted({judges[i] for i in positions}):
        rows = np.array([r for r, i in enumerate(positions) if judges[i] == group])
        chosen = [members[fold] for fold in group]
        probs[rows], presence[rows] = predictor(chosen, images[positions[rows]])
    return probs, presence
