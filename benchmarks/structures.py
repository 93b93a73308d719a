"""What one more structure costs: a training step of 1, 2, 4 and 8 structures, in turns.

Frames are noise and lie on the devices. For an accelerator see --mode=compile:

    python benchmarks/structures.py --config=unet
    python main.py --mode=compile --config=kaggle --target=h100:1 \
        --config.data.structures='("a","b")'
"""

import argparse
import importlib
import time
from pathlib import Path

import jax
import numpy as np
from results import print_result

from nerve_jax.commands import setup
from nerve_jax.data.batches import Frames
from nerve_jax.runs.folder import Fold
from nerve_jax.system import backend, devices
from nerve_jax.training.feed import ResidentFeed, put_frames

COUNTS = (1, 2, 4, 8)
NUM_FRAMES = 64


class Contestant:
    """A net of so many structures that takes steps."""

    def __init__(self, config, count: int):
        config.data.structures = tuple(f"structure{i}" for i in range(count))
        mesh, size = devices.create_mesh(1), tuple(config.data.image_size)
        rng = np.random.default_rng(0)
        frames = Frames(
            rng.integers(0, 256, (NUM_FRAMES, *size), np.uint8),
            rng.integers(0, 2, (NUM_FRAMES, count, *size), np.uint8) * np.uint8(255),
            np.ones((NUM_FRAMES, count), bool),
        )
        resident = put_frames(frames, mesh)
        feed = ResidentFeed(resident, size, mesh, config.batch_size, seed=0)
        self.engine = setup.create_engine(config, mesh, setup.create_loss(config), feed)
        every = np.arange(NUM_FRAMES)
        self.stream = feed.open([Fold(0, Path(), every, every, every)])
        self.rows = self.stream.next_rows(0)[:, None]
        self.states = self.engine.init(self.stream.keys)
        memory = self.engine.get_program(1).memory_analysis()
        self.temporary_mb = memory.temp_size_in_bytes / 2**20

    def step(self) -> float:
        """Milliseconds of one step."""
        started = time.perf_counter()
        self.states, metrics = self.engine.step(
            self.states, self.rows, self.stream.keys
        )
        jax.block_until_ready((self.states, metrics))
        return 1e3 * (time.perf_counter() - started)


def main() -> None:
    """Take steps in turns, and print medians and their ratios to one structure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="unet", help="of configs/")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    create = importlib.import_module(f"configs.{options.config}").get_config
    backend.use_cpu_cores(create().batch_size, create().accumulate_steps)
    contestants = {count: Contestant(create(), count) for count in COUNTS}
    for contestant in contestants.values():
        contestant.step()  # warms caches
    times = {count: [] for count in COUNTS}
    for _ in range(options.rounds):
        for count, contestant in contestants.items():
            times[count].append(contestant.step())
    alone, rows = np.array(times[1]), []
    for count, contestant in contestants.items():
        rows.append(
            {
                "structures": count,
                "ms": float(np.median(times[count])),
                "ratio": float(np.median(np.array(times[count]) / alone)),
                "temporary_mb": contestant.temporary_mb,
            }
        )
        print(
            "| {structures} | {ms:.0f} | {ratio:.3f} | {temporary_mb:.0f} |".format(
                **rows[-1]
            )
        )
    print_result(rows=rows)


if __name__ == "__main__":
    main()
