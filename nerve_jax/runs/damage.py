"""Checkpoints that cannot be read back: seen at once, or found later and set aside."""

import json

import jax
import jax.numpy as jnp
from etils import epath
from orbax.checkpoint import v1 as ocp

from nerve_jax.runs.checkpoints import Progress, load_step, to_orbax, wait
from nerve_jax.system.errors import RunError, first_line
from nerve_jax.system.files import Path, is_remote


def check_saved(checkpointer, step: int, state) -> None:
    """Read the checkpoint of a step back, once it is complete, and compare.

    Of several processes all must call it.

    Args:
      checkpointer: of `checkpoints.open_checkpoints`.
      step: that it was saved at.
      state: that it was made of.

    Raises:
      RunError: it cannot be read, or holds something else.
    """
    wait(checkpointer)
    try:
        problem = (
            "" if _are_equal(load_step(checkpointer, step, state), state) else "differs"
        )
    except jax.errors.JaxRuntimeError:  # another process is gone, not the disk
        raise
    except Exception as error:  # noqa: BLE001  # each library has its own
        problem = first_line(error)
    if problem:
        raise RunError(
            f"{checkpointer.directory / str(step)}: the first checkpoint was written but "
            f"does not read back as it was ({problem}). A run could not go on from it: "
            "name a folder (--workdir) on another disk, or of a plainer name"
        )


@jax.jit
def _are_equal(one, other) -> jax.Array:
    """Whether two trees hold the same numbers; NaN equals NaN."""
    same = jax.tree.map(lambda a, b: jnp.array_equal(a, b, equal_nan=True), one, other)
    return jnp.stack(jax.tree.leaves(same)).all()


def find_damaged(directory: Path, shapes) -> dict[int, str]:
    """Try to load every checkpoint, oldest first.

    Each process of a run must do so, for Orbax counts the loads of each.

    Args:
      directory: as given to `checkpoints.open_checkpoints`.
      shapes: a tree of the shapes and dtypes of a state.

    Returns:
      By step, what is wrong with its checkpoint; "" where it is whole.
    """
    paths = [path for path in directory.glob("*") if path.name.isdecimal()]
    names = [
        path.name
        for path in paths  # a killed save to a bucket lacks this mark
        if not is_remote(path) or (path / "commit_success.txt").exists()
    ]
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.tree.map(lambda x: x.update(sharding=here), shapes)
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    with ocp.Context(multiprocessing_options=alone):
        return {
            step: _find_problem(directory / str(step), shapes)
            for step in sorted(map(int, names))
        }


def set_aside_damaged(directory: Path, problems: dict[int, str]) -> list[str]:
    """Rename checkpoints that cannot be read, so that the newest whole one is used.

    Args:
      directory: as given to `checkpoints.open_checkpoints`.
      problems: of `find_damaged`.

    Returns:
      What was wrong, a line a checkpoint; its folder is now called `<step>.damaged`.

    Raises:
      RunError: there are checkpoints, and none of them can be read: then nothing is
        renamed, for they may be of another code version.
    """
    whole = [step for step, problem in problems.items() if not problem]
    damaged = {s: f"{directory / str(s)}: {why}" for s, why in problems.items() if why}
    if damaged and not whole:
        listing = "".join(f"\n  - {line}" for line in damaged.values())
        raise RunError(
            f"{directory}: no checkpoint there can be loaded:{listing}\nGo back to the "
            "code and configuration that wrote them, or delete that folder to train the "
            "fold from its start"
        )
    for step in damaged:
        path = epath.Path(directory / str(step))
        aside = path.with_name(f"{step}.damaged")
        aside.rmtree(missing_ok=True)
        path.rename(aside)
    return list(damaged.values())


def _find_problem(path: Path, shapes) -> str:
    """Why a checkpoint cannot be loaded, "" where it can."""
    try:
        ocp.load(to_orbax(path), shapes)
        Progress(**ocp.metadata(to_orbax(path)).custom_metadata)
        if (path / "metrics").exists():  # not between two evaluations
            json.loads((path / "metrics" / "metrics").read_text())
    except Exception as error:  # noqa: BLE001  # each library has its own
        return first_line(error)
    return ""
