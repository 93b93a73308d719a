"""Learning from frames without masks: guess what is under hidden patches.

The idea of SparK (Tian et al. 2023, arXiv:2301.03580) for a U-Net: patches are hidden
from the encoder, whose features are set to 0 there after every block, so that holes do
not fill up from level to level, and the decoder, which has the skips that SparK adds,
paints what is missing. Unlike SparK's sparse convolutions, the second convolution of a
block sees the pixel that the first has smeared into a hole, and group norm counts hidden
places. As in masked autoencoders (He et al. 2022, arXiv:2111.06377) only hidden pixels
count, each patch brought to zero mean and unit deviation, so that texture counts as much
in the dark as in the light.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nerve_jax.errors import InputError
from nerve_jax.ops import repeat_pixels, space_to_depth

Frames = Float[Array, "batch height width 1"]


def check_patches(
    image_size: tuple[int, int], patch_px: int, share: float, cell_px: int
) -> None:
    """Raise `InputError` unless frames divide into patches of which some are hidden.

    `cell_px` is the side of the net's coarsest cells, of which none may be half hidden.
    """
    if patch_px < 1 or any(size % patch_px for size in image_size):
        raise InputError(
            f"hidden_patch_px={patch_px} does not divide image_size={image_size}"
        )
    if patch_px % cell_px:
        raise InputError(
            f"hidden_patch_px={patch_px} is no multiple of {cell_px}, the side of the "
            "coarsest cells (stem_stride times 2 for every level but the first)"
        )
    count = image_size[0] * image_size[1] // patch_px**2
    if not 1 <= round(share * count) < count:
        raise InputError(
            f"hidden_share={share}: of {count} patches at least one must be hidden, and "
            "one seen"
        )


def draw_visible(
    keys, image_size: tuple[int, int], patch_px: int, share: float
) -> Frames:
    """Hide random patches, the same number of each frame: 0 where hidden, else 1.

    Args:
      keys: one a frame.
      image_size: height and width in px, multiples of `patch_px`.
      patch_px: side of a patch.
      share: of the patches that are hidden.
    """
    rows, columns = (size // patch_px for size in image_size)
    hidden = round(share * rows * columns)

    def draw(key):
        order = jax.random.permutation(key, rows * columns)
        return (order >= hidden).astype(jnp.float32).reshape(rows, columns, 1)

    return repeat_pixels(jax.vmap(draw)(keys), patch_px)


def normalise_patches(images: Frames, patch_px: int) -> Frames:
    """Bring each patch to zero mean and unit deviation; a flat one becomes 0."""
    patches = space_to_depth(images, patch_px)
    mean = patches.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(patches - mean).mean(-1, keepdims=True))
    mean, deviation = (repeat_pixels(x, patch_px) for x in (mean, deviation))
    return (images - mean) / (deviation + 0.01)


def compute_squared_error(
    guesses: Frames, images: Frames, visible: Frames, patch_px: int
) -> Float[Array, " batch"]:
    """Mean squared error over hidden pixels of each frame, in units of the patches.

    Guessing the mean of every patch, 0, gives 1 or, where patches are all but flat,
    less.
    """
    error = jnp.square(guesses - normalise_patches(images, patch_px))
    hidden = 1.0 - visible
    return (error * hidden).sum((1, 2, 3)) / hidden.sum((1, 2, 3))
