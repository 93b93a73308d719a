"""Checkpoints of one fold: the latest two and the best, written while training goes on.

A checkpoint is the whole truth of a run: state, score, and its progress: the seconds
spent so far and, between two evaluations, the losses since the first of them.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from etils import epath
from orbax.checkpoint import v1 as ocp

from nerve_jax.system.errors import RunError, first_line
from nerve_jax.system.files import Path

LATEST = 2  # so that there is another where the newest is damaged
SAVE_SECONDS = (
    300  # after which a save fails, such as one that waits for another process
)


class Progress(NamedTuple):
    """What a run must know to go on, beside its state.

    Attributes:
      train_seconds: spent in training steps.
      wall_seconds: spent altogether.
      loss_sum: sum of the losses since the last evaluation.
      loss_steps: their number.
    """

    train_seconds: float = 0.0
    wall_seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0


def open_checkpoints(directory: Path) -> ocp.training.Checkpointer:
    """Open (or create) a fold's checkpoints; use it as a context manager.

    Leaving the context waits for the last save. What a killed save left is removed.
    """
    preservation = ocp.training.preservation_policies
    return ocp.training.Checkpointer(
        to_orbax(directory),
        # Orbax would by default skip a save while another is in flight.
        save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
        preservation_policy=preservation.AnyPreservationPolicy(
            [
                preservation.LatestN(LATEST),
                preservation.BestN(
                    get_metric_fn=lambda scores: scores["score"],
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        ),
        cleanup_tmp_directories=True,
        context=ocp.Context(
            async_options=ocp.options.AsyncOptions(timeout_secs=SAVE_SECONDS)
        ),
    )


def save(checkpointer, step: int, state, *, score: float | None, progress: Progress):
    """Start to save the state after `step` steps; waits for an earlier save first.

    Args:
      checkpointer: of `open_checkpoints`.
      step: number of steps taken.
      state: any tree of arrays. It is copied: the next training step overwrites the
        buffers that it is given while this save is still being written.
      score: on validation frames, by which the best checkpoint is chosen, the higher the
        better; None between two evaluations.
      progress: of the run.

    Raises:
      RunError: this or the save before could not be written.
    """
    copied = jax.tree.map(jnp.copy, state)
    with _saying_why(checkpointer):
        checkpointer.save_async(
            step,
            copied,
            metrics=None if score is None else {"score": float(score)},
            custom_metadata=progress._asdict(),
        )


def wait(checkpointer) -> None:
    """Wait until the last save is complete on disk.

    Raises:
      RunError: it could not be written.
    """
    with _saying_why(checkpointer):
        checkpointer.wait()


@contextlib.contextmanager
def _saying_why(checkpointer) -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError:  # another process is gone, not the disk
        raise
    except Exception as error:  # of the disk, by way of several libraries
        raise RunError(
            f"{checkpointer.directory}: a checkpoint could not be written "
            f"({first_line(error)}). Those before it are whole: make room, and the same "
            "command goes on from the newest"
        ) from error


def restore_latest(checkpointer, state) -> tuple[Any, Progress] | None:
    """Load the newest checkpoint; see `damage.set_aside_damaged`.

    Args:
      checkpointer: of `open_checkpoints`.
      state: a tree of the shapes, dtypes and shardings wanted.

    Returns:
      The state and the progress, or None where there is no checkpoint yet.
    """
    latest = checkpointer.latest
    if latest is None:
        return None
    restored = load_step(checkpointer, latest.step, state)
    return restored, Progress(**checkpointer.metadata(latest.step).custom_metadata)


def load_step(checkpointer, step: int, state):
    """Load the checkpoint of a step.

    Args:
      checkpointer: of `open_checkpoints`.
      step: one that it has.
      state: a tree of the shapes, dtypes and shardings wanted.
    """
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=leaf.sharding
        ),
        state,
    )
    return checkpointer.load(step, abstract)


def best_step(checkpointer) -> tuple[int, float]:
    """Step and score of the best checkpoint; ties go to the later one."""
    scored = [c for c in checkpointer.checkpoints if c.metrics]
    best = max(scored, key=lambda c: (c.metrics["score"], c.step))
    return best.step, best.metrics["score"]


def load_average(directory: Path, shapes):
    """Load the averaged parameters of a fold's latest checkpoint, nothing else.

    Args:
      directory: as given to `open_checkpoints`; left untouched.
      shapes: the parameters' shapes, dtypes and shardings by name.

    Raises:
      RunError: the parameters there have other names or shapes, or cannot be read.
    """
    steps = [int(p.name) for p in directory.iterdir() if p.name.isdecimal()]
    if not steps:
        raise RunError(f"{directory}: no checkpoint there; train the fold again")
    path = directory / str(max(steps))
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    try:
        with context:
            average = ocp.load(to_orbax(path), {"ema_params": shapes})["ema_params"]
        # Of what it does not find, Orbax hands back the shape that was asked for.
        absent = [n for n, leaf in average.items() if not isinstance(leaf, jax.Array)]
        if absent:
            raise KeyError(f"no parameters {', '.join(absent[:5])}")
        return average
    except Exception as error:  # each library has its own for a file cut short
        raise RunError(
            f"checkpoint {path} cannot be loaded ({first_line(error)}). Delete "
            f"{path.parents[1] / 'summary.json'} and give the run's training command "
            "once more: it goes on from the newest checkpoint that is whole"
        ) from error


def to_orbax(path: Path) -> epath.Path:
    """A path as Orbax wants it."""
    return epath.Path(path.absolute())
