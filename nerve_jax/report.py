"""The scores of a run, for people (a table) and for programs (report.json)."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
HEADLINE = {
    "dice": "Dice",
    "dice_nerve_present": "Dice, nerve present",
    "iou": "IoU",
    "pixel_accuracy": "pixel accuracy",
}


def describe_environment() -> dict:
    """What ran the code: versions, devices, machine and commit."""
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "machine": f"{platform.system()} {platform.machine()}",
        "commit": _read_commit(),
    }


def _read_commit() -> str:
    """Short hash of the code's commit, with a + where files differ; "" without git."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def summarise_folds(rows: list[dict]) -> dict:
    """Mean and standard deviation over folds of every headline score.

    The deviation is the sample's (n - 1); NaN for a single fold.
    """
    values = {key: np.array([row[key] for row in rows], float) for key in HEADLINE}
    return {
        "mean": {key: float(v.mean()) for key, v in values.items()},
        "std": {
            key: float(v.std(ddof=1)) if len(v) > 1 else float("nan")
            for key, v in values.items()
        },
    }


def print_scores(scores: dict, *, title: str, folds: list[dict] | None = None) -> None:
    """Print headline scores beside what predicting nothing gets, then a row a fold.

    Args:
      scores: of `compute_scores`, with "intervals".
      title: above the table.
      folds: scores of each fold, where there is more than one.
    """
    console = Console()
    table = Table(title=title, title_justify="left")
    for name in ("score", "this run", "95 % interval", "predicting nothing"):
        table.add_column(name, justify="left" if name == "score" else "right")
    for key, name in HEADLINE.items():
        low, high = map(_show, scores["intervals"][key])
        baseline = _show(scores[f"{key}_empty_baseline"])
        table.add_row(name, _show(scores[key]), f"{low} to {high}", baseline)
    console.print(table)
    if folds and len(folds) > 1:
        console.print(_fold_table(folds))


def _fold_table(folds: list[dict]) -> Table:
    table = Table(title="by fold", title_justify="left")
    for name in ("fold", "frames", *HEADLINE.values()):
        table.add_column(name, justify="right")
    for row in folds:
        cells = (_show(row[key]) for key in HEADLINE)
        table.add_row(str(row["fold"]), str(row["num_frames"]), *cells)
    table.add_section()
    for name, values in summarise_folds(folds).items():
        table.add_row(name, "", *(_show(values[key]) for key in HEADLINE))
    return table


def _show(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
