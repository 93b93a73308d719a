import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.training.augment import mix_frames

KEYS = jax.random.split(jax.random.key(3), 64)
# Frame i is of grey value i everywhere, and so is its mask: what is pasted shows.
GREY = jnp.broadcast_to(jnp.arange(64.0).reshape(-1, 1, 1, 1), (64, 20, 30, 1))


def mix(prob, keys=KEYS, frames=GREY):
    return jax.jit(mix_frames)(frames, frames / 2.0, keys, prob)


def test_a_rectangle_of_the_neighbour_is_pasted_into_image_and_mask_alike():
    images, masks = mix(1.0)
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
    images, _ = mix(prob)
    changed = (np.asarray(images) != np.asarray(GREY)).any((1, 2, 3)).sum()
    assert low <= changed <= high


def test_two_devices_mix_as_one_does():
    """Neighbours stay together when a batch is halved."""
    whole = mix(1.0)[0]
    halves = [
        mix(1.0, KEYS[part], GREY[part])[0] for part in (slice(32), slice(32, 64))
    ]
    np.testing.assert_array_equal(whole, jnp.concatenate(halves))
