import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.commands import setup
from nerve_jax.data.population import find_people
from nerve_jax.model.unet import create_model
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices
from nerve_jax.training import folds
from nerve_jax.training.engine import Engine
from nerve_jax.training.optimizer import TrainState, create_optimizer
from nerve_jax.training.scalars import read_scalars
from tests.samples import bright_feed, mesh_of


def fold_of(number, positions, directory):
    return Fold(number, directory, positions, positions, positions)


def create(key, scalars):
    """Shapes that could be mistaken: a number, one value, and a matrix."""
    bias, kernel = jax.random.normal(key, (1,)), jax.random.normal(key, (3, 2))
    return TrainState(jnp.int32(0), {"bias": bias, "kernel": kernel}, {}, (), scalars)


def add_frames(state, frames, key, over=lambda x: x):
    """Add the mean of the frames, a random number of the key, and a scalar."""
    picked = over(frames.images.astype(jnp.float32).mean()) + jax.random.uniform(key)
    picked += state.scalars["more"]
    params = {
        "bias": state.params["bias"] + picked,
        "kernel": state.params["kernel"] * picked,
    }
    step = state.step + len(frames.images)
    return state._replace(step=step, params=params), {"picked": picked}


def plain_engine(mesh, **options):
    shared = functools.partial(add_frames, over=lambda x: jax.lax.pmean(x, "batch"))
    return Engine(
        create,
        shared,
        bright_feed(mesh, batch_size=4, seed=1),
        lambda members, images: None,
        mesh=mesh,
        scalars={"more": 0.7},
        **options,
    )


@pytest.mark.parametrize("num_folds", [1, 2, 4])
def test_each_fold_takes_its_own_rows_and_key_and_keeps_its_shapes(num_folds, tmp_path):
    engine = plain_engine(mesh_of(4, num_folds), steps_per_call=3)
    chosen = [fold_of(n, np.arange(12), tmp_path) for n in range(num_folds)]
    stream = engine.feed.open(chosen)
    states = engine.init(stream.keys)
    shard = states.params["kernel"].addressable_shards[0].data
    assert shard.shape == (3, 2)  # as one fold has it: nothing to be copied
    rows = np.stack([stream.next_rows(step) for step in range(3)], axis=1)
    begun = list(engine.split(states))
    states, metrics = engine.step(states, rows, stream.keys)
    for place, got in enumerate(engine.split(states)):
        expected = begun[place]
        for step in range(3):
            batch = engine.feed.pick(engine.feed.frames, jnp.asarray(rows[place, step]))
            each = len(batch.images) * num_folds // 4
            expected, found = add_frames(expected, batch, stream.keys[place])
            # A device counts its own.
            expected = expected._replace(step=expected.step - len(batch.images) + each)
            np.testing.assert_allclose(
                metrics["picked"][place, step], found["picked"], rtol=1e-5
            )
        assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, expected)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), got, expected
        )


def test_join_undoes_split_and_rejoin_replaces_single_folds(tmp_path):
    engine = plain_engine(mesh_of(4, 2))
    stream = engine.feed.open([fold_of(n, np.arange(12), tmp_path) for n in (3, 5)])
    states = engine.init(stream.keys)
    each = list(engine.split(states))
    again = engine.join(each)
    jax.tree.map(np.testing.assert_array_equal, states, again)
    assert again.step.sharding == states.step.sharding
    assert engine.rejoin(states, {}) is states
    other = jax.tree.map(lambda x: x + jnp.ones((), x.dtype), each[0])
    first, second = engine.split(engine.rejoin(states, {1: other}))
    jax.tree.map(np.testing.assert_array_equal, first, each[0])
    jax.tree.map(np.testing.assert_array_equal, second, other)


def test_a_program_is_compiled_for_each_number_of_steps_that_is_needed(tmp_path):
    engine = plain_engine(mesh_of(1), steps_per_call=3)
    engine.compile(9, 6)
    assert set(engine._programs) == {3}
    engine.compile(9, 7)
    assert set(engine._programs) == {1, 3}


def test_states_of_one_fold_have_their_own_shapes_back():
    shapes = {"a": jax.ShapeDtypeStruct((), np.float32)}
    laid = folds.lay_out({"a": jnp.float32(3)})
    assert laid["a"].shape == (1,)
    assert folds.shape_as_one(laid, shapes)["a"].shape == ()
    both = folds.join({"a": jnp.float32(3)}, {"a": jnp.float32(4)})
    assert float(folds.take(both, 1, shapes, 2)["a"]) == 4


def create_engine(config):
    """The engine of a configuration, and its training frames."""
    examples = setup.load_frames(config, "train")
    task = setup.create_segmentation(config, find_people(examples))
    mesh = devices.create_mesh()
    feed = setup.create_feed_of(config, mesh, examples)
    return setup.create_engine(config, mesh, task.loss, feed), examples


def test_all_folds_run_through_one_compiled_program(small_config, tmp_path):
    """What the first fold compiled, the second one uses: nothing is compiled again."""
    engine, examples = create_engine(small_config(batch_size=4))
    compiled = []

    def count(name, seconds, **details):
        if name.endswith("backend_compile_duration"):
            compiled.append(name)

    def train(number):
        fold = fold_of(number, np.arange(2 + number, 10), tmp_path)
        stream = engine.feed.open([fold])
        states = engine.init(stream.keys)
        for step in range(2):
            rows = stream.next_rows(step)[:, None]
            states, _ = engine.step(states, rows, stream.keys)
        params = next(engine.split(states)).ema_params
        engine.predict([params], examples.images[:3])

    jax.monitoring.register_event_duration_secs_listener(count)
    train(0)
    first = len(compiled)
    train(1)
    assert first > 0
    assert len(compiled) == first


def test_runs_that_share_programs_train_with_their_own_numbers(small_config, tmp_path):
    config = small_config(**{"optimizer.learning_rate": 1e-3})
    other = small_config(
        **{"optimizer.learning_rate": 3e-2, "augment.gain_fraction": 0.5}
    )

    def train(engine):
        stream = engine.feed.open([fold_of(0, np.arange(12), tmp_path)])
        rows = stream.next_rows(0)[:, None]
        states, metrics = engine.step(engine.init(stream.keys), rows, stream.keys)
        return jax.device_get((next(engine.split(states)).params, metrics["loss"]))

    shared, _ = create_engine(config)
    first = train(shared)
    second = train(shared.with_scalars(read_scalars(other.to_dict())))
    alone = train(create_engine(other)[0])
    for ours, theirs in zip(*map(jax.tree.leaves, (second, alone)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert first[1] != second[1]  # the loss sees the frames, brightened otherwise
    again = train(shared)
    np.testing.assert_array_equal(first[1], again[1])


def test_devices_share_the_batch_and_exchange_one_mean(make_plain_step):
    """Each sees its own frames; loss and gradient meet in a single all-reduce."""
    mesh = mesh_of(4)
    seen = []

    def spy(params, images, dropout_keys=None):
        seen.append(images.shape)
        return apply(params, images, dropout_keys)

    apply, init = create_model(widths=(8,))
    optimizer = create_optimizer(
        learning_rate=0.1,
        num_train_steps=5,
        warmup_steps=0,
        weight_decay=0.5,
        clip_norm=1.0,
        ema_decay=0.9,
    )
    engine = Engine(
        lambda key, scalars: optimizer.init(init(key), scalars),
        make_plain_step(spy, optimizer),
        bright_feed(mesh, batch_size=8, seed=0),
        lambda members, images: None,
        mesh=mesh,
    )
    engine.compile(1)
    assert seen == [(2, 16, 24, 1)]
    (program,) = engine._programs.values()
    assert program.as_text().count(" all-reduce(") == 1
