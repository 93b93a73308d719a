"""Which frame is in which batch: a function of (seed, fold, step), never a state."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int, UInt8


class Frames(NamedTuple):
    """Frames of a data set, or of a batch.

    Attributes:
      images: grey values, 0 to 255.
      masks: share of each pixel that is a structure, 0 to 255.
      labelled: for which structures each frame is labelled.
    """

    images: UInt8[Array, "frames height width"]
    masks: UInt8[Array, "frames structures height width"]
    labelled: Bool[Array, "frames structures"]


def batch_positions(
    step: int, *, batch_size: int, num_frames: int, seed: int, fold: int
) -> Int[np.ndarray, " batch"]:
    """Positions in [0, num_frames) of the frames of a training batch.

    Every epoch is a new random order of all frames; batches run on from one epoch into
    the next, so that none is dropped and any batch size works.

    Args:
      step: counted from 0.
      batch_size: at least 1.
      num_frames: frames in the training part of the fold, at least 1.
      seed: of the run.
      fold: number of the fold.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, within = np.divmod(places, num_frames)
    order_of = _open_orders(num_frames, seed, fold)
    positions = np.empty(batch_size, np.int32)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        there = epochs == epoch
        positions[there] = order_of(epoch)[within[there]]
    return positions


@functools.cache
def _open_orders(num_frames: int, seed: int, fold: int):
    """Return `order_of(epoch)` of one fold, which keeps the two latest that were asked.

    A batch lies in one epoch or, if it is no larger than one, in two. Each fold keeps
    its own, so that however many train together do not drive out each other's.
    """

    @functools.lru_cache(maxsize=2)
    def order_of(epoch: int) -> Int[np.ndarray, " frames"]:
        return np.random.default_rng([seed, fold, epoch]).permutation(num_frames)

    return order_of


def padded_batches(
    num_frames: int, batch_size: int
) -> Iterator[tuple[Int[np.ndarray, " batch"], Bool[np.ndarray, " batch"]]]:
    """Yield positions in order, in batches of one size, and which of them are real.

    The last batch is filled up with the last frame; its copies are marked False.
    """
    for start in range(0, num_frames, batch_size):
        places = np.arange(start, start + batch_size, dtype=np.int32)
        yield np.minimum(places, num_frames - 1), places < num_frames
