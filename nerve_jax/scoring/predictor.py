"""From frames to probabilities: members and mirror images averaged, on all devices."""

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from nerve_jax.data.batches import padded_batches
from nerve_jax.model.unet import Params
from nerve_jax.system import devices, processes

Probs = Float[np.ndarray, "frames height width"]
PresenceProbs = Float[np.ndarray, " frames"]


def make_predict_batch(apply: Callable) -> Callable:
    """Return `predict_batch(params, images uint8 [b h w]) -> (probs, presence_probs)`.

    Both float32, [batch height width] and [batch]. Without a presence head the largest
    probability of a pixel stands for presence.
    """

    def predict_batch(params: Params, images: UInt8[Array, "batch height width"]):
        outputs = apply(params, images.astype(jnp.float32)[..., None] / 255.0)
        probs = jax.nn.sigmoid(outputs.logits[..., 0])
        if outputs.presence_logits is None:
            return probs, probs.max((1, 2))
        return probs, jax.nn.sigmoid(outputs.presence_logits)

    return predict_batch


def predict_probs(
    predict_batch: Callable,
    members: Sequence[Params],
    images: UInt8[np.ndarray, "frames height width"],
    *,
    batch_size: int,
    flips: bool,
) -> tuple[Probs, PresenceProbs]:
    """Predict frames with every member and average.

    Args:
      predict_batch: compiled `make_predict_batch`.
      members: parameters of one fold or more.
      images: at training size.
      batch_size: frames at a time; the last batch is filled up.
      flips: average over each frame and its mirror image, left for right.

    Returns:
      Probabilities of nerve at training size and of presence, float32.
    """
    probs = np.zeros(images.shape, np.float32)
    presence = np.zeros(len(images), np.float32)
    ways = (1, -1) if flips else (1,)
    share = 1 / (len(members) * len(ways))
    for params, way in itertools.product(members, ways):
        for places, real in padded_batches(len(images), batch_size):
            batch = predict_batch(
                params, np.ascontiguousarray(images[places, :, ::way])
            )
            found, found_presence = jax.device_get(batch)
            probs[places[real]] += found[real][..., ::way] * share
            presence[places[real]] += found_presence[real] * share
    return probs, presence


def create_predictor(apply: Callable, *, batch_size: int, flips: bool) -> Callable:
    """Return `predict(members, images) -> (probs, presence_probs)`: see `predict_probs`.

    The returned function takes `flips=` too, to override the one given here. Each of
    several processes predicts a part of the frames on its own devices, and all get the
    whole.

    Args:
      apply: of `create_model`.
      batch_size: frames at a time over all processes; rounded up so that all devices
        get equally many.
      flips: average over each frame and its mirror image.
    """
    mesh = devices.create_local_mesh()
    everywhere, by_frame = devices.replicated(mesh), devices.split_frames(mesh)
    compiled = jax.jit(
        make_predict_batch(apply),
        in_shardings=(everywhere, by_frame),
        out_shardings=by_frame,
    )

    def predict_batch(params, images):
        return compiled(params, jax.device_put(images, by_frame))

    predict_part = functools.partial(
        predict_probs,
        predict_batch,
        batch_size=devices.round_up(-(-batch_size // jax.process_count()), mesh),
        flips=flips,
    )

    def predict(members, images, **options):
        if jax.process_count() == 1:
            return predict_part(members, images, **options)
        members = [devices.bring_home(params, everywhere) for params in members]
        return processes.share_out(
            lambda rows: predict_part(members, images[rows], **options), len(images)
        )

    return predict
