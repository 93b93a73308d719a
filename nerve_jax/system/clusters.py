"""Whether this process is one of several: under Slurm, Open MPI, Kubernetes, on TPU pods."""

import importlib.util
import os
import urllib.request

from nerve_jax.system import backend
from nerve_jax.system.errors import InputError, RunError, first_line

METADATA_SECONDS = 10
TPU_HOSTS_URL = (
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
    "worker-network-endpoints"
)


def check_alone(mode: str, *, apart: bool = False) -> None:
    """Raise `InputError` where a mode that works in one process is started in several.

    On one of several hosts of TPUs it would wait for the others for ever.

    Args:
      mode: of the command line.
      apart: whether several may do it at a time, each by itself.
    """
    check_tpu_hosts(f"--mode={mode}")
    count = _count_tasks()
    if count > 1 and not apart:
        raise InputError(
            f"--mode={mode} works in one process, and a scheduler has started {count}, "
            "which would all write the same files. Start one: srun --ntasks=1, mpirun -n 1"
        )


def check_tpu_hosts(flag: str) -> None:
    """Raise `InputError` for one process on one of several hosts that share a TPU."""
    on_cpu = os.environ.get("JAX_PLATFORMS", "").startswith("cpu")
    count = 1 if on_cpu else count_tpu_hosts()
    if count > 1:
        raise InputError(
            f"{flag} works in one process, and this host is one of {count} that share a "
            "TPU, whose chips wait for all of them. Run it on a machine of its own, or on "
            "this one's CPU: JAX_PLATFORMS=cpu"
        )


def count_tpu_hosts() -> int:
    """How many hosts share the TPU of this one, by what its cloud says; 1 without a TPU."""
    if not (backend.has_tpu() and importlib.util.find_spec("libtpu")):
        return 1
    if os.environ.get("TPU_PROCESS_BOUNDS") == "1,1,1":  # a part of the TPU by itself
        return 1
    listed = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
    hosts = next((os.environ[name] for name in listed if name in os.environ), None)
    if hosts is None:
        hosts = "" if "TPU_SKIP_MDS_QUERY" in os.environ else _read_tpu_hosts()
    return (hosts.count(",") + 1) * int(os.environ.get("MEGASCALE_NUM_SLICES") or 1)


def _read_tpu_hosts() -> str:
    """The hosts of this one's TPU, from the metadata of Google's cloud."""
    request = urllib.request.Request(
        TPU_HOSTS_URL, headers={"Metadata-Flavor": "Google"}
    )
    try:
        with urllib.request.urlopen(request, timeout=METADATA_SECONDS) as answer:
            return answer.read().decode()
    except OSError as error:
        raise RunError(
            "this machine has a TPU, but its cloud does not say which hosts share it "
            f"({TPU_HOSTS_URL}: {first_line(error)}). If none does, set "
            "TPU_WORKER_HOSTNAMES=localhost"
        ) from error


def _count_tasks() -> int:
    """How many processes Slurm or Open MPI has started together; 1 without them."""
    tasks = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    return max(int(os.environ.get(name) or 1) for name in tasks)


def find_cluster() -> str:
    """What has started this process among several, as a clause; "" where nothing has."""
    if _count_tasks() > 1:
        return f"a scheduler has started {_count_tasks()} processes"
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= os.environ.keys():
        return "this is a pod of an indexed job of Kubernetes"
    count = count_tpu_hosts()
    return f"{count} hosts share this one's TPU" if count > 1 else ""
