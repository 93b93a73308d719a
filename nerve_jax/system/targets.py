"""Accelerators that programs can be compiled for without having one.

A target is a chip and how many of them, "h100:8" or "v5e:2x4". The devices that stand for
one can be put into a mesh and compiled for; nothing can run on them.
"""

import importlib.util
import math
import os
import re
from typing import NamedTuple

import jax
from jax.experimental import topologies

from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import MissingExtraError

GPUS_PER_HOST = 8


class Chip(NamedTuple):
    """An accelerator, by the figures that its maker gives.

    Attributes:
      platform: "cuda" or "tpu".
      memory_bytes: of one chip.
      bfloat16_flops: per second, dense.
      float32_flops: per second, in the precision that JAX uses for float32 products by
        default: TF32 on GPUs, one pass of bfloat16 on TPUs.
      memory_bandwidth: bytes per second.
      link_bandwidth: bytes per second that a chip can send to its neighbours.
      source: of these figures.
    """

    platform: str
    memory_bytes: float
    bfloat16_flops: float
    float32_flops: float
    memory_bandwidth: float
    link_bandwidth: float
    source: str


NVIDIA = "NVIDIA {} Tensor Core GPU datasheet, SXM, without sparsity"
GOOGLE = "Google Cloud documentation, TPU {}, system architecture"
CHIPS = {
    "a100": Chip(
        "cuda", 80e9, 312e12, 156e12, 2.039e12, 300e9, NVIDIA.format("A100 80GB")
    ),
    "h100": Chip("cuda", 80e9, 989e12, 494e12, 3.35e12, 450e9, NVIDIA.format("H100")),
    "v5e": Chip("tpu", 16e9, 197e12, 197e12, 819e9, 200e9, GOOGLE.format("v5e")),
    "v5p": Chip("tpu", 95e9, 459e12, 459e12, 2.765e12, 600e9, GOOGLE.format("v5p")),
    "v6e": Chip("tpu", 32e9, 918e12, 918e12, 1.64e12, 400e9, GOOGLE.format("v6e")),
}
SHAPES = {
    "a100": ("1", "2", "4", "8", "16"),
    "h100": ("1", "2", "4", "8", "16"),
    "v5e": ("1x1", "2x2", "2x4", "4x4", "4x8"),
    "v5p": ("2x2x1", "2x2x2", "2x2x4"),
    "v6e": ("1x1", "2x2", "2x4", "4x4", "4x8"),
}
EXTRAS = {"cuda": "compile-gpu", "tpu": "compile-tpu"}
PLUGINS = {"cuda": "jax_plugins.xla_cuda13", "tpu": "libtpu"}

# Chips of one host in slices of these shapes; others have hosts of 2x2.
TPU_HOSTS = {"1x1": (1, 1, 1), "2x4": (2, 4, 1)}

# Where these are not set, libtpu asks a cloud that is not there, and complains, or refuses
# to compile for two commands at a time.
NO_CLOUD = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}

# What XLA asks of a GPU that is not there: a GpuTargetConfigProto. Compute capability,
# multiprocessors and sizes are those of NVIDIA's tuning guides for these chips.
GPU_CONFIG = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared}
  shared_memory_per_block_optin: {optin}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: {cache}
  clock_rate_ghz: {clock}
  device_memory_size: {memory}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability {{ major: {major} minor: 0 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""
GPU_CONFIGS = {
    "a100": {
        "shared": 167936,
        "optin": 166912,
        "cores": 108,
        "fpus": 64,
        "bandwidth": 2039000000000,
        "cache": 41943040,
        "clock": 1.41,
        "memory": 85051572224,
        "major": 8,
        "name": "NVIDIA A100-SXM4-80GB",
    },
    "h100": {
        "shared": 233472,
        "optin": 232448,
        "cores": 132,
        "fpus": 128,
        "bandwidth": 3352320000000,
        "cache": 52428800,
        "clock": 1.98,
        "memory": 84942979072,
        "major": 9,
        "name": "NVIDIA H100 80GB HBM3",
    },
}


class Target(NamedTuple):
    """A chip, and so many of them.

    Attributes:
      name: "h100:8".
      chip: what it is.
      devices: that stand for them, as `devices.arrange` takes them.
    """

    name: str
    chip: Chip
    devices: list


def list_targets() -> list[str]:
    """Names of all targets."""
    return [f"{chip}:{shape}" for chip, shapes in SHAPES.items() for shape in shapes]


def describe(name: str) -> Target:
    """The devices of a target.

    Raises:
      InputError: no such target, or what compiles for it is not installed.
    """
    if name not in list_targets():
        raise InputError(f"--target={name} is not one of: {', '.join(list_targets())}")
    kind, _, shape = name.partition(":")
    chip = CHIPS[kind]
    _check_installed(name, chip.platform)
    if chip.platform == "tpu":
        for variable, value in NO_CLOUD.items():
            os.environ.setdefault(variable, value)
        hosts = {"chips_per_host_bounds": TPU_HOSTS.get(shape, (2, 2, 1))}
        topology = topologies.get_topology_desc(
            platform="tpu", topology_name=f"{kind}:{shape}", **hosts
        )
    else:
        jax.devices()  # finds the plug-in that compiles
        count = int(shape)
        hosts = math.ceil(count / GPUS_PER_HOST)
        topology = topologies.get_topology_desc(
            platform="cuda",
            topology_name="",
            topology=f"1x{hosts}x{count // hosts}",
            target_config=GPU_CONFIG.format(**GPU_CONFIGS[kind]),
        )
    return Target(name, chip, list(topology.devices))


def _check_installed(name: str, platform: str) -> None:
    try:
        found = importlib.util.find_spec(PLUGINS[platform]) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise MissingExtraError(EXTRAS[platform], f"compilers for --target={name}")


def read_shortfall(message: str) -> float | None:
    """How many bytes a program needs that a compiler refused for want of memory.

    Args:
      message: of the compiler's error.

    Returns:
      None where the message says nothing of memory.
    """
    found = re.search(r"[Uu]sed ([\d.]+)([KMGT]) of ([\d.]+)([KMGT])", message)
    if not found:
        return None
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    return float(found[1]) * units[found[2]]
