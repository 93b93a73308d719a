"""Devices: one mesh axis "batch", over which frames are shared out.

The training step is written for one device; these shardings say the rest. This is what
replaces `pmap`, which JAX keeps in maintenance only.
"""

import hashlib
import os
import platform
from pathlib import Path

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nerve_jax.errors import InputError


def use_cpu_cores(batch_size: int, accumulate_steps: int) -> None:
    """On a CPU, make one simulated device a core, as many as divide a micro-batch.

    Must come before JAX looks for devices. Does nothing to accelerators, nor where
    JAX_NUM_CPU_DEVICES or XLA_FLAGS already say how many.
    """
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    known = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    frames = batch_size // max(accumulate_steps, 1)
    count = max(n for n in range(1, cores + 1) if frames % n == 0)
    jax.config.update("jax_num_cpu_devices", count)


def keep_compiled_programs() -> None:
    """Keep compiled programs from one command to the next, in the user's cache folder.

    A folder for each kind of processor, whose instructions the programs may use. Where
    JAX_COMPILATION_CACHE_DIR names a folder, that one is used; deleting either is safe.
    """
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if jax.config.jax_compilation_cache_dir is None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "nerve_jax" / f"{platform.machine()}-{_hash_processor()}"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def _hash_processor() -> str:
    """A name for what the processor can do."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    found = {line for line in lines if line.startswith(("model name", "flags"))}
    text = "\n".join(sorted(found)) or platform.processor()
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def create_mesh() -> Mesh:
    """All devices of the default backend in a row, axis "batch"."""
    devices = jax.devices()
    return jax.make_mesh((len(devices),), ("batch",), (AxisType.Auto,), devices=devices)


def check_batch_size(mesh: Mesh, batch_size: int, accumulate_steps: int) -> None:
    """Raise `InputError` unless each micro-batch can be shared out over the devices."""
    count = mesh.size
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


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_axis(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The given axis shared out over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "batch"))
