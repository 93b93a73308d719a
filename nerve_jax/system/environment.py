"""What runs the code: versions, devices, machine, commit."""

import datetime
import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# What jax.config holds, and libraries read, that changes rounding or random numbers.
NUMERICS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_disable_most_optimizations",
)
LIBRARY_NUMERICS = ("NVIDIA_TF32_OVERRIDE", "LIBTPU_INIT_ARGS")
HARMLESS_FLAGS = ("--xla_dump", "--xla_force_host_platform_device_count")
SOURCE = Path(__file__).parents[1]  # all packages: their hash names the code


def describe() -> dict:
    """Versions, devices, machine, commit and time, as reports give them."""
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "machine": f"{platform.system()} {platform.machine()}",
        "commit": read_commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def describe_code() -> dict[str, str]:
    """What decides a run's numbers beside its configuration and data, by name.

    The project's own code is named by a hash of its Python files.
    """
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(SOURCE.rglob("*.py")):
        digest.update(f"{path.relative_to(SOURCE)}".encode() + path.read_bytes())
    return {
        "nerve_jax": digest.hexdigest(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in PACKAGES},
        **describe_numerics(),
    }


def describe_numerics() -> dict[str, str]:
    """Settings from outside that change what the same program computes, by name.

    Those of JAX are named as in `jax.config`; of XLA_FLAGS, flags that only say what is
    written down, or how many devices a CPU counts as, are left out.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    kept = sorted(flag for flag in flags if not flag.startswith(HARMLESS_FLAGS))
    return {
        **{name: str(jax.config.values[name]) for name in NUMERICS},
        "XLA_FLAGS": " ".join(kept),
        **{name: os.environ.get(name, "") for name in LIBRARY_NUMERICS},
    }


def read_commit() -> str:
    """Short hash of the code's commit, with a + where files differ; "" without git.

    An installed copy inside another repository is not of that repository's commit.
    """
    try:
        _git("ls-files", "--error-unmatch", __file__)
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=SOURCE, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def find_cache_home() -> Path | None:
    """The project's folder in the user's cache; None for a user without a home."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named or Path.home() / ".cache") / "nerve_jax"
    except RuntimeError:  # neither HOME nor an entry in the table of users
        return None
