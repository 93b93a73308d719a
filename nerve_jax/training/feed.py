"""Where batches come from: frames that lie on every device, or the prepared records."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int

from nerve_jax.data import streaming
from nerve_jax.data.batches import Frames, batch_positions
from nerve_jax.data.examples import Examples
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices
from nerve_jax.system.console import say


class Stream(NamedTuple):
    """What folds that train together are trained on.

    Attributes:
      keys: of each fold, from which all its randomness comes; [folds], on the devices.
      next_rows: step -> its rows for all folds, as far as this process needs them.
    """

    keys: Array
    next_rows: Callable[[int], Any]


class ResidentFeed:
    """Frames that lie on every device; a row holds the positions of a batch.

    Which frame is in which batch is a function of (seed, fold, step).

    Args:
      examples: the data set.
      mesh: of `devices.create_mesh`.
      batch_size: frames per step and fold, over all devices.
      seed: of the run.

    Attributes:
      frames: on every device.
    """

    def __init__(self, examples: Examples, mesh: Mesh, batch_size: int, seed: int):
        resident = Frames(examples.images, examples.masks)
        self.frames = devices.put(resident, devices.replicated(mesh))
        self.mesh, self.batch_size, self.seed = mesh, batch_size, seed

    @staticmethod
    def pick(frames: Frames, row: Int[Array, " batch"]) -> Frames:
        """The batch of a step; runs inside the compiled program."""
        return Frames(frames.images[row], frames.masks[row])

    def shape(self, count: int) -> jax.ShapeDtypeStruct:
        """Shape of the rows of `count` steps for all folds that train together."""
        folds = self.mesh.shape["fold"]
        return jax.ShapeDtypeStruct((folds, count, self.batch_size), np.int32)

    def open(self, folds: Sequence[Fold]) -> Stream:
        """The batches of folds; rows are int32 [folds batch]."""
        own_folds, own_frames = devices.find_own_rows(self.mesh, self.batch_size)

        def next_rows(step: int):
            rows = []
            for fold in (folds[place] for place in own_folds):
                positions = batch_positions(
                    step,
                    batch_size=self.batch_size,
                    num_frames=len(fold.train),
                    seed=self.seed,
                    fold=fold.number,
                )
                rows.append(fold.train[positions[own_frames]])
            return np.stack(rows).astype(np.int32)

        return Stream(make_keys(folds, self.mesh, self.seed), next_rows)


class StreamedFeed:
    """Frames read from the records while training; a row is the batch itself.

    Arguments, methods and batches are those of `ResidentFeed`; `num_workers` as of
    `open_streams`.
    """

    frames = ()

    def __init__(
        self,
        examples: Examples,
        mesh: Mesh,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
    ):
        self.examples, self.mesh, self.num_workers = examples, mesh, num_workers
        self.batch_size, self.seed = batch_size, seed

    @staticmethod
    def pick(frames: tuple[()], row: Frames) -> Frames:
        """The batch of a step: what was streamed."""
        del frames
        return row

    def shape(self, count: int) -> Frames:
        """Shapes of the rows of `count` steps for all folds that train together."""
        size = self.examples.images.shape[1:]
        shape = (self.mesh.shape["fold"], count, self.batch_size, *size)
        return Frames(*[jax.ShapeDtypeStruct(shape, np.uint8)] * 2)

    def open(self, folds: Sequence[Fold]) -> Stream:
        """The batches of folds; rows are `Frames`, uint8 [folds batch height width]."""
        next_rows = streaming.open_streams(
            [fold.number for fold in folds],
            [fold.train for fold in folds],
            examples=self.examples,
            mesh=self.mesh,
            batch_size=self.batch_size,
            seed=self.seed,
            num_workers=self.num_workers,
        )
        return Stream(make_keys(folds, self.mesh, self.seed), next_rows)


Feed = ResidentFeed | StreamedFeed


def create_feed(
    examples: Examples,
    mesh: Mesh,
    *,
    batch_size: int,
    seed: int,
    max_resident_gb: float,
    num_workers: int = 0,
) -> Feed:
    """Put the frames on the devices or, if they are too large, stream them."""
    size_gb = (examples.images.nbytes + examples.masks.nbytes) / 1e9
    streamed = size_gb > max_resident_gb
    how = "streamed from the records" if streamed else "held on every device"
    say(
        f"{len(examples)} frames, {size_gb:.2f} GB at training size, are {how} "
        f"(data.max_resident_gb={max_resident_gb:g})"
    )
    if streamed:
        return StreamedFeed(examples, mesh, batch_size, seed, num_workers)
    return ResidentFeed(examples, mesh, batch_size, seed)


def make_keys(folds: Sequence[Fold], mesh: Mesh, seed: int) -> Array:
    """The key of each fold, a function of (seed, its number), on the fold's devices."""
    numbers = np.array([fold.number for fold in folds], np.uint32)
    return _compile_fold_in(mesh)(jax.random.key(seed), numbers)


@functools.cache
def _compile_fold_in(mesh: Mesh) -> Callable:
    return jax.jit(
        jax.vmap(jax.random.fold_in, (None, 0)),
        out_shardings=devices.split_folds(mesh),
    )
