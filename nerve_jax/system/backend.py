"""What JAX runs on: the cores of a CPU as devices, devices started and named, programs kept."""

import collections
import contextlib
import hashlib
import os
import platform
from pathlib import Path

import jax
from jax._src import hardware_utils  # no public way to ask for chips

from nerve_jax.system.console import say
from nerve_jax.system.environment import find_cache_home
from nerve_jax.system.errors import InputError, RunError, first_line, show_warning

# Files by which a machine shows its accelerators.
NVIDIA_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")
TPU_FILES = ("/dev/accel0",)
INSTALL = (
    f'pip install "jax[cuda13]=={jax.__version__}" (NVIDIA) or '
    f'"jax[tpu]=={jax.__version__}" (TPU)'
)


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
    cores = count_cores()
    frames = batch_size // max(accumulate_steps, 1)
    folds = max(folds_together, 1)
    each = max(cores // folds, 1)
    count = max(n for n in range(1, each + 1) if frames % n == 0)
    jax.config.update("jax_num_cpu_devices", folds * count)


def count_cores() -> int:
    """How many cores of the CPU this process may use."""
    known = hasattr(os, "sched_getaffinity")  # not on macOS
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def keep_compiled_programs() -> None:
    """Keep compiled programs from one command to the next, in the user's cache folder.

    A folder for each kind of processor, whose instructions the programs may use. Where
    JAX_COMPILATION_CACHE_DIR names a folder, that one is used; deleting either is safe.
    Nothing is kept for a user who has no home, or none that can be written to.
    """
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    home = find_cache_home()
    if jax.config.jax_compilation_cache_dir is not None or home is None:
        return
    folder = home / f"{platform.machine()}-{_hash_processor()}"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))


def _hash_processor() -> str:
    """A name for what the processor can do."""
    found = {line for line in _read_cpu() if line.startswith(("model name", "flags"))}
    text = "\n".join(sorted(found)) or platform.processor()
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _read_cpu() -> list[str]:
    """What Linux says of the processor; [] elsewhere."""
    described = Path("/proc/cpuinfo")
    return described.read_text().splitlines() if described.exists() else []


def start() -> list:
    """Let JAX start its devices; return those of all processes.

    Raises:
      InputError: JAX_PLATFORMS asks for a platform that is not there.
      RunError: the devices do not start, for example because another process uses them.
    """
    asked = os.environ.get("JAX_PLATFORMS")
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:
        if jax.distributed.is_initialized() and jax.process_count() > 1:
            raise
        reason = first_line(error) if str(error) else "none is visible"
        if asked:
            raise InputError(
                f"JAX_PLATFORMS={asked}: JAX finds no such devices here ({reason}). Unset "
                f"it to use those that there are, or install their support: {INSTALL}"
            ) from error
        raise RunError(
            f"JAX cannot start its devices ({reason}). Another process may be using "
            "them; JAX_PLATFORMS=cpu runs on the CPU"
        ) from error


def report() -> None:
    """Start the devices and say what they are; warn of a GPU or TPU that JAX leaves unused."""
    counts = collections.Counter(map(_name_kind, start()))
    listed = ", ".join(f"{count} x {kind}" for kind, count in counts.items())
    processes = jax.process_count()
    say(f"runs on {listed}, {processes} process{'es' * (processes > 1)}")
    if processes > 1:
        say(
            "if one process dies the others end within a minute, naming its number "
            "(process 0 is called the leader), and the same commands go on from the last "
            "checkpoint"
        )
    unused = find_unused(jax.default_backend())
    if unused:
        show_warning(
            f"this machine has {unused}, and JAX does not use it: everything runs on the "
            f"CPU. Install its support, {INSTALL}; or say that this is meant, "
            "JAX_PLATFORMS=cpu"
        )


def _name_kind(device) -> str:
    if device.platform != "cpu":
        return device.device_kind
    names = (
        line.partition(":")[2].strip() for line in _read_cpu() if "model name" in line
    )
    return f"CPU ({next(names, platform.processor() or platform.machine())})"


def find_unused(backend: str) -> str:
    """Name the GPU or TPU that this machine has while JAX runs on the CPU; "" if none.

    Args:
      backend: the platform that JAX runs on. A user who has asked for the CPU, by
        JAX_PLATFORMS or by hiding the GPUs, is not asked again.
    """
    chosen = (jax.config.jax_platforms or "").split(",")[0] == "cpu"
    if backend != "cpu" or chosen:
        return ""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    if not hidden and any(Path(name).exists() for name in NVIDIA_FILES):
        return "an NVIDIA GPU"
    return "a TPU" if has_tpu() else ""


def has_tpu() -> bool:
    """Whether this machine has a TPU."""
    seen = any(Path(name).exists() for name in TPU_FILES)
    return seen or hardware_utils.num_available_tpu_chips_and_device_id()[0] > 0


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
