"""The classic U-Net of this project in PyTorch, and what benchmarks share."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable

import torch
from torch import nn

WIDTHS = (32, 64, 128, 256, 512)
SIZE = (96, 128)
BATCH = 8


class Block(nn.Module):
    """Two 3x3 convolutions, each with group norm and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        layers = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.GroupNorm(8, outputs),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class UNet(nn.Module):
    """The same levels, norms and skips as `nerve_jax.models` in its classic form."""

    def __init__(self, widths=WIDTHS):
        super().__init__()
        inputs = (1, *widths[:-1])
        self.encoder = nn.ModuleList(map(Block, inputs, widths))
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, 2) for b, a in upwards
        )
        self.decoder = nn.ModuleList(Block(2 * a, a) for _, a in upwards)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, images):
        mean = images.mean((1, 2, 3), keepdim=True)
        spread = images.std((1, 2, 3), keepdim=True, correction=0)
        x, skips = (images - mean) / (spread + 1e-3), []
        for number, block in enumerate(self.encoder):
            x = block(self.pool(x) if number else x)
            skips.append(x)
        for number, (upsample, block) in enumerate(
            zip(self.upsample, self.decoder, strict=True)
        ):
            x = block(torch.cat([upsample(x), skips[-2 - number]], 1))
        return self.head(x)


def measure(
    contestants: dict[str, Callable[[], None]], rounds: int, calls: int
) -> dict:
    """Median seconds a call of each, taken in turns so that all see the same machine."""
    seconds = {name: [] for name in contestants}
    for call in contestants.values():  # compile and warm up
        call()
        call()
    for _ in range(rounds):
        for name, call in contestants.items():
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
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
    }


def print_result(**figures) -> None:
    """The last line of a benchmark: one JSON object."""
    print(json.dumps(figures | {"machine": describe_machine()}))
