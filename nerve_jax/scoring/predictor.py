"""From frames to probabilities: members and mirror images averaged, on all devices."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
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


def jit_predict_batch(apply: Callable, mesh: Mesh) -> Callable:
    """`make_predict_batch`, frames shared out over all devices of a mesh."""
    by_frame = devices.split_frames(mesh)
    return jax.jit(
        make_predict_batch(apply),
        in_shardings=(devices.replicated(mesh), by_frame),
        out_shardings=by_frame,
    )


class Views(NamedTuple):
    """What members say of frames and of their mirror images, before they are averaged.

    Attributes:
      probs: of nerve at training size; of each member in turn, the frame's and, if asked
        for, its mirror image's, mirrored back.
      presence_probs: that there is a nerve.
    """

    probs: Float[np.ndarray, "frames views height width"]
    presence_probs: Float[np.ndarray, "frames views"]

    def choose(self, views: Sequence[int]) -> "Views":
        """Some of the views, by number."""
        return Views(self.probs[:, views], self.presence_probs[:, views])


def average(views: Views) -> tuple[Probs, PresenceProbs]:
    """Average views: probabilities of nerve, float16, and of presence, float32.

    Folds keep their predictions in float16, so every probability is rounded to it here,
    whatever then becomes of it: a decision is the same while training, evaluating and
    predicting.
    """
    probs, presence = (part.mean(1, dtype=np.float32) for part in views)
    return probs.astype(np.float16), presence


def keep(views: Views) -> Views:
    """All views."""
    return views


def predict_probs(
    predict_batch: Callable,
    members: Sequence[Params],
    images: UInt8[np.ndarray, "frames height width"],
    *,
    batch_size: int,
    flips: bool,
    reduce: Callable = average,
):
    """Predict frames with every member.

    Args:
      predict_batch: compiled `make_predict_batch`.
      members: parameters of one fold or more.
      images: at training size, at least one.
      batch_size: frames at a time; the last batch is filled up.
      flips: predict each frame's mirror image too, left for right.
      reduce: `average` or `keep`.

    Returns:
      What `reduce` makes of the views of all frames; float32 is kept of `batch_size`
      frames at a time.
    """

    def look(params: Params, way: int, places, real):
        batch = np.ascontiguousarray(images[places, :, ::way])
        probs, presence = jax.device_get(predict_batch(params, batch))
        return probs[real][..., ::way], presence[real]

    ways = (1, -1) if flips else (1,)
    parts = []
    for batch in padded_batches(len(images), batch_size):
        seen = [look(*view, *batch) for view in itertools.product(members, ways)]
        probs, presence = (np.stack(part, 1) for part in zip(*seen, strict=True))
        parts.append(reduce(Views(probs, presence)))
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def create_predictor(
    apply: Callable, *, batch_size: int, flips: bool, reduce: Callable = average
) -> Callable:
    """Return `predict(members, images)`: see `predict_probs`.

    Each of several processes predicts a part of the frames on its own devices, and all
    get the whole.

    Args:
      apply: of `create_model`.
      batch_size: frames at a time over all processes; rounded up so that all devices
        get equally many.
      flips: predict each frame's mirror image too.
      reduce: `average` or `keep`.
    """
    mesh = devices.create_local_mesh()
    everywhere, by_frame = devices.replicated(mesh), devices.split_frames(mesh)
    compiled = jit_predict_batch(apply, mesh)

    def predict_batch(params, images):
        return compiled(params, jax.device_put(images, by_frame))

    predict_part = functools.partial(
        predict_probs,
        predict_batch,
        batch_size=devices.round_up(-(-batch_size // jax.process_count()), mesh),
        flips=flips,
        reduce=reduce,
    )

    def predict(members, images):
        if jax.process_count() == 1:
            return predict_part(members, images)
        members = [devices.bring_home(params, everywhere) for params in members]
        return processes.share_out(
            lambda rows: predict_part(members, images[rows]), len(images)
        )

    return predict
