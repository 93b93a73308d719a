"""Folds that ride together: their states on the devices, each fold's run by its own.

Folds' arrays lie end to end along their first axis, numbers in a vector: so each device
holds its fold's arrays in the shape that the step of one fold takes. (With an axis of
folds in front, XLA's CPU backend copies every array at every step.)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from nerve_jax import parallel


class FoldPrograms(NamedTuple):
    """What runs on states of all folds, under jit.

    Attributes:
      init: keys [folds] -> states.
      run: (states, frames, rows [folds steps batch ...], keys [folds], numbers) ->
        (states, metrics [folds steps]); gives up the buffers of the states. Frames and
        numbers are the same on all devices.
      take: (states, place) -> the state of one fold, on all devices.
      join: states of one fold each -> states.
    """

    init: Callable
    run: Callable
    take: Callable
    join: Callable


def create_fold_programs(
    create: Callable, train_steps: Callable, mesh: Mesh
) -> FoldPrograms:
    """From programs of one fold to `FoldPrograms`.

    Args:
      create: key -> state before the first step.
      train_steps: `make_train_steps`.
      mesh: `parallel.create_mesh`.
    """
    same, by_fold = parallel.replicated(mesh), parallel.split_folds(mesh)
    num_folds = mesh.shape["fold"]
    shapes = jax.eval_shape(create, jax.random.key(0))

    def run_own(states, frames, rows, keys, numbers):
        state = jax.tree.map(lambda x, one: x.reshape(one.shape), states, shapes)
        own_rows = jax.tree.map(lambda x: x[0], rows)
        state, metrics = train_steps(state, frames, own_rows, keys[0], numbers)
        return _lay_out(state), jax.tree.map(lambda x: x[None], metrics)

    def take(states, place):
        return jax.tree.map(
            lambda x, one: x.reshape(num_folds, *one.shape)[place], states, shapes
        )

    def join(*each):
        return jax.tree.map(lambda *x: jnp.concatenate(x), *map(_lay_out, each))

    fold, everywhere = PartitionSpec("fold"), PartitionSpec()
    by_frame = parallel.split_rows(mesh).spec
    return FoldPrograms(
        jax.jit(
            _on_own_devices(lambda keys: _lay_out(create(keys[0])), mesh, (fold,)),
            in_shardings=by_fold,
            out_shardings=by_fold,
        ),
        jax.jit(
            _on_own_devices(
                run_own, mesh, (fold, everywhere, by_frame, fold, everywhere)
            ),
            donate_argnums=0,
            in_shardings=(by_fold, same, parallel.split_rows(mesh), by_fold, same),
            out_shardings=(by_fold, same),  # metrics for every process to read
        ),
        jax.jit(take, static_argnums=1, out_shardings=same),
        jax.jit(join, out_shardings=by_fold),
    )


def _lay_out(state):
    """The state of one fold as it lies among others."""
    return jax.tree.map(jnp.atleast_1d, state)


def _on_own_devices(function: Callable, mesh: Mesh, in_specs: tuple) -> Callable:
    """Let every device run a function on what is its fold's, and of rows its own."""
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=PartitionSpec("fold"),
        check_vma=False,  # or every constant in a loop must be cast
    )
