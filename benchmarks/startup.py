"""Seconds from the command to the first training step, cold and warm.

Cold: nothing compiled and no frames resized; warm: the commands after it. The first step
counts as done when its loss is logged; it is the only one.

PYTHON is the project's own interpreter (default .venv/bin/python).

python benchmarks/startup.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import print_result

ROUNDS = 3
PYTHON = os.environ.get("PYTHON", ".venv/bin/python")
WATCH = """
import sys, time
started = float(sys.argv.pop(1))
from nerve_jax.training.progress import RunLog
add_losses = RunLog.add_losses
def add_and_print(self, step, losses):
    print(f"FIRST STEP {time.time() - started:.2f}", flush=True)
    add_losses(self, step, losses)
RunLog.add_losses = add_and_print
sys.argv[0] = "main.py"
import main
main.start()
"""


def run(workdir: Path, cache: Path, records: Path) -> float:
    """Seconds until the first step of a run of one step is done."""
    arguments = ["--config=configs/unet.py", f"--workdir={workdir}"]
    arguments += [f"--config.data.records_dir={records}", "--config.num_train_steps=1"]
    done = subprocess.run(
        [PYTHON, "-c", WATCH, str(time.time()), *arguments],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(x for x in done.stdout.splitlines() if x.startswith("FIRST STEP"))
    return float(line.split()[-1])


def time_imports() -> dict[str, float]:
    """Seconds that each of the slowest imports takes, its own imports included."""
    done = subprocess.run(
        [PYTHON, "-X", "importtime", "-c", "import nerve_jax.commands.registry"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|") for line in done.stderr.splitlines() if "|" in line][1:]
    totals = {row[2].strip(): int(row[1]) / 1e6 for row in rows}
    roots = {name: s for name, s in totals.items() if "." not in name}
    return dict(sorted(roots.items(), key=lambda item: -item[1])[:8])


def main() -> None:
    """Print cold and warm starts and what imports cost."""
    warm = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        records, cache = folder / "records", folder / "cache"
        run(folder / "prepare", folder / "other", records)  # simulates the frames
        for resized in records.glob("*/*/*/resized"):
            subprocess.run(["rm", "-r", str(resized)], check=True)
        cold = run(folder / "cold", cache, records)
        print(f"cold {cold:.1f} s", file=sys.stderr)
        for number in range(ROUNDS):
            warm.append(run(folder / f"warm_{number}", cache, records))
            print(f"warm {warm[-1]:.1f} s", file=sys.stderr)
    imports = time_imports()
    print_result(
        ratio=12 / statistics.median(warm),
        cold_seconds=cold,
        warm_seconds=statistics.median(warm),
        imports=imports,
    )


if __name__ == "__main__":
    main()
