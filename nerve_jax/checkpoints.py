"""Checkpoints of one fold: the latest and the best, written while training goes on.

A checkpoint is the whole truth of a run: state, score, and the seconds spent so far.
"""

import jax
import jax.numpy as jnp
from etils import epath
from orbax.checkpoint import v1 as ocp

from nerve_jax.errors import RunError


def open_checkpoints(directory: epath.PathLike) -> ocp.training.Checkpointer:
    """Open (or create) a fold's checkpoints; use it as a context manager.

    Leaving the context waits for the last save. What a killed save left is removed.
    """
    preservation = ocp.training.preservation_policies
    return ocp.training.Checkpointer(
        epath.Path(directory).absolute(),
        # Orbax would by default skip a save while another is in flight.
        save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
        preservation_policy=preservation.AnyPreservationPolicy(
            [
                preservation.LatestN(1),
                preservation.BestN(get_metric_fn=lambda scores: scores["dice"], n=1),
            ]
        ),
        cleanup_tmp_directories=True,
    )


def save(checkpointer, step: int, state, *, dice: float, seconds: dict[str, float]):
    """Start to save the state after `step` steps; waits for an earlier save first.

    Args:
      checkpointer: of `open_checkpoints`.
      step: number of steps taken.
      state: any tree of arrays. It is copied: the next training step overwrites the
        buffers that it is given while this save is still being written.
      dice: validation score, by which the best checkpoint is chosen.
      seconds: time spent so far, by kind.
    """
    copied = jax.tree.map(jnp.copy, state)
    checkpointer.save_async(
        step, copied, metrics={"dice": float(dice)}, custom_metadata=seconds
    )


def restore_latest(checkpointer, state):
    """Load the newest checkpoint.

    Args:
      checkpointer: of `open_checkpoints`.
      state: a tree of the shapes, dtypes and shardings wanted.

    Returns:
      (state, seconds) or None where there is no checkpoint yet.

    Raises:
      RunError: the checkpoint does not fit the state, or cannot be read.
    """
    latest = checkpointer.latest
    if latest is None:
        return None
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=leaf.sharding
        ),
        state,
    )
    try:
        restored = checkpointer.load(latest.step, abstract)
        seconds = checkpointer.metadata(latest.step).custom_metadata
    except (ValueError, KeyError, OSError, ocp.errors.InvalidLayoutError) as error:
        raise RunError(
            f"checkpoint {latest.path} cannot be loaded ({type(error).__name__}: "
            f"{error}). Delete that folder to go on from an older one."
        ) from error
    return restored, dict(seconds)


def best_step(checkpointer) -> tuple[int, float]:
    """Step and validation Dice of the best checkpoint; ties go to the later one."""
    scored = [c for c in checkpointer.checkpoints if c.metrics]
    best = max(scored, key=lambda c: (c.metrics["dice"], c.step))
    return best.step, best.metrics["dice"]


def load_average(directory: epath.PathLike, shapes):
    """Load the averaged parameters of a fold's latest checkpoint, nothing else.

    Args:
      directory: as given to `open_checkpoints`; left untouched.
      shapes: the parameters' shapes, dtypes and shardings by name.

    Raises:
      RunError: the parameters there have other names or shapes, or cannot be read.
    """
    steps = [int(p.name) for p in epath.Path(directory).iterdir() if p.name.isdigit()]
    if not steps:
        raise RunError(f"{directory}: no checkpoint there; train the fold again")
    path = epath.Path(directory).absolute() / str(max(steps))
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    try:
        with context:
            average = ocp.load(path, {"ema_params": shapes})["ema_params"]
        # Of what it does not find, Orbax hands back the shape that was asked for.
        absent = [n for n, leaf in average.items() if not isinstance(leaf, jax.Array)]
        if absent:
            raise KeyError(f"no parameters {', '.join(absent[:5])}")
        return average
    except (ValueError, KeyError, OSError, ocp.errors.InvalidLayoutError) as error:
        raise RunError(
            f"checkpoint {path} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
