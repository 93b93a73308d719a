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

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nerve_jax.data.batches import padded_batches
from nerve_jax.data.examples import Examples
from nerve_jax.model.ops import repeat_pixels, space_to_depth
from nerve_jax.model.unet import INITIAL_LOGIT, Params
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices, processes
from nerve_jax.system.errors import InputError
from nerve_jax.training.augment import make_augment
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.scalars import Sections, fill_in
from nerve_jax.training.step import Batch

Pixels = Float[Array, "batch height width 1"]


@dataclass(frozen=True)
class Inpainting:
    """Guessing what is under hidden patches, as a `Task`.

    The score "explained" is the share of the variance within hidden patches that is
    guessed right, at most 1; guessing the mean of each patch gives 0.

    Attributes:
      apply: of `create_model`.
      examples: the data set.
      sections: sections of the configuration, of which "augment" is read; frames are
        augmented as for segmentation, but not mixed.
      patch_px: side of a patch.
      hidden_share: of the patches.
      batch_size: frames at a time while scoring.
      begin: see `Task`.
    """

    apply: Callable
    examples: Examples
    sections: Sections
    patch_px: int
    hidden_share: float
    batch_size: int
    begin: Callable[[Fold, Params], Params]
    measure: ClassVar[str] = "explained"

    def loss(self, params: Params, state: TrainState, batch: Batch, keys):
        """See `Task.loss`: the error under hidden patches. Masks are not looked at."""
        strengths = fill_in(self.sections, state.scalars)["augment"]
        augment = make_augment(**strengths | {"cutmix_prob": 0.0})
        augment_keys, hide_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        images = augment(batch, augment_keys).images
        visible = draw_visible(
            hide_keys, images.shape[1:3], self.patch_px, self.hidden_share
        )
        guesses = guess(self.apply, params, images, visible)
        return compute_squared_error(guesses, images, visible, self.patch_px)

    def score(self, predict: Callable, fold: Fold, step: int, params: Params):
        """The share explained in the fold's validation frames."""
        del predict, step
        mesh = devices.create_local_mesh()
        if jax.process_count() > 1:
            params = devices.bring_home(params, devices.replicated(mesh))
        batch_size = devices.round_up(self.batch_size, mesh)

        def measure_part(rows: np.ndarray) -> np.ndarray:
            chosen, errors = fold.val[rows], []
            for places, real in padded_batches(len(chosen), batch_size):
                images = np.asarray(self.examples.images[chosen[places]])
                numbers = chosen[places].astype(np.uint32)
                found = self._compute_errors(params, images, numbers)
                errors.append(np.asarray(found)[real])
            return np.concatenate([np.zeros((0, 2), np.float32), *errors])

        error, nothing = processes.share_out(measure_part, len(fold.val)).sum(0)
        return {"explained": float(1 - error / nothing)}

    def export(self, predict: Callable, fold: Fold, params: Params):
        """Nothing: the weights are in the last checkpoint."""
        del predict, fold, params
        return {}

    @cached_property
    def _compute_errors(self) -> Callable:
        """Compiled (params, images, numbers) -> errors of guesses, and of 0: [batch 2]."""
        mesh = devices.create_local_mesh()
        by_frame = devices.split_frames(mesh)

        def compute_errors(params, images, numbers):
            images = images.astype(jnp.float32)[..., None] / 255.0
            # A frame is always hidden alike, so that scores of two steps can be compared.
            keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), numbers)
            visible = draw_visible(
                keys, images.shape[1:3], self.patch_px, self.hidden_share
            )
            guesses = guess(self.apply, params, images, visible)
            both = (guesses, 0 * guesses)
            return jnp.stack(
                [
                    compute_squared_error(each, images, visible, self.patch_px)
                    for each in both
                ],
                axis=-1,
            )

        return jax.jit(
            compute_errors,
            in_shardings=(devices.replicated(mesh), by_frame, by_frame),
            out_shardings=by_frame,
        )


def guess(apply: Callable, params: Params, images: Pixels, visible: Pixels) -> Pixels:
    """What the net takes hidden pixels for; its head begins at 0 here, not at 5 %."""
    return apply(params, images, visible=visible).logits[..., :1] - INITIAL_LOGIT


def check_patches(
    image_size: tuple[int, int], *, patch_px: int, hidden_share: float, cell_px: int
) -> None:
    """Raise `InputError` unless frames divide into patches of which some are hidden.

    `cell_px` is the side of the net's coarsest cells, of which none may be half hidden.
    """
    if patch_px < 1 or any(size % patch_px for size in image_size):
        raise InputError(
            f"pretrain.patch_px={patch_px} does not divide data.image_size={image_size}"
        )
    if patch_px % cell_px:
        raise InputError(
            f"pretrain.patch_px={patch_px} is no multiple of {cell_px}, the side of the "
            "coarsest cells (stem_stride times 2 for every level but the first)"
        )
    count = image_size[0] * image_size[1] // patch_px**2
    if not 1 <= round(hidden_share * count) < count:
        raise InputError(
            f"pretrain.hidden_share={hidden_share}: of {count} patches at least one must be hidden, and "
            "one seen"
        )


def draw_visible(
    keys, image_size: tuple[int, int], patch_px: int, share: float
) -> Pixels:
    """Hide random patches, the same number of each frame: 0 where hidden, else 1.

    Args:
      keys: one per frame.
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


def normalise_patches(images: Pixels, patch_px: int) -> Pixels:
    """Bring each patch to zero mean and unit deviation; a flat one becomes 0."""
    patches = space_to_depth(images, patch_px)
    mean = patches.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(patches - mean).mean(-1, keepdims=True))
    mean, deviation = (repeat_pixels(x, patch_px) for x in (mean, deviation))
    return (images - mean) / (deviation + 0.01)


def compute_squared_error(
    guesses: Pixels, images: Pixels, visible: Pixels, patch_px: int
) -> Float[Array, " batch"]:
    """Mean squared error over hidden pixels of each frame, in units of the patches.

    Guessing the mean of every patch, 0, gives 1 or, where patches are all but flat,
    less.
    """
    error = jnp.square(guesses - normalise_patches(images, patch_px))
    hidden = 1.0 - visible
    return (error * hidden).sum((1, 2, 3)) / hidden.sum((1, 2, 3))
