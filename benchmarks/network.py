"""Bytes that processes of one run send each other a training step.

Two processes on this machine train the nets of configs/fast.py and configs/unet.py; what
goes through the loopback device is counted by the kernel and held against the formula
of docs/scaling.md: n devices exchange the mean of loss and gradient by a ring.

python benchmarks/network.py
"""

import argparse
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from results import print_result

from nerve_jax import parallel, processes
from nerve_jax.loading import load_examples_from
from nerve_jax.programs import create_programs
from nerve_jax.segmentation import make_objective

CONFIGS = ("fast", "unet")
PROCESSES, STEPS = 2, 20


def read_loopback_bytes() -> int:
    """Bytes that were sent through the loopback device since the machine's start."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    line = next(line for line in lines if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


def measure(name: str, data_dir: str) -> dict:
    """Bytes a step between all devices, and what the formula says."""
    config = importlib.import_module(f"configs.{name}").get_config()
    config.data_dir, config.num_subjects, config.frames_per_subject = data_dir, 2, 4
    examples = processes.take_turns(lambda: load_examples_from(config, "train"))
    programs = create_programs(config, parallel.create_mesh(), examples, make_objective)
    keys, numbers = programs.make_keys([0]), programs.put_numbers(config)
    states = programs.init(keys)
    next_rows = programs.open_batches([0], [np.arange(len(examples))])

    def train(states, first: int):
        for step in range(first, first + STEPS):
            rows = next_rows(step)[:, None]
            states, _ = programs.run_steps(states, rows, keys, numbers)
        jax.block_until_ready(states)
        multihost_utils.sync_global_devices("trained")
        return states

    states = train(states, 0)
    before = read_loopback_bytes()
    train(states, STEPS)
    sent = (read_loopback_bytes() - before) / STEPS
    size = sum(p.size for p in jax.tree.leaves(states.params))
    devices = jax.device_count()
    return {
        "parameters": size,
        "devices": devices,
        "bytes_a_step": sent,
        "formula": devices * 4 * (size + 1) * 2 * (devices - 1) / devices,
    }


def run(name: str, devices: int, data_dir: str) -> dict:
    """`measure` in processes of so many simulated devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", name, data_dir, str(port), str(k)],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(PROCESSES)
    ]
    said = [process.communicate()[0] for process in started]
    return json.loads(said[0].splitlines()[-1])


def main() -> None:
    """Print bytes sent and bytes expected."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    child = parser.parse_args().child
    if child:
        name, data_dir, port, number = child
        processes.connect(f"localhost:{port}", PROCESSES, int(number))
        print(json.dumps(measure(name, data_dir)))
        return
    found = []
    with tempfile.TemporaryDirectory() as data_dir:
        for name in CONFIGS:
            for devices in (1, 2):
                cell = {"config": name, **run(name, devices, data_dir)}
                print(
                    f"{name:5s} {cell['devices']} devices: {cell['bytes_a_step']:12,.0f} "
                    f"bytes a step, formula {cell['formula']:12,.0f}"
                )
                found.append(cell)
    ratios = [cell["formula"] / cell["bytes_a_step"] for cell in found]
    print_result(ratio=min(ratios), cells=found)


if __name__ == "__main__":
    main()
