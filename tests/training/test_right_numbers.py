"""Sums that must not depend on how the work is dealt out, to a stated tolerance."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orbax.checkpoint import v1 as ocp

from nerve_jax.model.unet import create_model
from nerve_jax.runs.folder import Fold
from nerve_jax.scoring import predictor
from nerve_jax.scoring.metrics import compute_scores
from nerve_jax.system import devices, locks
from nerve_jax.system.errors import RunError
from nerve_jax.system.processes import StopPoint
from nerve_jax.training import loop
from nerve_jax.training.engine import Engine
from nerve_jax.training.optimizer import Optimizer, TrainState
from nerve_jax.training.progress import RunLog
from tests.samples import bright_boxes, bright_feed, mesh_of

KEY = jax.random.key(5)
RELATIVE = 1e-5  # of the gradient's norm: float32 sums of another order
BATCH = 8


@functools.cache
def create_engine(make_plain_step, mesh, rate=1.0, dtype="float32", accumulate_steps=1):
    """An engine that moves parameters by `rate` times the gradient."""
    apply, init = create_model(widths=(8, 16), compute_dtype=dtype)

    def begin(key, scalars):
        params = init(key)
        return TrainState(jnp.int32(0), params, params, (), scalars)

    def update(state, gradient):
        params = jax.tree.map(lambda p, g: p - rate * g, state.params, gradient)
        return state._replace(step=state.step + 1, params=params, ema_params=params)

    step = make_plain_step(
        apply, Optimizer(begin, update), accumulate_steps=accumulate_steps
    )
    feed = bright_feed(mesh, batch_size=BATCH, seed=0)
    return Engine(begin, step, feed, lambda members, images: None, mesh=mesh)


@functools.cache
def gradient_of(make_plain_step, num_devices, accumulate_steps):
    """`gradient(rows) -> (loss, gradient)`: a step of size 1 downhill, then undone."""
    engine = create_engine(
        make_plain_step, mesh_of(num_devices), accumulate_steps=accumulate_steps
    )
    keys = engine.feed.open([fold_of(Path())]).keys

    def gradient(rows):
        states = engine.init(keys)
        before = jax.device_get(states.params)
        rows = np.asarray(rows, np.int32).reshape(1, 1, -1)
        states, metrics = engine.step(states, rows, keys)
        after = jax.device_get(states.params)
        return float(metrics["loss"][0, 0]), {k: before[k] - after[k] for k in before}

    return gradient


def fold_of(directory):
    everything = np.arange(12)
    return Fold(0, directory, everything, everything, everything)


@settings(max_examples=8, deadline=None)
@given(
    st.permutations(range(12)), st.randoms(), st.sampled_from([(2, 1), (4, 1), (1, 2)])
)
def test_a_gradient_does_not_depend_on_devices_parts_or_the_order_of_frames(
    make_plain_step, order, random, dealt
):
    rows = list(order[:BATCH])
    loss, gradient = gradient_of(make_plain_step, 1, 1)(rows)
    random.shuffle(rows)
    other_loss, other = gradient_of(make_plain_step, *dealt)(rows)
    assert other_loss == pytest.approx(loss, rel=RELATIVE)
    norm = float(optax.tree.norm(gradient))
    for name, value in gradient.items():
        np.testing.assert_allclose(other[name], value, atol=RELATIVE * norm)


@functools.cache
def create_predict_batch():
    apply, init = create_model(widths=(8, 16))
    params = init(KEY)
    return jax.jit(predictor.make_predict_batch(apply)), params


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([1, 2, 3, 5, 12, 20]), st.permutations(range(12)))
def test_predictions_do_not_depend_on_the_batch_size_or_the_order_of_frames(
    batch_size, order
):
    predict_batch, params = create_predict_batch()
    images, order = bright_boxes().images, list(order)
    plain, presence = predictor.predict_probs(
        predict_batch,
        [params],
        images,
        batch_size=4,
        flips=False,
        reduce=predictor.keep,
    )
    other, other_presence = predictor.predict_probs(
        predict_batch,
        [params],
        images[order],
        batch_size=batch_size,
        flips=False,
        reduce=predictor.keep,
    )
    np.testing.assert_allclose(other, plain[order], atol=1e-6)
    np.testing.assert_allclose(other_presence, presence[order], atol=1e-6)


@given(st.permutations(range(9)), st.integers(0, 50))
def test_scores_do_not_depend_on_the_order_of_frames(order, seed):
    areas = np.random.default_rng(seed).integers(0, 40, (9, 2))
    areas[:3] = 0
    counts = np.stack([areas.min(1), *areas.T, np.full(9, 100)], axis=1)
    whole = compute_scores(counts)
    for name, value in compute_scores(counts[list(order)]).items():
        assert value == pytest.approx(whole[name], rel=1e-12, nan_ok=True), name


class Weights:
    """A task without a score of its own."""

    measure = "dice"

    def loss(self, params, state, batch, keys):
        raise AssertionError("the engine has its own")

    def begin(self, fold, params):
        return params

    def score(self, predict, fold, step, params):
        return {"dice": 0.0}

    def export(self, predict, fold, params):
        return {}


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_an_overflow_is_caught_and_named_and_not_saved(
    tmp_path, compute_dtype, make_plain_step
):
    engine = create_engine(
        make_plain_step, devices.create_mesh(), rate=1e38, dtype=compute_dtype
    )
    fold = fold_of(tmp_path / "fold_0")
    log = RunLog(tmp_path, [0], num_train_steps=4, batch_size=BATCH, measure="dice")
    with (
        locks.hold(fold.lock),
        log,
        pytest.raises(RunError, match=r"step \d: .*; last good checkpoint: "),
    ):
        loop.train_folds(
            engine,
            engine.feed,
            Weights(),
            [fold],
            log,
            steps=loop.Steps(total=4, eval_every=1),
            stop=StopPoint([]),
        )
    kept = [int(path.name) for path in fold.checkpoints.iterdir()]
    assert len(kept) < 4
    for number in kept:
        state = ocp.load(fold.checkpoints / str(number))
        assert all(np.isfinite(x).all() for x in state["params"].values())
