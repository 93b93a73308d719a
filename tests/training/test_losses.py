import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nerve_jax.model.unet import Outputs
from nerve_jax.system.errors import InputError
from nerve_jax.training import losses

EMPTY = jnp.zeros((1, 32, 40, 1))
HALF = jnp.zeros((1, 32, 40, 1)).at[:, :16].set(1.0)


def logits_of(mask, strength=12.0):
    return strength * (2 * mask - 1)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_much(name):
    loss = losses.LOSSES[name]
    for mask in (HALF, EMPTY):
        assert loss(logits_of(mask), mask)[0] < 0.02
        least = 0.8 if name == "focal_tversky" and mask is EMPTY else 0.9
        assert loss(logits_of(1 - mask), mask)[0] > least


@pytest.mark.parametrize(
    "loss", [losses.compute_soft_dice_loss, losses.compute_focal_tversky_loss]
)
def test_a_frame_without_nerve_teaches_to_predict_less(loss):
    """The usual smoothing leaves this loss near 1 and its slope near 0."""
    levels = [loss(jnp.full_like(EMPTY, z), EMPTY)[0] for z in (-2.0, -6.0, -9.0)]
    assert levels[0] > levels[1] > levels[2]
    assert levels[2] < 0.12
    slope = jax.grad(lambda z: loss(jnp.full_like(EMPTY, z), EMPTY)[0])(-6.0)
    assert slope > 0.015
    usual = optax.losses.dice_loss(
        jnp.full((1, 420, 580, 1), -6.0), jnp.zeros((1, 420, 580, 1))
    )
    assert usual.mean() > 0.99


@pytest.mark.parametrize("share", [0.03, 0.08])
def test_frames_without_nerve_do_not_outweigh_those_with_one(share):
    """Or a net that predicts nothing yet stays with it: a nerve is a small part."""
    logits = jnp.full((1, 96, 128, 1), -8.0)
    nerve = jnp.zeros_like(logits).at[:, :, : int(128 * share) + 1].set(1.0)

    def pull(masks):
        slope = jax.grad(lambda z: losses.compute_soft_dice_loss(z, masks)[0])(logits)
        return float(slope[0, 0, 0, 0])

    up, down = -pull(nerve), pull(jnp.zeros_like(logits))
    assert 0.1 * up < down < 2 * up


def test_soft_dice_is_dice_on_certain_predictions():
    pred = jnp.zeros_like(HALF).at[:, 8:24].set(1.0)  # half of it hits
    value = losses.compute_soft_dice_loss(logits_of(pred, 40.0), HALF, smoothing=0.0)
    assert value[0] == pytest.approx(0.5, abs=1e-5)


def test_tversky_minds_misses_more_than_false_alarms():
    less, more = HALF.at[:, 8:16].set(0.0), HALF.at[:, 16:24].set(1.0)
    missed, false = (
        losses.compute_focal_tversky_loss(logits_of(pred), HALF)[0]
        for pred in (less, more)
    )
    assert missed > false


def test_gradients_are_finite_everywhere():
    for loss in losses.LOSSES.values():
        for mask in (HALF, EMPTY):
            for strength in (0.0, 40.0, 200.0):
                gradient = jax.grad(lambda z, m=mask, f=loss: f(z, m).sum())(
                    logits_of(mask, strength)
                )
                assert np.isfinite(gradient).all()


def test_each_frame_has_its_own_loss():
    both = losses.LOSSES["bce_dice"](
        jnp.concatenate([logits_of(HALF), logits_of(HALF)]),
        jnp.concatenate([HALF, EMPTY]),
    )
    assert both.shape == (2,)
    assert both[0] < 0.02 < both[1]


def test_presence_and_coarse_levels_are_added_with_their_weights():
    loss = losses.make_loss("bce_dice", presence_weight=0.5, coarse_weight=2.0)
    logits = coarse = logits_of(HALF)
    known = jnp.ones((1, 1), bool)
    plain = loss(Outputs(logits, None, ()), HALF, known)[0]
    presence = jnp.array([[-3.0]])
    missed = loss(Outputs(logits, presence, ()), HALF, known)[0]
    assert missed - plain == pytest.approx(0.5 * np.log1p(np.exp(3.0)), rel=1e-4)
    right = loss(Outputs(logits, None, (coarse,)), HALF, known)[0]
    wrong = loss(Outputs(logits, None, (-coarse,)), HALF, known)[0]
    assert right - plain < 0.05
    assert wrong - plain > 2.0


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(InputError, match="bce_dice, focal_tversky"):
        losses.make_loss("dice", presence_weight=0.0, coarse_weight=0.0)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_each_structure_has_the_loss_that_it_would_have_alone(name):
    loss = losses.make_loss(name, presence_weight=0.2, coarse_weight=1.0)
    logits = jax.random.normal(jax.random.key(0), (2, 32, 40, 3))
    masks = jnp.broadcast_to(HALF, logits.shape).at[0, ..., 1].set(0.0)
    outputs = Outputs(logits, logits[:, 0, 0], (2.0 * logits,))
    together = loss(outputs, masks, jnp.ones((2, 3), bool))
    alone = [
        loss(
            jax.tree.map(lambda x, i=i: x[..., i : i + 1], outputs),
            masks[..., i : i + 1],
            jnp.ones((2, 1), bool),
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(together, np.mean(alone, axis=0), rtol=1e-6)


def test_a_structure_that_nobody_looked_for_teaches_nothing():
    loss = losses.make_loss("bce_dice", presence_weight=0.5, coarse_weight=1.0)
    masks = jnp.concatenate([HALF, EMPTY], -1)
    known = jnp.array([[True, False]])

    def compute(logits, presence):
        return loss(Outputs(logits, presence, (logits,)), masks, known)[0]

    logits, presence = jnp.zeros(masks.shape), jnp.zeros((1, 2))
    by_pixel, by_presence = jax.grad(compute, (0, 1))(logits, presence)
    assert (by_pixel[..., 0] != 0).all() and by_presence[0, 0] != 0
    assert (by_pixel[..., 1] == 0).all() and by_presence[0, 1] == 0


def test_structures_count_as_they_are_weighed():
    logits, known = jnp.zeros((1, 32, 40, 2)), jnp.ones((1, 2), bool)
    masks = jnp.concatenate([HALF, EMPTY], -1)
    own = (masks[..., i : i + 1] for i in range(2))
    each = [losses.LOSSES["bce_dice"](logits[..., :1], mask)[0] for mask in own]
    for weights in [(1.0,), (1.0, 1.0), (3.0, 1.0), (0.0, 2.0)]:
        options = {"presence_weight": 0.0, "coarse_weight": 0.0}
        loss = losses.make_loss("bce_dice", structure_weights=weights, **options)
        expected = np.average(each, weights=np.broadcast_to(weights, 2))
        found = loss(Outputs(logits, None, ()), masks, known)[0]
        assert found == pytest.approx(float(expected), rel=1e-6)
    for weights in [(-1.0, 2.0), (0.0, 0.0), (0.0,)]:
        with pytest.raises(InputError, match="structure_weights.*below 0, and not all"):
            losses.make_loss("bce_dice", structure_weights=weights, **options)
