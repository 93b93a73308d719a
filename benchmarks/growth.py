"""How time and memory grow with frames, pixels and batch.

The net of configs/fast.py. Each figure comes from a process of its own, which reports its
peak memory; times are medians of several rounds. Frames are grey noise with a disc.

python benchmarks/growth.py
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from nerve_unet import create_engine, open_stream
from PIL import Image
from results import measure, print_result

from configs import fast
from nerve_jax.commands import setup
from nerve_jax.reports.plots import STYLE
from nerve_jax.runs.config import set_fields
from nerve_jax.system import backend

FRAMES = (100, 1000, 10_000)
SIZES = ((96, 128), (192, 256), (288, 384), (420, 580))
BATCHES = (2, 4, 8, 16, 32)
BATCH, SIZE, NUM_FRAMES = 8, (96, 128), 100
ROUNDS, STEPS = 5, 4


def write_frames(folder: Path, count: int) -> None:
    """Write a folder data set of 240x320 px frames, ten per subject."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        row, column = rng.integers(60, 180), rng.integers(60, 260)
        mask = np.hypot(y - row, x - column) < 30
        image = rng.integers(0, 120, mask.shape) + 60 * mask
        name = f"{i // 10:05d}_{i:06d}.png"
        for part, picture in (("images", image), ("masks", 255 * mask)):
            Image.fromarray(picture.astype(np.uint8)).save(folder / part / name)


def measure_cell(folder: Path, size: tuple[int, int], batch_size: int) -> dict:
    """Seconds to prepare, load and train, and the peak of memory, in this process."""
    fields = {
        "batch_size": batch_size,
        "data.name": "ultrasound_nerve/folder",
        "data.records_dir": str(folder.parent / "records"),
        "data.manual_dir": str(folder),
        "data.image_size": size,
    }
    config = set_fields(fast.get_config(), fields)
    backend.use_cpu_cores(batch_size, 1)
    started = time.perf_counter()
    examples = setup.load_frames(config, "train")
    load_seconds = time.perf_counter() - started
    engine = create_engine(config, examples)
    stream = open_stream(engine, np.arange(len(examples)))
    rows = stream.next_rows(0)[:, None]
    images = examples.images[:BATCH]
    states = engine.init(stream.keys)
    params = next(engine.split(states)).ema_params
    holder = {"states": states}

    def train() -> None:
        holder["states"], _ = engine.step(holder["states"], rows, stream.keys)
        jax.block_until_ready(holder["states"])

    contestants = {"step": train, "predict": lambda: engine.predict([params], images)}
    seconds = measure(contestants, ROUNDS, STEPS)
    return {
        "load_seconds": load_seconds,
        "step_seconds": seconds["step"],
        "predict_seconds": seconds["predict"] / len(images),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_alone(folder: Path, size: tuple[int, int], batch_size: int) -> dict:
    """`measure_cell` in a process of its own."""
    arguments = ["--cell", str(folder), *map(str, size), str(batch_size)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def grow_frames(root: Path) -> list[dict]:
    """Cells with more and more frames; preparing is measured apart from loading."""
    cells = []
    for count in FRAMES:
        folder = root / str(count) / "frames"
        write_frames(folder, count)
        first = run_alone(folder, SIZE, BATCH)
        again = run_alone(folder, SIZE, BATCH)
        prepare = {"prepare_seconds": first["load_seconds"]}
        cells.append({"size": count, **again, **prepare})
    return cells


def grow_pixels(root: Path) -> list[dict]:
    """Cells with more and more pixels."""
    folder = root / str(NUM_FRAMES) / "frames"
    return [
        {"size": size[0] * size[1], **run_alone(folder, size, BATCH)} for size in SIZES
    ]


def grow_batch(root: Path) -> list[dict]:
    """Cells with more and more frames in a batch."""
    folder = root / str(NUM_FRAMES) / "frames"
    return [{"size": batch, **run_alone(folder, SIZE, batch)} for batch in BATCHES]


MEASURES = {
    "frames": ("prepare_seconds", "load_seconds", "step_seconds", "peak_mb"),
    "pixels": ("step_seconds", "predict_seconds", "peak_mb"),
    "batch": ("step_seconds", "peak_mb"),
}


COLOURS = {
    "prepare_seconds": "#1b7837",
    "load_seconds": "#d98200",
    "step_seconds": "#2166ac",
    "predict_seconds": "#b2182b",
    "peak_mb": "#762a83",
}


def compute_growth(cells: list[dict], key: str) -> float:
    """How a measure grows from the first cell to the last, size growing by 1."""
    first, last = cells[0], cells[-1]
    return (last[key] / first[key]) / (last["size"] / first["size"])


def plot(path: Path, found: dict[str, list[dict]]) -> None:
    """Draw what was measured against what grew, both logarithmic."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 3.2), layout="constrained")
        for axes, (name, cells) in zip(
            figure.subplots(1, 3), found.items(), strict=True
        ):
            sizes = np.array([cell["size"] for cell in cells])
            for key in MEASURES[name]:
                values = np.array([cell[key] for cell in cells])
                label = key.replace("_", " ").replace(" mb", " MB")
                line = {"marker": "o", "ms": 3, "color": COLOURS[key]}
                axes.plot(sizes, values / values[0], label=label, **line)
            axes.plot(sizes, sizes / sizes[0], color="#8a8a8a", ls=":", label="linear")
            axes.set(xscale="log", yscale="log", xlabel=name)
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axes.minorticks_off()
            axes.legend(frameon=False, fontsize=7)
        figure.axes[0].set_ylabel("times the smallest")
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Measure, print tables and draw the plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path("runs/growth"))
    parser.add_argument("--cell", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        folder, *numbers = arguments.cell
        height, width, batch = map(int, numbers)
        print(json.dumps(measure_cell(Path(folder), (height, width), batch)))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root:
        found = {
            "frames": grow_frames(Path(root)),
            "pixels": grow_pixels(Path(root)),
            "batch": grow_batch(Path(root)),
        }
    worst = 0.0
    for name, cells in found.items():
        measures = MEASURES[name]
        print(f"\n{name:>9s}" + "".join(f"{m:>18s}" for m in measures))
        for cell in cells:
            values = "".join(f"{cell[m]:18.4g}" for m in measures)
            print(f"{cell['size']:9d}" + values)
        growth = [compute_growth(cells, m) for m in measures]
        print("to linear" + "".join(f"{g:18.3f}" for g in growth))
        worst = max(worst, *growth)
    plot(arguments.output / "growth.svg", found)
    print_result(ratio=1 / worst, cells=found)


if __name__ == "__main__":
    main()
