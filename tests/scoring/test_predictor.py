import functools

import jax.numpy as jnp
import numpy as np

from nerve_jax.model.unet import Outputs
from nerve_jax.scoring import predictor

SIZE = (24, 32)


def test_members_are_averaged_and_the_last_batch_is_filled_up():
    seen = []

    def predict_batch(params, images):
        seen.append(len(images))
        value = jnp.full(images.shape, params["level"])
        return value, value.max((1, 2))

    images = np.zeros((5, *SIZE), np.uint8)
    members = [{"level": jnp.float32(0.2)}, {"level": jnp.float32(0.6)}]
    probs, presence = predictor.predict_probs(
        predict_batch, members, images, batch_size=4, flips=False
    )
    assert seen == [4] * 4
    assert probs.dtype == np.float16
    np.testing.assert_array_equal(probs, np.float16(0.4))
    np.testing.assert_allclose(presence, 0.4, rtol=1e-6)


def test_without_a_presence_head_the_surest_pixel_decides():
    def apply(params, images):
        return Outputs(images * 8.0 - 4.0, None, ())

    images = jnp.zeros((2, 4, 4), jnp.uint8).at[1, 2, 2].set(255)
    probs, presence = predictor.make_predict_batch(apply)({}, images)
    np.testing.assert_allclose(presence, probs.max((1, 2)))
    assert presence[0] < 0.02
    assert presence[1] > 0.98


def test_mirror_images_are_mirrored_back_and_averaged():
    """A model that sees nerve only left of the middle sees both halves by turns."""

    def predict_batch(params, images):
        seen = np.asarray(images, np.float32) / 255
        seen[..., SIZE[1] // 2 :] = 0
        return seen, seen.max((1, 2))

    images = np.zeros((3, *SIZE), np.uint8)
    images[0, 5, 3] = images[1, 5, -3] = 255
    predicted = functools.partial(predictor.predict_probs, predict_batch, [{}], images)
    once, _ = predicted(batch_size=2, flips=False)
    both, presence = predicted(batch_size=2, flips=True)
    assert (once[0, 5, 3], once[1, 5, -3]) == (1, 0)
    assert (both[0, 5, 3], both[1, 5, -3]) == (0.5, 0.5)
    assert both.sum() == 1
    np.testing.assert_allclose(presence, [0.5, 0.5, 0])


def test_views_are_kept_in_order_and_any_of_them_average():
    """A member's frame, then its mirror image, then the next member's."""

    def predict_batch(params, images):
        seen = np.asarray(images, np.float32) / 255 * float(params["level"])
        seen[..., SIZE[1] // 2 :] = 0
        return seen, seen.max((1, 2))

    images = np.zeros((3, *SIZE), np.uint8)
    images[:, 5, 3] = 255
    members = [{"level": jnp.float32(level)} for level in (0.25, 1.0)]
    predicted = functools.partial(
        predictor.predict_probs, predict_batch, members, images, batch_size=2
    )
    views = predicted(flips=True, reduce=predictor.keep)
    assert views.probs.dtype == np.float32
    np.testing.assert_allclose(views.probs[:, :, 5, 3], [[0.25, 0, 1, 0]] * 3)
    for chosen, flips in (([0, 1, 2, 3], True), ([0, 2], False)):
        for ours, theirs in zip(
            predictor.average(views.choose(chosen)), predicted(flips=flips), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
