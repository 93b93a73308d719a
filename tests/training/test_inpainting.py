import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.model.unet import create_model
from nerve_jax.system.errors import InputError
from nerve_jax.training import inpainting

KEYS = jax.random.split(jax.random.key(0), 6)
VISIBLE = inpainting.draw_visible(KEYS, (24, 32), 8, 0.6)


def images(seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(size=(6, 24, 32, 1)), jnp.float32)


def test_every_frame_hides_the_same_number_of_whole_patches_in_its_own_places():
    patches = np.asarray(VISIBLE).reshape(6, 3, 8, 4, 8).transpose(0, 1, 3, 2, 4)
    flat = patches.reshape(6, 12, 64)
    np.testing.assert_array_equal(flat.min(-1), flat.max(-1))
    np.testing.assert_array_equal((flat[..., 0] == 0).sum(1), 7)  # 0.6 of 12
    assert len(np.unique(flat[..., 0], axis=0)) > 1


def test_what_is_hidden_is_not_seen_by_the_net():
    """Changing hidden pixels changes nothing; changing seen ones does."""
    apply, init = create_model(widths=(8, 16), stem_stride=2)
    params = init(jax.random.key(1))
    # Of the same mean and deviation, by which frames are standardised.
    mirrored = images()[:, ::-1]
    hidden = jnp.where(VISIBLE[:, ::-1] + VISIBLE == 0, mirrored, images())
    run = jax.jit(lambda x: apply(params, x, visible=VISIBLE).logits)
    assert (hidden != images()).any()
    np.testing.assert_allclose(run(hidden), run(images()), atol=2e-5)
    assert np.abs(run(mirrored) - run(images())).max() > 1e-2


@pytest.mark.parametrize("level", [0, 1])
def test_no_feature_of_the_encoder_is_left_where_all_is_hidden(level):
    """Not even one that a block makes of nothing."""
    apply, init = create_model(widths=(8, 16))
    params = init(jax.random.key(1))
    name = f"encoder/{level}/0/norm_b/bias"
    nothing = jnp.zeros_like(VISIBLE)
    run = jax.jit(lambda params: apply(params, images(), visible=nothing).logits)
    made = run(params | {name: jnp.ones_like(params[name])})
    np.testing.assert_array_equal(run(params), made)


def test_guessing_the_mean_of_patches_costs_one_and_the_truth_nothing():
    truth = inpainting.normalise_patches(images(), 8)
    error = inpainting.compute_squared_error
    np.testing.assert_allclose(error(truth, images(), VISIBLE, 8), 0, atol=1e-9)
    nothing = error(jnp.zeros_like(truth), images(), VISIBLE, 8)
    np.testing.assert_allclose(nothing, 1, atol=0.1)


def test_only_hidden_pixels_count():
    truth = inpainting.normalise_patches(images(), 8)
    wrong = truth + 100.0 * VISIBLE
    error = inpainting.compute_squared_error(wrong, images(), VISIBLE, 8)
    np.testing.assert_allclose(error, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("patch_px", "share", "cell_px", "said"),
    [
        (7, 0.6, 1, "patch_px=7 does not divide"),
        (0, 0.6, 1, "patch_px=0 does not divide"),
        (4, 0.6, 8, "patch_px=4 is no multiple of 8"),
        (8, 1.0, 8, "hidden_share=1.0"),
        (8, 0.01, 8, "hidden_share=0.01"),
    ],
)
def test_patches_that_do_not_fit_are_refused(patch_px, share, cell_px, said):
    with pytest.raises(InputError, match=said):
        inpainting.check_patches(
            (24, 32), patch_px=patch_px, hidden_share=share, cell_px=cell_px
        )
