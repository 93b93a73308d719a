"""Trainings by `main.py`, each in a folder of its own, and their scores held together.

One that is finished is not trained again, one that was stopped goes on from its newest
checkpoint: a benchmark of many is stopped and started at will.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nerve_jax import workdirs
from nerve_jax.intervals import bootstrap_mean
from nerve_jax.metrics import compute_dice
from nerve_jax.scores import Scored, read_scores


def run(workdir: Path, config: str, fields: dict, *flags: str, done: str) -> None:
    """Run a command of `main.py` to its end.

    Args:
      workdir: its folder.
      config: stem of a file in configs/.
      fields: of the configuration, by dotted name, set anew.
      flags: others than --config and --workdir.
      done: name of the file that says that nothing is left to do.
    """
    if (workdir / done).exists():
        return
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    command = ["main.py", f"--config=configs/{config}.py", f"--workdir={workdir}"]
    print("  ".join([str(workdir), *flags, *overrides]), flush=True)
    log = workdir.with_name(f"{workdir.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        subprocess.run(
            [sys.executable, *command, *flags, *overrides],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"},
            check=True,
        )


def train(workdir: Path, config: str, fields: dict) -> Scored:
    """Train folds and read the scores of their validation frames."""
    run(workdir, config, fields, done="report.json")
    folds = workdirs.finished_folds(workdir)
    return read_scores([workdirs.fold_dir(workdir, f) / "scores.csv" for f in folds])


def compare(ours: Sequence[Scored], theirs: Sequence[Scored]) -> dict:
    """Dice of trainings minus that of others, paired by seed and frame.

    Args:
      ours: one a seed.
      theirs: of the same seeds, which scored the same frames.

    Returns:
      "difference", its 95 % "interval" by drawing people (the noise of training itself
      is not in it) and "by_seed", which shows some of that noise.
    """
    pairs = list(zip(ours, theirs, strict=True))
    if any(a.frames != b.frames for a, b in pairs):
        raise ValueError("these trainings scored different frames")
    gains = [compute_dice(a.counts) - compute_dice(b.counts) for a, b in pairs]
    people = [person for scored in ours for person in scored.groups]
    return {
        "difference": float(np.concatenate(gains).mean()),
        "interval": bootstrap_mean(np.concatenate(gains), people),
        "by_seed": [float(gain.mean()) for gain in gains],
    }


def describe(scored: Sequence[Scored]) -> dict:
    """Mean Dice over trainings of several seeds, with its interval, and each seed's."""
    values = [compute_dice(one.counts) for one in scored]
    people = [person for one in scored for person in one.groups]
    return {
        "dice": float(np.concatenate(values).mean()),
        "interval": bootstrap_mean(np.concatenate(values), people),
        "by_seed": [float(one.mean()) for one in values],
    }
