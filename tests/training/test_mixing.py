import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.training.augment import mix_frames
from nerve_jax.training.step import Batch

KEYS = jax.random.split(jax.random.key(3), 64)
# Frame i is of grey value i everywhere, and so is its mask: what is pasted shows.
GREY = jnp.broadcast_to(jnp.arange(64.0).reshape(-1, 1, 1, 1), (64, 20, 30, 1))


def mix(prob, keys=KEYS, frames=GREY, labelled=None):
    known = jnp.ones((len(frames), 1), bool) if labelled is None else labelled
    return jax.jit(mix_frames)(Batch(frames, frames / 2.0, known), keys, prob)


def test_a_rectangle_of_the_neighbour_is_pasted_into_image_and_mask_alike():
    images, masks, _ = mix(1.0)
    np.testing.assert_array_equal(masks, images / 2.0)
    shares = []
    for place, frame in enumerate(np.asarray(images)[..., 0]):
        pasted = frame != place
        assert set(np.unique(frame)) <= {place, place ^ 1}
        rows, columns = pasted.any(1), pasted.any(0)
        np.testing.assert_array_equal(pasted, np.outer(rows, columns))
        assert np.abs(np.diff(rows.astype(int))).sum() <= 2  # in one piece
        shares.append(pasted.mean())
    assert 0.15 < np.mean(shares) < 0.6
    assert np.std(shares) > 0.1


@pytest.mark.parametrize(("prob", "low", "high"), [(0.0, 0, 0), (0.5, 18, 44)])
def test_so_many_are_mixed_as_the_probability_says(prob, low, high):
    images = mix(prob).images
    changed = (np.asarray(images) != np.asarray(GREY)).any((1, 2, 3)).sum()
    assert low <= changed <= high


def test_two_devices_mix_as_one_does():
    """Neighbours stay together when a batch is halved."""
    whole = mix(1.0)[0]
    halves = [
        mix(1.0, KEYS[part], GREY[part])[0] for part in (slice(32), slice(32, 64))
    ]
    np.testing.assert_array_equal(whole, jnp.concatenate(halves))


def test_a_frame_with_a_rectangle_is_labelled_for_what_both_are_labelled_for():
    """Frame 0 for both structures, 1 for the first, 2 for none, 3 for both, ..."""
    labelled = jnp.tile(jnp.array([[1, 1], [1, 0], [0, 0], [1, 1]], bool), (16, 1))
    images, _, known = mix(0.5, labelled=labelled)
    pasted = (np.asarray(images) != np.asarray(GREY)).any((1, 2, 3))
    both = labelled & labelled.reshape(-1, 2, 2)[:, ::-1].reshape(-1, 2)
    assert 10 < pasted.sum() < 54
    # A rectangle may be too small to show, so that fewer are seen than were drawn.
    np.testing.assert_array_equal(known[pasted], both[pasted])
    np.testing.assert_array_equal(mix(0.0, labelled=labelled).labelled, labelled)
