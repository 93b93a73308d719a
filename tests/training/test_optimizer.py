import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import accurate, kaggle, tpu, unet
from nerve_jax.model.unet import create_model
from nerve_jax.system.errors import InputError
from nerve_jax.training.optimizer import create_optimizer, create_transform, rescale

KEY = jax.random.key(7)


def transform_of(**changes):
    """AdamW of a short run, with some of its arguments changed."""
    options = {"learning_rate": 0.1, "num_train_steps": 5, "warmup_steps": 0}
    options |= {"weight_decay": 0.5, "clip_norm": 1.0}
    return create_transform(**(options | changes))


def test_a_large_gradient_is_clipped():
    optimizer = transform_of(learning_rate=1.0, weight_decay=0.0)
    params = {"a/bias": jnp.zeros(4)}
    state = jax.jit(optimizer.update)(
        {"a/bias": jnp.full(4, 100.0)}, optimizer.init(params), params
    )[1]
    moments = [x for x in jax.tree.leaves(state) if x.shape == (4,)]
    np.testing.assert_allclose(moments[0], 0.1 * 0.5)  # 0.1 of the clipped gradient


@pytest.mark.parametrize("num_train_steps", [1, 2, 9, 100])
def test_any_number_of_steps_has_a_schedule(num_train_steps):
    optimizer = transform_of(
        learning_rate=1.0,
        num_train_steps=num_train_steps,
        warmup_steps=50,
        weight_decay=0.0,
        clip_norm=1e9,
    )
    params = {"a/kernel": jnp.ones(3)}
    state = optimizer.init(params)
    sizes = []
    for _ in range(num_train_steps):
        updates, state = optimizer.update(params, state, params)
        sizes.append(float(jnp.abs(updates["a/kernel"]).max()))
    assert min(sizes) > 0
    assert max(sizes) == pytest.approx(1.0, abs=0.01)
    if num_train_steps == 100:
        assert sizes[0] == pytest.approx(1 / 11, abs=0.01)  # warm-up: a tenth of all
        assert sizes[10] == pytest.approx(1.0, abs=0.01)
        assert sizes[55] == pytest.approx(0.5, abs=0.02)
        assert sizes[-1] < 0.01


def test_norms_and_biases_do_not_decay():
    optimizer = transform_of()
    _, init = create_model(widths=(8, 16), block="residual")
    params = {name: jnp.ones_like(p) for name, p in init(KEY).items()}
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimizer.update)(nothing, optimizer.init(params), params)
    decayed = {name.rsplit("/", 1)[1] for name, u in updates.items() if u.any()}
    assert decayed == {"kernel"}


def test_short_runs_are_not_averaged_with_their_initial_weights():
    """At step t the average keeps min(0.99, (1 + t) / (10 + t)) of itself."""
    optimizer = create_optimizer(
        ema_decay=0.99,
        learning_rate=0.1,
        num_train_steps=5,
        warmup_steps=0,
        weight_decay=0.0,
        clip_norm=1.0,
    )
    state = optimizer.init({"a/kernel": jnp.ones(3)}, {"loss.x": jnp.float32(2)})
    average = state.ema_params["a/kernel"]
    for t in range(4):
        state = optimizer.update(state, {"a/kernel": jnp.full(3, 0.5 + t)})
        decay = (1 + t) / (10 + t)
        average = decay * average + (1 - decay) * state.params["a/kernel"]
        np.testing.assert_allclose(state.ema_params["a/kernel"], average, atol=1e-6)
    assert int(state.step) == 4
    assert state.scalars == {"loss.x": 2}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_train_steps", 0),
        ("warmup_steps", -1),
        ("clip_norm", 0.0),
        ("encoder_frozen_steps", -1),
        ("encoder_rate_factor", -0.5),
    ],
)
def test_numbers_outside_their_range_are_named(field, value):
    with pytest.raises(InputError, match=field):
        transform_of(**{field: value})


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 512),
    st.integers(10, 100_000),
    st.floats(0.5, 0.9999),
)
def test_another_batch_keeps_shares_of_the_run(batch, steps, decay):
    suits = {"learning_rate": 2e-3, "weight_decay": 0.05, "ema_decay": decay}
    scaled = rescale(suits, (8, 500), (batch, steps))
    assert scaled["learning_rate"] ** 2 / batch == pytest.approx(2e-3**2 / 8)
    assert scaled["learning_rate"] * scaled["weight_decay"] * steps == pytest.approx(1)
    half_life, own = (np.log(0.5) / np.log(d) for d in (decay, scaled["ema_decay"]))
    assert own / steps == pytest.approx(half_life / 500)


def test_what_is_off_stays_off_at_another_batch():
    suits = {"learning_rate": 2e-3, "weight_decay": 0.0, "ema_decay": 0.0}
    scaled = rescale(suits, (8, 500), (32, 1000))
    assert (scaled["weight_decay"], scaled["ema_decay"]) == (0.0, 0.0)


@pytest.mark.parametrize("config", [kaggle, accurate, tpu])
def test_shipped_configurations_follow_the_rule(config):
    base, own = unet.get_config(), config.get_config()
    scaled = rescale(
        base.optimizer.to_dict(),
        (base.batch_size, base.num_train_steps),
        (own.batch_size, own.num_train_steps),
    )
    for name, value in scaled.items():
        found = own.optimizer[name]
        if name == "ema_decay":
            value, found = 1 - value, 1 - found
        assert found == pytest.approx(value, rel=0.05), name
