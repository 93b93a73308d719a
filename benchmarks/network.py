"""Bytes that the processes of a run send each other per training step.

Two processes on this machine train the nets of configs/fast.py and configs/unet.py; what
goes through the loopback device is counted by the kernel and compared with the formula
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
from nerve_unet import create_engine, open_stream, take_steps
from results import print_result

from nerve_jax.commands import setup
from nerve_jax.system import processes

CONFIGS = ("fast", "unet")
PROCESSES, STEPS = 2, 20


def read_loopback_bytes() -> int:
    """Bytes that were sent through the loopback device since the machine's start."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    line = next(line for line in lines if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


def measure(name: str, records_dir: str) -> dict:
    """Bytes per step between all devices, and what the formula gives."""
    config = importlib.import_module(f"configs.{name}").get_config()
    config.data.records_dir = records_dir
    config.data.phantom.update(num_subjects=2, frames_per_subject=4)
    examples = processes.take_turns(lambda: setup.load_frames(config, "train"))
    engine = create_engine(config, examples)
    stream = open_stream(engine, np.arange(len(examples)))

    def train(states, step: int):
        states = take_steps(engine, stream, states, step, step + STEPS)
        multihost_utils.sync_global_devices("trained")
        return states

    states = train(engine.init(stream.keys), 0)
    before = read_loopback_bytes()
    states = train(states, STEPS)
    sent = (read_loopback_bytes() - before) / STEPS
    size = sum(p.size for p in jax.tree.leaves(states.params))
    count = jax.device_count()
    return {
        "parameters": size,
        "devices": count,
        "bytes_a_step": sent,
        "formula": count * 4 * (size + 1) * 2 * (count - 1) / count,
    }


def run(name: str, num_devices: int, records_dir: str) -> dict:
    """`measure` in processes of so many simulated devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", name, records_dir, str(port), str(k)],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": str(num_devices)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(PROCESSES)
    ]
    outputs = [process.communicate()[0] for process in started]
    return json.loads(outputs[0].splitlines()[-1])


def main() -> None:
    """Print bytes sent and bytes expected."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    child = parser.parse_args().child
    if child:
        name, records_dir, port, number = child
        processes.connect(f"localhost:{port}", PROCESSES, int(number))
        print(json.dumps(measure(name, records_dir)))
        return
    found = []
    with tempfile.TemporaryDirectory() as records_dir:
        for name in CONFIGS:
            for num_devices in (1, 2):
                cell = {"config": name, **run(name, num_devices, records_dir)}
                print(
                    f"{name:5s} {cell['devices']} devices: {cell['bytes_a_step']:12,.0f} "
                    f"bytes per step, formula {cell['formula']:12,.0f}"
                )
                found.append(cell)
    ratios = [cell["formula"] / cell["bytes_a_step"] for cell in found]
    print_result(ratio=min(ratios), cells=found)


if __name__ == "__main__":
    main()
