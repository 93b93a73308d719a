"""New training frames from two: a rectangle of one pasted over the other (CutMix).

After Yun et al. 2019, arXiv:1905.04899, with masks cut as the images are (French et al.
2020, arXiv:1906.01916).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nerve_jax.scalars import Scalar

Batch = Float[Array, "batch height width 1"]


def mix_frames(images: Batch, masks: Batch, keys, prob: Scalar) -> tuple[Batch, Batch]:
    """Paste into each frame, with some probability, a rectangle of its neighbour.

    Neighbours are the frames at places 2 i and 2 i + 1, so that the same frames meet
    however many devices share out a batch.

    Args:
      images: at least two, an even number.
      masks: of the same frames.
      keys: one a frame.
      prob: chance of a rectangle; its share of the frame is uniform in [0, 1), its
        centre anywhere, and what sticks out is cut off.

    Returns:
      Images and masks.
    """
    inside = jax.vmap(lambda key: _draw_rectangle(key, images.shape[1:3], prob))(keys)
    inside = inside[..., None]
    return (
        jnp.where(inside, _swap(images), images),
        jnp.where(inside, _swap(masks), masks),
    )


def _swap(frames: Batch) -> Batch:
    """The neighbour of each frame."""
    pairs = frames.reshape(-1, 2, *frames.shape[1:])
    return pairs[:, ::-1].reshape(frames.shape)


def _draw_rectangle(key, shape: tuple[int, int], prob: Scalar):
    """Pixels of a random rectangle; none where no rectangle is drawn."""
    there, share, centre_y, centre_x = jax.random.uniform(key, (4,))
    half = jnp.sqrt(share) / 2.0
    y = (jnp.arange(shape[0], dtype=jnp.float32) + 0.5) / shape[0]
    x = (jnp.arange(shape[1], dtype=jnp.float32) + 0.5) / shape[1]
    rows, columns = jnp.abs(y - centre_y) < half, jnp.abs(x - centre_x) < half
    return rows.reshape(-1, 1) & columns.reshape(1, -1) & (there < prob)
