"""Where batches come from: frames that lie on every device, or the prepared records."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, UInt8

from nerve_jax.data import streaming
from nerve_jax.data.batches import Frames, batch_positions
from nerve_jax.data.examples import Examples
from nerve_jax.model.ops import LANES
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices
from nerve_jax.system.console import say


class Packed(NamedTuple):
    """Frames of a data set, the pixels of each side by side: see `pack` and `Frames`.

    A TPU lays out an array so that little of it is padding. Frames of 208x288 px would lie
    with one pixel of all frames side by side, and be copied whole to pick a batch; so would
    masks with an axis of structures, whose rows stand one structure after another instead.
    """

    images: UInt8[Array, "frames rows lanes"]
    masks: UInt8[Array, "frames all_rows lanes"]
    labelled: Bool[Array, "frames structures"]


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
      frames: of `put_frames`; their shapes will do to compile for them.
      image_size: height and width of frames.
      mesh: of `devices.create_mesh`.
      batch_size: frames per step and fold, over all devices.
      seed: of the run.
    """

    def __init__(
        self,
        frames: Packed,
        image_size: tuple[int, int],
        mesh: Mesh,
        batch_size: int,
        seed: int,
    ):
        self.frames, self.image_size = frames, image_size
        self.mesh, self.batch_size, self.seed = mesh, batch_size, seed

    def pick(self, frames: Packed, row: Int[Array, " batch"]) -> Frames:
        """The batch of a step; runs inside the compiled program."""
        images, masks, labelled = (part[row] for part in frames)
        by_structure = masks.reshape(*labelled.shape, -1, LANES)
        images, masks = (unpack(x, self.image_size) for x in (images, by_structure))
        return Frames(images, masks, labelled)

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

    Methods and batches are those of `ResidentFeed`.

    Args:
      examples: the data set; None will do to compile for it.
      shape: structures, height and width of its masks at training size.
      mesh, batch_size, seed: as for `ResidentFeed`.
      num_workers: as of `open_streams`.
    """

    frames = ()

    def __init__(
        self,
        examples: Examples | None,
        shape: tuple[int, int, int],
        mesh: Mesh,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
    ):
        self.examples, self.mask_shape, self.mesh = examples, shape, mesh
        self.num_workers = num_workers
        self.batch_size, self.seed = batch_size, seed

    @staticmethod
    def pick(frames: tuple[()], row: Frames) -> Frames:
        """The batch of a step: what was streamed."""
        del frames
        return row

    def shape(self, count: int) -> Frames:
        """Shapes of the rows of `count` steps for all folds that train together."""
        rows = (self.mesh.shape["fold"], count, self.batch_size)
        structures, *image_size = self.mask_shape
        return Frames(
            jax.ShapeDtypeStruct((*rows, *image_size), np.uint8),
            jax.ShapeDtypeStruct((*rows, *self.mask_shape), np.uint8),
            jax.ShapeDtypeStruct((*rows, structures), np.bool_),
        )

    def open(self, folds: Sequence[Fold]) -> Stream:
        """The batches of folds; rows are `Frames` with an axis of folds in front."""
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
    frames = examples.training_frames
    shape = frames.masks.shape
    size_gb, streamed = is_streamed(shape, max_resident_gb)
    how = "streamed from the records" if streamed else "held on every device"
    say(
        f"{len(examples)} frames, {size_gb:.2f} GB at training size, are {how} "
        f"(data.max_resident_gb={max_resident_gb:g})"
    )
    if streamed:
        return StreamedFeed(examples, shape[1:], mesh, batch_size, seed, num_workers)
    return ResidentFeed(put_frames(frames, mesh), shape[2:], mesh, batch_size, seed)


def describe_feed(
    shape: tuple[int, int, int, int],
    mesh: Mesh,
    *,
    batch_size: int,
    max_resident_gb: float,
) -> Feed:
    """The feed that `create_feed` gives: to compile, not to open.

    Args:
      shape: of masks, [frames structures height width].
      mesh, batch_size, max_resident_gb: as for `create_feed`.
    """
    if is_streamed(shape, max_resident_gb)[1]:
        return StreamedFeed(None, shape[1:], mesh, batch_size, seed=0)
    (frames, structures), image_size = shape[:2], shape[2:]
    rows = -(-image_size[0] * image_size[1] // LANES)
    described = Packed(
        jax.ShapeDtypeStruct((frames, rows, LANES), np.uint8),
        jax.ShapeDtypeStruct((frames, structures * rows, LANES), np.uint8),
        jax.ShapeDtypeStruct((frames, structures), np.bool_),
    )
    return ResidentFeed(described, image_size, mesh, batch_size, seed=0)


def is_streamed(
    shape: tuple[int, int, int, int], max_resident_gb: float
) -> tuple[float, bool]:
    """What frames and masks take in GB, and whether that is too much.

    Args:
      shape: of masks, [frames structures height width].
      max_resident_gb: that may be held.
    """
    frames, structures, *image_size = map(float, shape)
    size_gb = frames * (1 + structures) * float(np.prod(image_size)) / 1e9
    return size_gb, size_gb > max_resident_gb


def put_frames(frames: Frames, mesh: Mesh) -> Packed:
    """The frames of a data set on every device of a mesh."""
    masks = pack(frames.masks).reshape(len(frames.masks), -1, LANES)
    resident = Packed(pack(frames.images), masks, frames.labelled)
    return devices.put(resident, devices.replicated(mesh))


def pack(
    frames: UInt8[np.ndarray, "*frames height width"],
) -> UInt8[np.ndarray, "*frames rows lanes"]:
    """Fold the pixels of each frame into rows of `LANES`, the last one filled with 0."""
    *counts, height, width = frames.shape
    flat = np.reshape(frames, (*counts, height * width))
    missing = -flat.shape[-1] % LANES
    if missing:
        flat = np.pad(flat, [(0, 0)] * len(counts) + [(0, missing)])
    return flat.reshape(*counts, -1, LANES)


def unpack(
    packed: UInt8[Array, "*frames rows lanes"], image_size: tuple[int, int]
) -> UInt8[Array, "*frames height width"]:
    """Undo `pack`."""
    counts, size = packed.shape[:-2], image_size[0] * image_size[1]
    return packed.reshape(*counts, -1)[..., :size].reshape(*counts, *image_size)


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
