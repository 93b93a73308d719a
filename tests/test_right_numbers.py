"""Sums that must not depend on how the work is dealt out, to a stated tolerance."""

import functools

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType
from orbax.checkpoint import v1 as ocp

from nerve_jax import checkpoints, parallel, predict, train, train_step
from nerve_jax.errors import RunError
from nerve_jax.metrics import compute_scores
from nerve_jax.models import create_model

KEY = jax.random.key(5)
RELATIVE = 1e-5  # of the gradient's norm: float32 sums of another order
BATCH = 8


def frames():
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 16, 24), np.uint8)
    masks[2:, 5:11, 8:16] = 255
    images = (rng.integers(0, 90, masks.shape) + masks // 2).astype(np.uint8)
    return train_step.Frames(images, masks)


@functools.cache
def gradient_of(plain_programs, num_devices, accumulate_steps):
    """`gradient(rows) -> (loss, gradient)`: a step of size 1 downhill, then undone."""
    devices = jax.devices()[:num_devices]
    kinds = (AxisType.Auto, AxisType.Auto)
    mesh = jax.make_mesh((1, num_devices), ("fold", "batch"), kinds, devices=devices)
    apply, init = create_model(widths=(8, 16))
    optimizer = optax.sgd(1.0)
    programs = plain_programs(
        apply, init, optimizer, mesh, accumulate_steps=accumulate_steps
    )
    placed = jax.device_put(frames(), parallel.replicated(mesh))
    keys = jax.device_put(KEY.reshape(1), parallel.split_folds(mesh))

    def gradient(rows):
        states = programs.init(keys)
        before = jax.device_get(states.params)
        rows = np.asarray(rows, np.int32).reshape(1, 1, -1)
        rows = parallel.put(rows, parallel.split_rows(mesh))
        states, metrics = programs.run(states, placed, rows, keys, {})
        after = jax.device_get(states.params)
        return float(metrics["loss"][0, 0]), {k: before[k] - after[k] for k in before}

    return gradient


@settings(max_examples=8, deadline=None)
@given(
    st.permutations(range(12)), st.randoms(), st.sampled_from([(2, 1), (4, 1), (1, 2)])
)
def test_a_gradient_does_not_depend_on_devices_parts_or_the_order_of_frames(
    plain_programs, order, random, dealt
):
    rows = list(order[:BATCH])
    loss, gradient = gradient_of(plain_programs, 1, 1)(rows)
    random.shuffle(rows)
    other_loss, other = gradient_of(plain_programs, *dealt)(rows)
    assert other_loss == pytest.approx(loss, rel=RELATIVE)
    norm = float(optax.tree.norm(gradient))
    for name, value in gradient.items():
        np.testing.assert_allclose(other[name], value, atol=RELATIVE * norm)


@functools.cache
def predictor():
    apply, init = create_model(widths=(8, 16))
    params = init(KEY)
    return jax.jit(predict.make_predict_batch(apply)), params


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([1, 2, 3, 5, 12, 20]), st.permutations(range(12)))
def test_predictions_do_not_depend_on_the_batch_size_or_the_order_of_frames(
    batch_size, order
):
    predict_batch, params = predictor()
    images, order = frames().images, list(order)
    plain, presence = predict.predict_probs(
        predict_batch, [params], images, batch_size=4, flips=False
    )
    other, other_presence = predict.predict_probs(
        predict_batch, [params], images[order], batch_size=batch_size, flips=False
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


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_an_overflow_is_caught_and_named_and_not_saved(
    tmp_path, compute_dtype, plain_programs
):
    apply, init = create_model(widths=(8, 16), compute_dtype=compute_dtype)
    optimizer = optax.sgd(1e38)
    mesh = parallel.create_mesh()
    programs = plain_programs(apply, init, optimizer, mesh)
    placed = jax.device_put(frames(), parallel.replicated(mesh))
    keys = jax.device_put(KEY.reshape(1), parallel.split_folds(mesh))
    rows = np.arange(BATCH, dtype=np.int32).reshape(1, -1)

    def run(states, rows):
        rows = parallel.put(rows, parallel.split_rows(mesh))
        return programs.run(states, placed, rows, keys, {})

    with (
        checkpoints.open_checkpoints(tmp_path / "c") as checkpointer,
        pytest.raises(RunError, match=r"step \d: .*; last good checkpoint: "),
    ):
        train.train_folds(
            programs.init(keys),
            run,
            lambda step: rows,
            lambda place, step, params: {"dice": 0.0},
            [checkpointer],
            programs.take,
            programs.join,
            measure="dice",
            num_train_steps=4,
            eval_every_steps=1,
            steps_per_call=1,
            started=0.0,
            on_resume=lambda *_: None,
            on_step=lambda *_: None,
            on_eval=lambda *_: None,
            before_save=lambda _: None,
            must_stop=lambda: False,
        )
    kept = [int(path.name) for path in (tmp_path / "c").iterdir()]
    assert len(kept) < 4
    for step in kept:
        state = ocp.load(tmp_path / "c" / str(step))
        assert all(np.isfinite(x).all() for x in state["params"].values())
