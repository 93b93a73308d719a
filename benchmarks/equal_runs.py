"""Whether two runs are equal bit for bit: losses, scores, weights, predictions.

    python benchmarks/equal_runs.py RUN OTHER_RUN

For changes that must not change a number: train with the code of before and of after,
each with the same seed on the same machine. Seconds are not compared.
"""

import json
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from nerve_jax.system.backend import use_cpu_cores

TIMES = ("train_seconds", "images_per_second")
PARTS = ("step", "params", "ema_params", "opt_state")


def read_rows(workdir: Path) -> list[dict]:
    """Losses and scores of all evaluations."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def read_arrays(fold: Path) -> list[np.ndarray]:
    """State of the newest checkpoint, and predictions of validation frames."""
    steps = [p for p in (fold / "checkpoints").iterdir() if p.name.isdecimal()]
    newest = max(steps, key=lambda path: int(path.name))
    state = ocp.load(newest.absolute())
    arrays = jax.tree.leaves([state[part] for part in PARTS])
    return [*map(np.asarray, arrays), *map(np.load, sorted(fold.glob("val_*.npy")))]


def list_differences(ours: Path, theirs: Path) -> list[str]:
    """What is not equal, a line each."""
    folds = [sorted(p.name for p in w.glob("fold_*")) for w in (ours, theirs)]
    if folds[0] != folds[1]:
        return [f"folds {folds[0]} and {folds[1]}"]
    found = ["metrics.jsonl"] if read_rows(ours) != read_rows(theirs) else []
    for name in folds[0]:
        pair = [read_arrays(workdir / name) for workdir in (ours, theirs)]
        same = len(pair[0]) == len(pair[1]) and all(
            a.dtype == b.dtype and np.array_equal(a, b)
            for a, b in zip(*pair, strict=True)
        )
        found += [] if same else [f"arrays of {name}"]
    return found


def main() -> None:
    warnings.simplefilter("ignore")  # Orbax advises shardings
    ours, theirs = map(Path, sys.argv[1:3])
    config = json.loads((ours / "config.json").read_text())
    use_cpu_cores(config["batch_size"], config["accumulate_steps"])  # as the runs had
    found = list_differences(ours, theirs)
    sys.exit(f"not equal: {', '.join(found)}" if found else print("equal bit for bit"))


if __name__ == "__main__":
    main()
