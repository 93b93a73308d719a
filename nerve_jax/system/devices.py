"""Devices in a mesh of two axes: "fold", and "batch" over which frames are shared out.

The training step is written for one fold on one device; `training.engine` runs it on all of them.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nerve_jax.system.errors import InputError


def create_mesh(folds_together: int = 1, devices: Sequence | None = None) -> Mesh:
    """Devices, all of the default backend unless given, on axes "fold" and "batch".

    Raises:
      InputError: the devices cannot be dealt evenly to so many folds, or a fold would
        have a part of a process; names the numbers of folds that fit.
    """
    devices = sort_devices(jax.devices() if devices is None else devices)
    fitting = [n for n in range(1, len(devices) + 1) if _fits(devices, n)]
    if folds_together not in fitting:
        processes = len({device.process_index for device in devices})
        raise InputError(
            f"folds_together={folds_together}: {len(devices)} devices of {processes} "
            "process(es) cannot be dealt evenly to so many folds, each of whole processes "
            f"or within one; what fits is {', '.join(map(str, fitting))}, or other devices "
            "(JAX_NUM_CPU_DEVICES, CUDA_VISIBLE_DEVICES)"
        )
    return arrange(devices, folds_together)


def create_local_mesh() -> Mesh:
    """This process's own devices, all on the axis "batch"."""
    return arrange(sort_devices(jax.local_devices()), 1)


def sort_devices(devices: Sequence) -> list:
    """Devices by process and number, so that those of a process lie side by side."""
    return sorted(devices, key=lambda device: (device.process_index, device.id))


def arrange(devices: Sequence, folds_together: int) -> Mesh:
    """Devices in their order, a row for each fold.

    `jax.make_mesh` refuses devices of several slices, and every host with GPUs is one.
    It also refuses shapes that a TPU's torus has no axes for, which collectives do not
    need.
    """
    grid = np.empty(len(devices), object)
    grid[:] = devices
    kinds = (AxisType.Auto, AxisType.Auto)
    return Mesh(grid.reshape(folds_together, -1), ("fold", "batch"), axis_types=kinds)


def get_platform(mesh: Mesh) -> str:
    """What the devices of a mesh are: "cpu", "gpu" or "tpu"."""
    return mesh.devices.flat[0].platform


def _fits(devices: Sequence, folds: int) -> bool:
    """Whether sorted devices can be dealt evenly, no fold sharing a process in part."""
    if len(devices) % folds:
        return False
    each = len(devices) // folds
    numbers = [device.process_index for device in devices]
    rows = [numbers[i : i + each] for i in range(0, len(numbers), each)]
    return all(
        len(set(row)) == 1 or all(row.count(n) == numbers.count(n) for n in row)
        for row in rows
    )


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
