"""Folds that train together: how their states lie on the devices of a mesh.

Folds' arrays lie end to end along their first axis, scalars in a vector: so each device
holds its fold's arrays in the shape that the step of one fold takes. (With an axis of
folds in front, XLA's CPU backend copies every array at every step.)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

FOLD, EVERYWHERE = PartitionSpec("fold"), PartitionSpec()


def lay_out(state):
    """The state of one fold as it lies among others."""
    return jax.tree.map(jnp.atleast_1d, state)


def shape_as_one(states, shapes):
    """What a fold's device holds of the states, in the shapes of one fold."""
    return jax.tree.map(lambda x, one: x.reshape(one.shape), states, shapes)


def take(states, place: int, shapes, num_folds: int):
    """The state of one fold out of all, by its place among them."""
    return jax.tree.map(
        lambda x, one: x.reshape(num_folds, *one.shape)[place], states, shapes
    )


def join(*each):
    """States of one fold each -> states of all."""
    return jax.tree.map(lambda *x: jnp.concatenate(x), *map(lay_out, each))


def on_own_devices(function: Callable, mesh: Mesh, in_specs: tuple) -> Callable:
    """Let every device run a function on its own fold's arrays, and its own rows."""
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=FOLD,
        check_vma=False,  # or every constant in a loop must be cast
    )
