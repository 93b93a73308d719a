"""From frames to probabilities: members and mirror images averaged, on all devices."""

import functools
import itertools
from collections import deque
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

Probs = Float[np.ndarray, "frames structures height width"]
PresenceProbs = Float[np.ndarray, "frames structures"]

BATCHES_AHEAD = 2  # handed to the devices before the oldest one is fetched
# Training holds the activations of all layers, prediction those of a few.
BATCHES_IN_ONE = 4  # of training, on accelerators; larger ones are no faster on a CPU


def make_predict_batch(apply: Callable, dtype=jnp.float32) -> Callable:
    """Return `predict_batch(params, images uint8 [b h w]) -> (probs, presence_probs)`.

    Of shapes [batch structures height width], in `dtype`, and [batch structures],
    float32. Without a presence head the largest probability of a pixel, in float32,
    stands for presence.
    """

    def predict_batch(params: Params, images: UInt8[Array, "batch height width"]):
        outputs = apply(params, images.astype(jnp.float32)[..., None] / 255.0)
        probs = jax.nn.sigmoid(jnp.moveaxis(outputs.logits, -1, 1))
        if outputs.presence_logits is None:
            return probs.astype(dtype), probs.max((2, 3))
        return probs.astype(dtype), jax.nn.sigmoid(outputs.presence_logits)

    return predict_batch


def jit_predict_batch(apply: Callable, mesh: Mesh, dtype) -> Callable:
    """`make_predict_batch`, frames shared out over all devices of a mesh."""
    by_frame = devices.split_frames(mesh)
    return jax.jit(
        make_predict_batch(apply, dtype),
        in_shardings=(devices.replicated(mesh), by_frame),
        out_shardings=by_frame,
    )


class Views(NamedTuple):
    """What members say of frames and of their mirror images, before they are averaged.

    Attributes:
      probs: of each structure at training size; of each member in turn, the frame's and,
        if asked for, its mirror image's, mirrored back.
      presence_probs: that it is in the frame.
    """

    probs: Float[np.ndarray, "frames views structures height width"]
    presence_probs: Float[np.ndarray, "frames views structures"]

    def choose(self, views: Sequence[int]) -> "Views":
        """Some of the views, by number."""
        return Views(self.probs[:, views], self.presence_probs[:, views])


def average(views: Views) -> tuple[Probs, PresenceProbs]:
    """Average views: probabilities of pixels, float16, and of presence, float32.

    Folds keep their predictions in float16, so every probability is rounded to it here,
    whatever then becomes of it: a decision is the same while training, evaluating and
    predicting. A single view may have been rounded before: it stays as it is.
    """
    if views.probs.shape[1] == 1:
        return views.probs[:, 0].astype(np.float16), views.presence_probs[:, 0]
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
    use: Callable | None = None,
):
    """Predict frames with every member.

    The devices work on the next batches while one is fetched, reduced and used.

    Args:
      predict_batch: compiled `make_predict_batch`.
      members: parameters of one fold or more.
      images: at training size, at least one.
      batch_size: frames at a time; the last batch is filled up.
      flips: predict each frame's mirror image too, left for right.
      reduce: `average` or `keep`.
      use: (rows, *what `reduce` makes of their views) -> a tree of arrays with an entry
        for each row, which is kept in their place; None keeps these.

    Returns:
      What is kept of all frames; float32 of the views of `batch_size` frames at a time.
    """
    ways = (1, -1) if flips else (1,)
    views = list(itertools.product(members, ways))
    pending: deque = deque()
    parts = []

    def collect() -> None:
        rows, seen = pending.popleft()
        count, seen = len(rows), jax.device_get(seen)
        probs = [p[:count, ..., ::way] for (_, way), (p, _) in zip(views, seen)]
        reduced = reduce(
            Views(np.stack(probs, 1), np.stack([p[:count] for _, p in seen], 1))
        )
        parts.append(use(rows, *reduced) if use else reduced)

    for places, real in padded_batches(len(images), batch_size):
        seen = [
            predict_batch(params, np.ascontiguousarray(images[places, :, ::way]))
            for params, way in views
        ]
        pending.append((places[real], seen))
        if len(pending) > BATCHES_AHEAD:
            collect()
    while pending:
        collect()
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def choose_batch_size(
    batch_size: int, num_frames: int, mesh: Mesh, num_processes: int
) -> int:
    """How many frames each process predicts at a time.

    On an accelerator several batches of training make one, if there are frames to fill it.

    Args:
      batch_size: of training, over all processes.
      num_frames: to be predicted by all processes.
      mesh: of the devices of one process, all of which get equally many.
      num_processes: how many there are.
    """
    size = devices.round_up(-(-batch_size // num_processes), mesh)
    larger = size * BATCHES_IN_ONE
    on_cpu = devices.get_platform(mesh) == "cpu"
    fills = -(-num_frames // num_processes) >= larger
    return larger if fills and not on_cpu else size


def choose_dtype(num_views: int, reduce: Callable = average):
    """In which type probabilities come home from a device.

    The average of a single view is that view, rounded: half the bytes.
    """
    return jnp.float16 if reduce is average and num_views == 1 else jnp.float32


def create_predictor(
    apply: Callable, *, batch_size: int, flips: bool, reduce: Callable = average
) -> Callable:
    """Return `predict(members, images, use=None)`: see `predict_probs`.

    Each of several processes predicts a part of the frames on its own devices, and uses
    that; all get the whole.

    Args:
      apply: of `create_model`.
      batch_size: of training: see `choose_batch_size`.
      flips: predict each frame's mirror image too.
      reduce: `average` or `keep`.
    """
    mesh = devices.create_local_mesh()
    everywhere, by_frame = devices.replicated(mesh), devices.split_frames(mesh)

    @functools.cache
    def compile_to(dtype) -> Callable:
        compiled = jit_predict_batch(apply, mesh, dtype)
        return lambda params, images: compiled(params, jax.device_put(images, by_frame))

    def predict(members, images, use: Callable | None = None):
        count = jax.process_count()
        predict_part = functools.partial(
            predict_probs,
            compile_to(choose_dtype(len(members) * (1 + flips), reduce)),
            batch_size=choose_batch_size(batch_size, len(images), mesh, count),
            flips=flips,
            reduce=reduce,
        )
        if count == 1:
            return predict_part(members, images, use=use)
        members = [devices.bring_home(params, everywhere) for params in members]

        def work(own):
            use_own = use and (lambda rows, *found: use(own[rows], *found))
            return predict_part(members, images[own], use=use_own)

        return processes.share_out(work, len(images))

    return predict
