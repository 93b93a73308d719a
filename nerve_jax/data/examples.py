"""All frames of a data set in memory: resized once for training, truth kept whole."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nerve_jax.data import rle
from nerve_jax.data.frames import PLAIN, Storage


@dataclasses.dataclass(frozen=True)
class Examples:
    """Frames of one split, in order of their ids.

    Attributes:
      images: grey values at training size.
      thumbnails: grey values at one small size whatever the training size, by which
        frames are compared.
      masks: share of each pixel that is nerve, 0 to 255; 0 where unlabelled.
      sizes: original height and width in px.
      truths: the original masks as run lengths (`rle`).
      frames: ids, unique.
      subjects: the person of each frame.
      scanners: that each frame was recorded with, "" where unknown.
      clips: the sweep of one subject that each frame is of, "" for a still.
      labelled: whether the frame has a truth.
      spacing_mm: height and width of an original pixel, NaN where unknown.
      saturated_share: of the original image's pixels, those of value 255.
      digests: a hash of each original image; equal for equal images.
      fingerprint: name of the prepared records, which says what went into them.
      source: the prepared records, read again where an original image is wanted.
      records: where in `source` each frame stands.
      storage: how its files are stored.
    """

    images: UInt8[np.ndarray, "frames height width"]
    thumbnails: UInt8[np.ndarray, "frames rows columns"]
    masks: UInt8[np.ndarray, "frames height width"]
    sizes: Int[np.ndarray, "frames 2"]
    truths: tuple[str, ...]
    frames: tuple[str, ...]
    subjects: tuple[str, ...]
    scanners: tuple[str, ...]
    clips: tuple[str, ...]
    labelled: Bool[np.ndarray, " frames"]
    spacing_mm: Float[np.ndarray, "frames 2"]
    saturated_share: Float[np.ndarray, " frames"]
    digests: tuple[str, ...]
    fingerprint: str
    source: Sequence[dict]
    records: Int[np.ndarray, " frames"]
    storage: Storage = PLAIN

    def __len__(self) -> int:
        return len(self.frames)

    @functools.cached_property
    def presence(self) -> Bool[np.ndarray, " frames"]:
        """Whether there is a nerve in the frame's truth."""
        return np.array([bool(runs) for runs in self.truths], bool)

    def truth(self, index: int) -> Bool[np.ndarray, "height width"]:
        """The mask of a frame at its original size; empty where unlabelled."""
        height, width = self.sizes[index]
        return rle.decode(self.truths[index], int(height), int(width))

    def original(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """The image of a frame at its original size."""
        return self.source[int(self.records[index])]["image"][..., 0]

    def choose(self, positions: Int[np.ndarray, " chosen"]) -> "Examples":
        """Some of the frames, in the order of their positions."""
        chosen = {
            name: values[positions]
            if isinstance(values, np.ndarray)
            else tuple(values[i] for i in positions)
            for name, values in self.columns().items()
        }
        return dataclasses.replace(self, **chosen)

    def columns(self) -> dict:
        """What has a value for each frame, by name."""
        whole = ("fingerprint", "source", "storage")
        fields = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in fields if name not in whole}

    def positions(self, frames: Sequence[str]) -> Int[np.ndarray, " chosen"]:
        """Where the given frame ids stand."""
        where = {frame: i for i, frame in enumerate(self.frames)}
        return np.array([where[frame] for frame in frames], np.int64)


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Frames of several splits of one data set, one after another, in memory."""
    columns = [part.columns() for part in parts]
    starts = np.cumsum([0, *(len(part.source) for part in parts[:-1])])
    joined = {
        name: np.concatenate([c[name] for c in columns])
        if isinstance(values, np.ndarray)
        else tuple(value for c in columns for value in c[name])
        for name, values in columns[0].items()
    }
    joined["records"] = np.concatenate(
        [part.records + start for part, start in zip(parts, starts, strict=True)]
    )
    source = JoinedRecords([part.source for part in parts])
    return dataclasses.replace(parts[0], source=source, **joined)


class JoinedRecords(Sequence):
    """Records of several sources, one after another."""

    def __init__(self, sources: list[Sequence[dict]]):
        self.sources = sources

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int) -> dict:
        for source in self.sources:
            if index < len(source):
                return source[index]
            index -= len(source)
        raise IndexError(index)
