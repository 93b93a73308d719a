"""Losses of segmentation, one value per frame and structure, in float32.

Overlap losses are smoothed by a share of the frame's pixels: with the usual smoothing of
one pixel a frame without nerve costs nearly 1 whatever is predicted and so teaches
nothing; smoothed by more its cost falls towards 0 as the predicted area does.

How much more matters. Where little is predicted yet, a frame without nerve pushes each
pixel down by 1 / s, and one with a nerve of n pixels pushes its own up by about 2 / n. If
s is smaller than n, frames without nerve win, and a net may stay with predicting nothing:
so they are smoothed by `EMPTY_SMOOTHING`, which is more than a nerve's share of a frame.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from nerve_jax.model.unet import Outputs
from nerve_jax.system.errors import InputError
from nerve_jax.training.scalars import Scalar, is_on

SMOOTHING, EMPTY_SMOOTHING = 0.003, 0.1  # of frames with and without nerve
# Of one structure: each has its own loss.
Logits = Float[Array, "batch height width 1"]
Masks = Float[Array, "batch height width 1"]
PerFrame = Float[Array, " batch"]


def compute_binary_cross_entropy(logits: Logits, masks: Masks) -> PerFrame:
    """Mean over pixels of -y log p - (1 - y) log(1 - p); y may lie between 0 and 1."""
    return optax.losses.sigmoid_binary_cross_entropy(logits, masks).mean((1, 2, 3))


def compute_soft_dice_loss(
    logits: Logits,
    masks: Masks,
    smoothing: float = SMOOTHING,
    empty_smoothing: float = EMPTY_SMOOTHING,
) -> PerFrame:
    """One minus the soft Dice of probabilities p and truth y (Milletari et al. 2016).

    1 - (2 sum(p y) + s) / (sum(p) + sum(y) + s), where s is `smoothing` times the
    number of pixels, `empty_smoothing` times where the truth is empty. In [0, 1]; for an
    empty truth sum(p) / (sum(p) + s): 0 when nothing is predicted, 1/2 when s pixels are.
    """
    probs = jax.nn.sigmoid(logits)
    smooth_px = _count_smooth_px(masks, smoothing, empty_smoothing)
    overlap = (probs * masks).sum((1, 2, 3))
    total = probs.sum((1, 2, 3)) + masks.sum((1, 2, 3))
    return 1.0 - (2.0 * overlap + smooth_px) / (total + smooth_px)


def compute_focal_tversky_loss(
    logits: Logits,
    masks: Masks,
    smoothing: float = SMOOTHING,
    empty_smoothing: float = EMPTY_SMOOTHING,
    miss_weight: float = 0.7,
    gamma: float = 0.75,
) -> PerFrame:
    """(1 - T)^gamma with the Tversky index T (Abraham & Khan 2018, arXiv:1810.07842).

    T = (TP + s) / (TP + a FN + (1 - a) FP + s) from soft counts, a = `miss_weight`, s as
    in `compute_soft_dice_loss`. In [0, 1]; near 0 for an empty truth when nothing is
    predicted. 1 - T is kept above 1e-6, where the power's slope has no bound.
    """
    probs = jax.nn.sigmoid(logits)
    smooth_px = _count_smooth_px(masks, smoothing, empty_smoothing)
    hit = (probs * masks).sum((1, 2, 3))
    missed = ((1.0 - probs) * masks).sum((1, 2, 3))
    false = (probs * (1.0 - masks)).sum((1, 2, 3))
    wrong = miss_weight * missed + (1.0 - miss_weight) * false
    return jnp.maximum(wrong / (hit + wrong + smooth_px), 1e-6) ** gamma


def is_present(masks: Masks) -> Bool[Array, " batch"]:
    """Whether at least half a pixel of each frame is the structure."""
    return masks.max((1, 2, 3)) >= 0.5


def _count_smooth_px(masks: Masks, smoothing: float, empty_smoothing: float):
    share = jnp.where(is_present(masks), smoothing, empty_smoothing)
    return share * (masks.shape[1] * masks.shape[2])


def _bce_dice(logits: Logits, masks: Masks) -> PerFrame:
    bce = compute_binary_cross_entropy(logits, masks)
    return bce + compute_soft_dice_loss(logits, masks)


LOSSES: dict[str, Callable[[Logits, Masks], PerFrame]] = {
    "bce_dice": _bce_dice,
    "focal_tversky": compute_focal_tversky_loss,
}


def make_loss(
    name: str,
    *,
    presence_weight: Scalar,
    coarse_weight: Scalar,
    structure_weights: Sequence[float] = (1.0,),
) -> Callable[..., PerFrame]:
    """Return `loss(outputs, masks, labelled)` of a model's whole output, per frame.

    Masks are [batch height width structures], labelled [batch structures]. The loss is the mean over structures, where one that a frame is not labelled for counts 0.

    Args:
      name: of the pixel loss, a key of `LOSSES`.
      presence_weight: of the presence head's cross-entropy, if there is a head. A frame
        counts as holding a structure as `is_present` says.
      coarse_weight: of all coarser levels together, if there are any.
      structure_weights: of each structure in the mean, of any scale; one for all of them
        weighs them alike.

    Raises:
      InputError: a name that is not there, or weights that are negative or all 0.
    """
    if name not in LOSSES:
        raise InputError(f"loss.name={name!r} is not one of: {', '.join(LOSSES)}")
    weights = tuple(structure_weights)
    if not any(weights) or min(weights) < 0:
        raise InputError(
            f"loss.structure_weights={weights}: none may be below 0, and not all 0"
        )
    pixel_loss = LOSSES[name]

    def loss_of_one(outputs: Outputs, masks: Masks) -> PerFrame:
        total = pixel_loss(outputs.logits, masks)
        if outputs.presence_logits is not None and is_on(presence_weight):
            present = is_present(masks).astype(jnp.float32)
            total += presence_weight * optax.losses.sigmoid_binary_cross_entropy(
                outputs.presence_logits[:, 0], present
            )
        for logits in outputs.coarse_logits if is_on(coarse_weight) else ():
            share = coarse_weight / len(outputs.coarse_logits)
            total += share * pixel_loss(logits, masks)
        return total

    def loss(
        outputs: Outputs,
        masks: Float[Array, "batch height width structures"],
        labelled: Bool[Array, "batch structures"],
    ) -> PerFrame:
        def loss_of(place: int) -> PerFrame:
            """That of one structure by itself."""
            own = slice(place, place + 1)
            one = jax.tree.map(lambda logits: logits[..., own], outputs)
            return loss_of_one(one, masks[..., own])

        each = jnp.stack([loss_of(place) for place in range(masks.shape[-1])], 1)
        weight = jnp.broadcast_to(jnp.array([weights], jnp.float32), (1, each.shape[1]))
        known = labelled.astype(jnp.float32) * (weight / weight.sum())
        return (each * known).sum(1)

    return loss
