"""Five folds at once, one after another through one program, and in five commands.

The net of configs/fast.py on a small phantom: seconds from the command to its report,
compiling included, for `--config.folds="(0,1,2,3,4)"` on five simulated devices with
folds together, the same folds one after another on as many devices as the machine has
cores, and one command per fold. No command finds compiled programs of another.

PYTHON is the project's own interpreter (default .venv/bin/python).

python benchmarks/folds_together.py
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from results import print_result

ROUNDS, STEPS, FOLDS = 3, 200, 5
PYTHON = os.environ.get("PYTHON", ".venv/bin/python")
ALL = "(0,1,2,3,4)"


def run(folder: Path, name: str, records: Path, *flags: str) -> float:
    """Seconds of one command in an empty folder."""
    arguments = ["--config=configs/fast.py", f"--workdir={folder / name}"]
    arguments += [
        f"--config.data.records_dir={records}",
        f"--config.num_train_steps={STEPS}",
    ]
    arguments += [
        f"--config.eval_every_steps={STEPS}",
        "--config.data.phantom.frames_per_subject=4",
    ]
    started = time.perf_counter()
    subprocess.run(
        [PYTHON, "main.py", *arguments, *flags],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / f"cache_{name}")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def time_all(folder: Path, records: Path) -> dict[str, float]:
    """One round: seconds of each way."""
    together = f"--config.folds_together={FOLDS}"
    return {
        "together on 5 devices": run(
            folder, "together", records, f"--config.folds={ALL}", together
        ),
        "one after another": run(folder, "after", records, f"--config.folds={ALL}"),
        "five commands": sum(
            run(folder, f"fold_{fold}", records, f"--config.folds=({fold},)")
            for fold in range(FOLDS)
        ),
    }


def main() -> None:
    """Print the medians and how much faster than five commands."""
    rounds = []
    with tempfile.TemporaryDirectory() as home:
        records = Path(home) / "records"
        run(Path(home), "warm", records)  # simulates the frames
        for number in range(ROUNDS):
            rounds.append(time_all(Path(home) / str(number), records))
    seconds = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    for name, value in seconds.items():
        print(f"{name:25s} {value:7.1f} s")
    apart = seconds["five commands"]
    print_result(
        ratio=apart / seconds["together on 5 devices"],
        ratio_one_after_another=apart / seconds["one after another"],
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
