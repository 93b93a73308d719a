"""Trainings by `main.py`, each in a folder of its own, and comparisons of their scores.

One that is finished is not trained again, one that was stopped goes on from its newest
checkpoint: a benchmark of many can be stopped and started at will.
"""

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nerve_jax.runs import folder
from nerve_jax.runs.score_table import read_scores
from nerve_jax.scoring.intervals import compute_mean_interval, compute_score_interval
from nerve_jax.scoring.metrics import compute_dice
from nerve_jax.system import environment
from nerve_jax.system.files import read_table, write_table

HEADER = ("training", "seed", "steps", "commit", "frame", "person", "dice")


def run(workdir: Path, config: str, fields: dict, *flags: str, done: str) -> None:
    """Run a command of `main.py` to its end.

    Args:
      workdir: its folder.
      config: stem of a file in configs/.
      fields: of the configuration to set, by dotted name.
      flags: others than --config and --workdir.
      done: name of the file whose presence says that the command has finished.
    """
    if (workdir / done).exists():
        return
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    command = ["main.py", f"--config=configs/{config}.py", f"--workdir={workdir}"]
    print("  ".join([str(workdir), *flags, *overrides]), flush=True)
    log = workdir.with_name(f"{workdir.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        ended = subprocess.run(
            [sys.executable, *command, *flags, *overrides],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"},
            check=False,
        )
    if ended.returncode:
        last = log.read_text().splitlines()[-1:]
        sys.exit(f"{workdir} ended with {ended.returncode}, see {log}: {last}")


class Scores(NamedTuple):
    """Scores of one training: frames, the person of each, and Dice."""

    frames: list[str]
    groups: list[str]
    dice: np.ndarray


def load_scores(paths: Sequence[Path]) -> Scores:
    """Read tables of scores as runs write them."""
    scored = read_scores(list(paths))
    return Scores(scored.frames, scored.groups, compute_dice(scored.counts))


class Table:
    """Scores of trainings in one CSV file, with one row per frame.

    Args:
      path: of the file; created with the first training.
      steps: of each training; a file of other trainings is refused.
    """

    def __init__(self, path: Path, steps: int):
        self.path, self.steps = path, steps
        rows = read_table(path) if path.exists() else []
        self.rows = [tuple(row[name] for name in HEADER) for row in rows]
        if {row["steps"] for row in rows} - {str(steps)}:
            sys.exit(f"{path} is not of {steps} steps: name another --table")

    @property
    def commits(self) -> dict[str, list[str]]:
        """Names of the trainings of each commit."""
        found = {(row[3], row[0]) for row in self.rows}
        return {c: sorted(n for k, n in found if k == c) for c, _ in found}

    def get(self, name: str, seed: int, measure: Callable[[], Scores]) -> Scores:
        """The scores of a training, which is run only if the file does not have it."""
        found = [row[4:] for row in self.rows if row[:2] == (name, str(seed))]
        if not found:
            found = [
                (frame, group, f"{dice:.6f}")
                for frame, group, dice in zip(*measure(), strict=True)
            ]
            which = (name, str(seed), str(self.steps), environment.read_commit())
            self.rows += [(*which, *row) for row in found]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_table(self.path, HEADER, self.rows)
        frames, groups, dice = zip(*found, strict=True)
        return Scores(list(frames), list(groups), np.array(dice, float))

    def gather(
        self,
        names: Iterable[str],
        seeds: Sequence[int],
        measure: Callable[[str, int], Scores],
    ) -> dict[str, list[Scores]]:
        """The scores of trainings by name, one per seed; `measure` runs one of them."""
        return {
            name: [
                self.get(name, seed, functools.partial(measure, name, seed))
                for seed in seeds
            ]
            for name in names
        }


def create_parser(text: str, output: str) -> argparse.ArgumentParser:
    """Flags of a benchmark on usgra-seg: described by a text's first line."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--usgra", required=True, help="folder of usgra-seg/dataset")
    parser.add_argument("--output", type=Path, default=Path(output))
    parser.add_argument("--table", type=Path, help="of scores; or OUTPUT/scores.csv")
    return parser


def train(workdir: Path, config: str, fields: dict) -> Scores:
    """Train folds and read the scores of their validation frames."""
    run(workdir, config, fields, done="report.json")
    folds = folder.finished_folds(workdir)
    return load_scores([folder.fold_dir(workdir, f) / "scores.csv" for f in folds])


def compare(ours: Sequence[Scores], theirs: Sequence[Scores]) -> dict:
    """Dice of trainings minus that of others, paired by seed and frame.

    Args:
      ours: one per seed.
      theirs: of the same seeds and frames.

    Returns:
      "difference", its 95 % "interval" over people (without the noise of training) and
      "by_seed", which shows some of that noise.
    """
    pairs = list(zip(ours, theirs, strict=True))
    if any(a.frames != b.frames for a, b in pairs):
        raise ValueError("these trainings scored different frames")
    return summarise([a._replace(dice=a.dice - b.dice) for a, b in pairs], "difference")


def summarise(scored: Sequence[Scores], name: str = "dice") -> dict:
    """Mean over trainings of several seeds, its interval, and the mean of each seed."""
    values = np.concatenate([one.dice for one in scored])
    people = [person for one in scored for person in one.groups]
    interval = compute_score_interval if name == "dice" else compute_mean_interval
    return {
        name: float(values.mean()),
        "interval": interval(values, people),
        "by_seed": [float(one.dice.mean()) for one in scored],
    }


def show(row: dict, digits: str) -> str:
    """Mean, interval and seeds, for a table."""
    name = "dice" if "dice" in row else "difference"
    low, high = row["interval"]
    seeds = ", ".join(f"{value:{digits}}" for value in row["by_seed"])
    return f"{row[name]:{digits}} [{low:{digits}}, {high:{digits}}] ({seeds})"
