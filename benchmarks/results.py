"""What benchmarks share: timing in turns, and the line of JSON at their end."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib import metadata

from nerve_jax.system import memory

memory.use_huge_pages()  # for all contestants, as main.py does


def measure(
    contestants: dict[str, Callable[[], None]], rounds: int, calls: int
) -> dict:
    """Median seconds per call of each, in turns so that all see the same machine.

    The first call of a turn is not counted: with huge pages it pays for the memory that
    the contestant before it has fragmented, which is rare when a program runs alone.
    """
    seconds = {name: [] for name in contestants}
    for call in contestants.values():  # compile and warm up
        call()
        call()
    for _ in range(rounds):
        for name, call in contestants.items():
            call()
            started = time.perf_counter()
            for _ in range(calls):
                call()
            seconds[name].append((time.perf_counter() - started) / calls)
    return {name: statistics.median(values) for name, values in seconds.items()}


def describe_machine() -> dict:
    """Processor, cores and commit."""
    with open("/proc/cpuinfo") as file:
        model = next(line for line in file if line.startswith("model name"))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "processor": model.split(":")[1].strip(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "jax": metadata.version("jax"),
        "torch": next((d.version for d in metadata.distributions(name="torch")), None),
        "commit": commit.stdout.strip(),
    }


def print_result(**figures) -> None:
    """The last line of a benchmark: one JSON object."""
    print(json.dumps(figures | {"machine": describe_machine()}))
