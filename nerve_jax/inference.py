"""A trained run as others use it: `--mode=predict`, and what evaluating shares with it."""

import functools
import pathlib
from operator import getitem

import jax
from ml_collections import ConfigDict

from nerve_jax import checkpoints, parallel, workdirs
from nerve_jax.decide import Rule, Threshold, check_rule
from nerve_jax.errors import InputError, raise_if_any
from nerve_jax.files import Path
from nerve_jax.out_of_fold import load_rule
from nerve_jax.predict import predict_folder
from nerve_jax.programs import create_model_from, create_predictor

DECISION_FIELDS = ("decide", "threshold", "test_flips", "ensemble")


def load_members(workdir: Path) -> dict[int, dict[str, jax.Array]]:
    """Load the last averaged parameters of every finished fold, by fold.

    Raises:
      InputError: no fold is finished there.
    """
    workdirs.load_config(workdir)
    workdirs.check_segments(workdir)
    same = parallel.replicated(parallel.create_local_mesh())
    folds = workdirs.finished_folds(workdir)
    if not folds:
        raise InputError(
            f"{workdir}: no fold is trained to its end there; run --mode=train first"
        )
    return {fold: load_member(workdir, fold, same) for fold in folds}


def load_member(workdir: Path, fold: int, sharding) -> dict[str, jax.Array]:
    """Load the last averaged parameters of one fold, laid on devices as `sharding` says."""
    _, init = create_model_from(workdirs.load_config(workdir))
    shapes = jax.eval_shape(init, jax.random.key(0))
    return checkpoints.load_average(
        workdirs.fold_dir(workdir, fold) / "checkpoints",
        jax.tree.map(lambda x: x.update(sharding=sharding), shapes),
    )


def predict(
    workdir: Path,
    overrides: dict,
    input_dir: pathlib.Path,
    output_dir: pathlib.Path,
    *,
    submission: bool,
) -> int:
    """Segment a folder of frames with the average of all finished folds.

    `overrides` may set `DECISION_FIELDS` anew. See `predict.predict_folder` for what is
    written and raised.

    Returns:
      How many frames were done.
    """
    config = override(workdir, overrides, DECISION_FIELDS)
    members = list(load_members(workdir).values())
    if not config.ensemble:
        members = members[:1]
    predictor = create_predictor(config)
    count = predict_folder(
        input_dir,
        output_dir,
        lambda images: predictor(members, images),
        image_size=tuple(config.image_size),
        rule=load_rule_of(config, workdir),
        submission=submission,
    )
    print(
        f"{count} frames by {len(members)} fold(s); wrote {output_dir}/predictions.csv"
    )
    print("  masks/ and overlays/" + (", submission.csv" if submission else ""))
    return count


def load_rule_of(config: ConfigDict, workdir: Path, fold: int | None = None) -> Rule:
    """The rule that a run's folder holds, or the plain one where that is asked for."""
    if config.decide == "threshold":
        return Threshold(config.threshold)
    folder = workdir if fold is None else workdirs.fold_dir(workdir, fold)
    workdirs.check_reported([folder / "decision.json"])
    return load_rule(folder / "decision.json")


def override(workdir: Path, overrides: dict, fields: tuple[str, ...]) -> ConfigDict:
    """The run's configuration with some fields set anew; no other may differ.

    Raises:
      InputError: lists those that do; a fitted decision is asked for and there is none.
    """
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
    trained_with = config.decide
    config.update({name: overrides[name] for name in fields if name in overrides})
    if "threshold" in overrides and "decide" not in overrides:
        config.decide = "threshold"
    check_rule(config.decide)
    if config.decide not in ("threshold", trained_with):
        raise InputError(
            f"{workdir} was trained with --config.decide={trained_with} and holds no "
            f"other decision; train with --config.decide={config.decide} in another "
            "folder"
        )
    return config
