"""Devices in a mesh of two axes: "fold", and "batch" over which frames are shared out.

The training step is written for one fold on one device; `training.engine` runs it on all of them.
"""

import hashlib
import os
import platform
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nerve_jax.system.environment import find_cache_home
from nerve_jax.system.errors import InputError


def use_cpu_cores(
    batch_size: int, accumulate_steps: int, folds_together: int = 1
) -> None:
    """On a CPU, make one simulated device a core, as many as divide a micro-batch.

    With folds together each fold gets as many, and one at least. Must come before JAX
    looks for devices. Does nothing to accelerators, nor where JAX_NUM_CPU_DEVICES or
    XLA_FLAGS already say how many.
    """
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    known = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    frames = batch_size // max(accumulate_steps, 1)
    folds = max(folds_together, 1)
    each = max(cores // folds, 1)
    count = max(n for n in range(1, each + 1) if frames % n == 0)
    jax.config.update("jax_num_cpu_devices", folds * count)


def keep_compiled_programs() -> None:
    """Keep compiled programs from one command to the next, in the user's cache folder.

    A folder for each kind of processor, whose instructions the programs may use. Where
    JAX_COMPILATION_CACHE_DIR names a folder, that one is used; deleting either is safe.
    """
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if jax.config.jax_compilation_cache_dir is None:
        folder = find_cache_home() / f"{platform.machine()}-{_hash_processor()}"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def _hash_processor() -> str:
    """A name for what the processor can do."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    found = {line for line in lines if line.startswith(("model name", "flags"))}
    text = "\n".join(sorted(found)) or platform.processor()
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def describe_device() -> dict:
    """Kind, number and memory in bytes of the devices; of a CPU, that of the machine."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    memory = stats.get("bytes_limit")
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "kind": device.device_kind,
        "platform": device.platform,
        "count": jax.local_device_count(),
        "memory_bytes": int(memory),
    }


def create_mesh(folds_together: int = 1) -> Mesh:
    """All devices of the default backend, axes "fold" and "batch".

    Raises:
      InputError: the devices cannot be dealt evenly to so many folds.
    """
    devices = jax.devices()
    if folds_together < 1 or len(devices) % folds_together:
        raise InputError(
            f"folds_together={folds_together}: {len(devices)} devices cannot be dealt "
            "evenly to so many folds; choose a divisor, or other devices "
            "(JAX_NUM_CPU_DEVICES, CUDA_VISIBLE_DEVICES)"
        )
    count = jax.process_count()
    if count % folds_together and folds_together % count:
        raise InputError(
            f"folds_together={folds_together} and {count} processes: one must be a "
            "multiple of the other, so that no fold has half a process"
        )
    return _arrange(devices, folds_together)


def create_local_mesh() -> Mesh:
    """This process's own devices, all on the axis "batch"."""
    return _arrange(jax.local_devices(), 1)


def _arrange(devices: list, folds_together: int) -> Mesh:
    shape = (folds_together, len(devices) // folds_together)
    kinds = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh(shape, ("fold", "batch"), kinds, devices=devices)


def check_batch_size(mesh: Mesh, batch_size: int, accumulate_steps: int) -> None:
    """Raise `InputError` unless a fold's devices can share out each micro-batch."""
    count = mesh.shape["batch"]
    if batch_size < 1 or accumulate_steps < 1 or batch_size % accumulate_steps:
        raise InputError(
            f"batch_size={batch_size} must be a multiple of "
            f"accumulate_steps={accumulate_steps}, both at least 1"
        )
    if batch_size // accumulate_steps % count:
        raise InputError(
            f"{batch_size // accumulate_steps} frames at a time (batch_size="
            f"{batch_size}, accumulate_steps={accumulate_steps}) cannot be shared out "
            f"over {count} devices: choose a multiple of {count * accumulate_steps}, "
            f"or fewer devices (JAX_NUM_CPU_DEVICES, CUDA_VISIBLE_DEVICES)"
        )


def round_up(batch_size: int, mesh: Mesh) -> int:
    """The next number of frames that all devices of a mesh can share evenly."""
    return -(-batch_size // mesh.size) * mesh.size


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_folds(mesh: Mesh) -> NamedSharding:
    """The first axis dealt to the folds' devices."""
    return NamedSharding(mesh, PartitionSpec("fold"))


def split_rows(mesh: Mesh) -> NamedSharding:
    """Axes of folds, steps and frames; frames shared out over their fold's devices."""
    return NamedSharding(mesh, PartitionSpec("fold", None, "batch"))


def split_frames(mesh: Mesh) -> NamedSharding:
    """The first axis shared out over all devices, whatever their fold."""
    return NamedSharding(mesh, PartitionSpec(("fold", "batch")))


def find_own_rows(mesh, batch_size: int) -> tuple[list[int], list[int]]:
    """Which folds, and which frames of a batch, this process's devices work on."""
    own = np.vectorize(lambda d: d.process_index == jax.process_index())(mesh.devices)
    frames = np.repeat(own.any(axis=0), batch_size // mesh.shape["batch"])
    return np.flatnonzero(own.any(axis=1)).tolist(), np.flatnonzero(frames).tolist()


def put(arrays, sharding: NamedSharding):
    """Send this process's share of arrays to its devices."""
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), arrays
    )


def bring_home(arrays, sharding: NamedSharding):
    """From arrays that all devices of all processes hold, ones of this process alone."""
    return jax.device_put(
        jax.tree.map(lambda x: x.addressable_data(0), arrays), sharding
    )
