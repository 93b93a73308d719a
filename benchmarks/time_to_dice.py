"""Dice against seconds of training: this project, and a peer on the same frames.

Contestants are `fast` (configs/fast.py), `smp` (segmentation_models_pytorch's ResNet-18
U-Net in bfloat16, see smp_unet.py) and, for the phantom and usgra-seg alike, `unet`
(configs/unet.py). Each trains on one fold at 96x128 px, batch 8, with as many steps as
its own measured rate fits into the budget, and is scored on the fold's other frames at
their own size, cut at 0.5. Only training is on the clock: neither start-up nor scoring.

A curve (one contestant, data set and seed) is a process and a file of its own, so that
the same command goes on where it was stopped. Nothing else should run meanwhile.

python benchmarks/time_to_dice.py --usgra=usgra-seg/dataset

The curves in benchmarks/curves are those of the README's table: with
--output=benchmarks/curves it compares them again, and trains only what is not there.
"""

import argparse
import importlib
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from dice_curve import SHARES, describe_fold, draw_points, measure_rate
from matplotlib.figure import Figure
from nerve_unet import NerveUNet
from phantom_frames import deal_fold
from results import describe_machine, print_result

from nerve_jax.commands import setup
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population, find_people
from nerve_jax.reports.plots import STYLE
from nerve_jax.runs.folder import Fold
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.system import backend

CONTESTANTS = ("fast", "smp", "unet")
BUDGET_SECONDS = {"usgra": 300, "phantom": 900}
SEEDS = (0, 1)


def create_config(name: str, dataset: str, usgra: str):
    """A configuration of this project, set on one of the two data sets."""
    config = importlib.import_module(f"configs.{name}").get_config()
    config.data.name = f"ultrasound_nerve/{dataset}"
    config.data.manual_dir = usgra if dataset == "usgra" else ""
    return config


def make_create(name: str, examples: Examples, fold: Fold, config, seed: int):
    """Return `create(num_train_steps) -> contestant`."""
    if name != "smp":
        return lambda steps: NerveUNet(
            config,
            examples,
            fold.train,
            num_train_steps=steps,
            seed=seed,
            fold=fold.number,
        )
    from smp_unet import SmpUNet  # PyTorch starts threads that others do without

    return lambda steps: SmpUNet(
        examples.images[fold.train],
        examples.masks[fold.train],
        config.augment,
        dtype="bfloat16",
        num_train_steps=steps,
        batch_size=config.batch_size,
        seed=seed,
    )


def draw_curve(
    create, population: Population, fold: Fold, budget_seconds: float
) -> dict:
    """Train for a budget of seconds, with a score after each of `SHARES` of it.

    Returns:
      "points" as `draw_points` gives them, and what was trained.
    """
    num_steps = round(measure_rate(create) * budget_seconds)
    contestant = create(num_steps)
    return {
        "points": draw_points(contestant, population.examples, fold.val, num_steps),
        "num_steps": num_steps,
        "num_parameters": contestant.parameters(),
        **describe_fold(population.examples, population.groups, fold),
        "budget_seconds": budget_seconds,
    }


def draw_one(arguments) -> None:
    """Draw a curve and write it."""
    name, dataset, seed = arguments.curve.split(",")
    backend.use_cpu_cores(8, 1)
    backend.keep_compiled_programs()
    config = create_config(
        "fast" if name == "smp" else name, dataset, str(arguments.usgra)
    )
    population = find_people(setup.load_frames(config, "train"))
    fold = deal_fold(population)
    create = make_create(name, population.examples, fold, config, int(seed))
    budget = BUDGET_SECONDS[dataset] * arguments.share_of_budget
    curve = draw_curve(create, population, fold, budget)
    curve |= {"contestant": name, "dataset": dataset, "seed": int(seed)}
    curve |= {"date": time.strftime("%Y-%m-%d"), "machine": describe_machine()}
    path = curve_path(arguments.output, name, dataset, seed)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(curve))
    beside.replace(path)


def curve_path(output: Path, name: str, dataset: str, seed: int | str) -> Path:
    """The file of one curve."""
    return output / f"{dataset}-{name}-{seed}.json"


class Average(NamedTuple):
    """Curves of one contestant over its seeds, on common seconds: [points frames]."""

    dice: np.ndarray
    groups: list[str]


def average_curves(curves: list[dict], seconds: np.ndarray) -> Average:
    """Interpolate each frame's Dice at some seconds, and average over seeds.

    Before its first evaluation a net is taken to be as good as then.
    """
    drawn = []
    for curve in curves:
        times = np.array([p["seconds"] for p in curve["points"]])
        dice = np.array([p["dice"] for p in curve["points"]]).T
        drawn.append([np.interp(seconds, times, frame) for frame in dice])
    return Average(np.mean(drawn, axis=0).T, curves[0]["groups"])


def compare(ours: Average, theirs: Average) -> list[tuple[float, float, float]]:
    """Mean difference at every point with its interval over groups."""
    rows = []
    for a, b in zip(ours.dice, theirs.dice, strict=True):
        rows.append((float((a - b).mean()), *compute_mean_interval(a - b, ours.groups)))
    return rows


def plot(path: Path, curves: dict[str, list[dict]], title: str) -> None:
    """Plot all curves of a data set, one colour per contestant, one line per seed."""
    colours = {"fast": "#2166ac", "smp": "#d98200", "unet": "#8a8a8a"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlabel="seconds of training, 2 cores", ylabel="Dice", title=title)
        for name, drawn in curves.items():
            for number, curve in enumerate(drawn):
                points = curve["points"]
                axes.plot(
                    [p["seconds"] for p in points],
                    [np.mean(p["dice"]) for p in points],
                    color=colours[name],
                    marker="o",
                    ms=2.5,
                    lw=1.2,
                    label=None if number else name,
                )
        nothing = {"color": "#8a8a8a", "lw": 0.8, "ls": ":"}
        axes.axhline(curve["empty_dice"], label="predicting nothing", **nothing)
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.1))
        figure.savefig(path, format="svg", metadata={"Date": None})


def summarise(output: Path, datasets: list[str]) -> None:
    """Print tables, draw plots and end with the JSON line."""
    figures, ratios = {}, []
    for dataset in datasets:
        curves = {}
        for name in CONTESTANTS:
            paths = [curve_path(output, name, dataset, seed) for seed in SEEDS]
            found = [json.loads(p.read_text()) for p in paths if p.exists()]
            if found:
                curves[name] = found
        ends = [c["points"][-1]["seconds"] for cs in curves.values() for c in cs]
        seconds = np.array(SHARES) * min(ends)
        means = {name: average_curves(cs, seconds) for name, cs in curves.items()}
        gains = compare(means["fast"], means["smp"])
        print(f"\n{dataset}, predicting nothing {curves['smp'][0]['empty_dice']:.3f}")
        print("seconds  " + "".join(f"{name:>8s}" for name in means) + "   fast - smp")
        for row, at in enumerate(seconds):
            shown = "".join(f"{m.dice[row].mean():8.4f}" for m in means.values())
            gain, low, high = gains[row]
            print(f"{at:7.1f}  {shown}   {gain:+.4f} [{low:+.4f}, {high:+.4f}]")
        areas = {
            name: float(np.trapezoid(m.dice.mean(1), seconds) / np.ptp(seconds))
            for name, m in means.items()
        }
        ratios.append(areas["fast"] / areas["smp"])
        plot(output / f"{dataset}.svg", curves, dataset)
        figures[dataset] = {
            "mean_dice_over_time": areas,
            "ratio": ratios[-1],
            "seconds": seconds.tolist(),
            "dice": {name: m.dice.mean(1).tolist() for name, m in means.items()},
            "gain_over_smp": gains,
        }
    print_result(ratio=float(np.mean(ratios)), **figures)


def main() -> None:
    """Draw the curves that are not there yet, each in a process; then compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--usgra", type=Path, help="folder of usgra-seg; else left out")
    parser.add_argument("--output", type=Path, default=Path("runs/time_to_dice"))
    parser.add_argument("--share_of_budget", type=float, default=1.0)
    parser.add_argument("--curve", help="draw this one alone: contestant,dataset,seed")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.curve:
        draw_one(arguments)
        return
    datasets = [d for d in BUDGET_SECONDS if d != "usgra" or arguments.usgra]
    for dataset, seed, name in itertools.product(datasets, SEEDS, CONTESTANTS):
        if curve_path(arguments.output, name, dataset, seed).exists():
            continue
        print(f"{dataset}, {name}, seed {seed}", flush=True)
        curve = ["--curve", f"{name},{dataset},{seed}"]
        subprocess.run([sys.executable, *sys.argv, *curve], check=True)
    summarise(arguments.output, datasets)


if __name__ == "__main__":
    main()
