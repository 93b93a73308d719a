"""Half an hour of training: do memory, step time and disk stay as they are?

Runs the command on a small phantom, with an evaluation and a checkpoint every few
seconds, and reads from outside, a few times a second, the memory of its process and the
size of its folder; at the end its log. The first twelve minutes, in which allocators
still take memory for the first time, are left out of the slopes.

python benchmarks/soak.py --minutes=30
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from results import print_result
from scipy import stats

PYTHON = os.environ.get("PYTHON", ".venv/bin/python")
LEFT_OUT_SECONDS = 720
EVERY_SECONDS = 0.25


def start(folder: Path, num_steps: int) -> subprocess.Popen:
    """Start training; more steps than there is time for."""
    arguments = ["--config=configs/fast.py", f"--workdir={folder / 'run'}"]
    arguments += [
        f"--config.data.records_dir={folder / 'records'}",
        "--config.data.phantom.num_subjects=10",
    ]
    arguments += [
        "--config.data.phantom.frames_per_subject=6",
        "--config.eval_every_steps=100",
    ]
    arguments += [
        f"--config.num_train_steps={num_steps}",
        "--config.data.image_size=(48,64)",
    ]
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            [PYTHON, "main.py", *arguments], stdout=output, stderr=output
        )


def read_memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure_disk_mb(folder: Path) -> float:
    """Size of all files of a folder that is being written to."""
    total = 0
    for place, _, names in os.walk(folder):  # passes over what was pruned just now
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total / 2**20


def watch(process: subprocess.Popen, run: Path, seconds: float) -> list[dict]:
    """Readings of memory and disk, for so many seconds."""
    started, readings = time.monotonic(), []
    while time.monotonic() - started < seconds:
        if process.poll() is not None:
            raise SystemExit((run.parent / "output").read_text())
        saved = run / "fold_0" / "checkpoints"
        names = os.listdir(saved) if saved.exists() else []
        steps = [name for name in names if name.isdecimal()]
        readings.append(
            {
                "seconds": time.monotonic() - started,
                "memory_mb": read_memory_mb(process.pid),
                "disk_mb": measure_disk_mb(run),
                "checkpoints": len(steps),
            }
        )
        time.sleep(EVERY_SECONDS)
    return readings


def fit_slope(hours: np.ndarray, values: np.ndarray) -> dict:
    """Change per hour, in units and in percent of the mean, with its 95 % interval.

    Neighbouring readings resemble each other, so they are averaged over 60 stretches of
    time first, which then count as one reading each.
    """
    parts = np.array_split(np.arange(len(hours)), min(60, len(hours)))
    x, y = (np.array([v[part].mean() for part in parts]) for v in (hours, values))
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    interval = [fit.slope - half, fit.slope + half]
    percent = [100 * s / y.mean() for s in (fit.slope, *interval)]
    return {
        "mean": y.mean(),
        "an_hour": fit.slope,
        "interval": interval,
        "percent_an_hour": percent[0],
        "percent_interval": percent[1:],
    }


def main() -> None:
    """Train, watch, stop, and print slopes and largest values."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as home:
        process = start(Path(home), 10**7)
        run = Path(home) / "run"
        while not run.exists() and process.poll() is None:
            time.sleep(0.1)
        try:
            readings = watch(process, run, 60 * minutes)
        finally:
            process.terminate()
            process.wait()
        rows = (run / "metrics.jsonl").read_text().splitlines()
    left_out = min(LEFT_OUT_SECONDS, 20 * minutes)  # a third of a short run
    late = [r for r in readings if r["seconds"] > left_out]
    hours = np.array([r["seconds"] for r in late]) / 3600
    spent = np.array([json.loads(row)["train_seconds"] for row in rows])
    steps = np.diff(spent) / 100 * 1e3
    skipped = int(len(steps) * left_out / (60 * minutes))
    slopes = {
        "memory_mb": fit_slope(hours, np.array([r["memory_mb"] for r in late])),
        "step_ms": fit_slope(
            np.linspace(0, minutes / 60, len(steps))[skipped:], steps[skipped:]
        ),
    }
    largest = {k: max(r[k] for r in late) for k in ("disk_mb", "checkpoints")}
    for first in range(0, round(minutes), 5):
        found = [
            r["memory_mb"] for r in readings if 0 <= r["seconds"] - 60 * first < 300
        ]
        print(f"minutes {first:2d} to {first + 5:2d}: {np.median(found):.0f} MB")
    # The log and the event file grow by one row per evaluation; checkpoints do not.
    slopes["disk_mb"] = fit_slope(hours, np.array([r["disk_mb"] for r in late]))
    for name, slope in slopes.items():
        low, high = slope["interval"]
        print(
            f"{name:10s} {slope['mean']:9.3f}  {slope['an_hour']:+.4f} an hour "
            f"[{low:+.4f}, {high:+.4f}]"
        )
    print(f"{len(rows)} evaluations and checkpoints, largest: {largest}")
    print_result(
        ratio=1.0 if process.returncode == 143 else 0.0,
        minutes=minutes,
        evaluations=len(rows),
        exit_code=process.returncode,
        slopes=slopes,
        largest=largest,
    )


if __name__ == "__main__":
    main()
