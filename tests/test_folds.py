import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax import parallel
from nerve_jax.folds import create_fold_programs


def create(key):
    """Shapes that could be mistaken: a number, one value, and a matrix."""
    return {
        "step": jnp.int32(0),
        "bias": jax.random.normal(key, (1,)),
        "kernel": jax.random.normal(key, (3, 2)),
    }


def add_rows(state, frames, rows, key, numbers, over=lambda x: x):
    """Adds what its rows pick from the frames, the key's number, and one given."""
    picked = over(frames[rows].sum(axis=1)) + jax.random.uniform(key)
    picked += numbers["more"]
    state = {
        "step": state["step"] + len(rows),
        "bias": state["bias"] + picked.sum(),
        "kernel": state["kernel"] * picked.sum(),
    }
    return state, {"picked": picked}


@pytest.mark.parametrize("num_folds", [1, 2, 4])
def test_each_fold_takes_its_own_rows_and_key_and_keeps_its_shapes(num_folds):
    mesh = parallel.create_mesh(num_folds)
    shared = functools.partial(add_rows, over=lambda x: jax.lax.psum(x, "batch"))
    programs = create_fold_programs(create, shared, mesh)
    by_fold = parallel.split_folds(mesh)
    keys = jax.device_put(jax.random.split(jax.random.key(0), num_folds), by_fold)
    frames, numbers = jnp.arange(10.0), {"more": jnp.float32(0.7)}
    rows = np.random.default_rng(0).integers(0, 10, (num_folds, 3, 4)).astype(np.int32)
    given = (jax.device_put(frames, parallel.replicated(mesh)),)
    states = programs.init(keys)
    shard = states["kernel"].addressable_shards[0].data
    assert shard.shape == (3, 2)  # as one fold has it: nothing to be copied
    states, metrics = programs.run(
        states, *given, parallel.put(rows, parallel.split_rows(mesh)), keys, numbers
    )
    for place in range(num_folds):
        expected, picked = add_rows(
            create(keys[place]), frames, rows[place], keys[place], numbers
        )
        got = programs.take(states, place)
        assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, expected)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected
        )
        np.testing.assert_allclose(
            metrics["picked"][place], picked["picked"], rtol=1e-6
        )


def test_join_undoes_take():
    mesh = parallel.create_mesh(2)
    programs = create_fold_programs(create, add_rows, mesh)
    states = programs.init(jax.random.split(jax.random.key(1), 2))
    again = programs.join(programs.take(states, 0), programs.take(states, 1))
    jax.tree.map(np.testing.assert_array_equal, states, again)
    assert again["step"].sharding == states["step"].sharding
