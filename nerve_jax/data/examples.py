"""All frames of a data set in memory: resized once for training, truth kept whole."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nerve_jax.data import rle
from nerve_jax.data.batches import Frames
from nerve_jax.data.frames import PLAIN, Storage
from nerve_jax.data.outlines import NERVE_ALONE, Wanted


class Labels(NamedTuple):
    """What is known of one structure in the frames of a split.

    Attributes:
      masks: share of each pixel that is the structure, 0 to 255, at training size; of
        several readers the mean; 0 where unlabelled.
      truths: the original masks as run lengths (`rle`): pixels that more than half of
        the readers outlined, or half of them, the first being one.
      labelled: whether anybody looked for the structure in the frame.
      readers: the outlines of each by name, as run lengths, None where a reader has not
        seen the frame; nothing where there is one reader alone.
    """

    masks: UInt8[np.ndarray, "frames height width"]
    truths: tuple[str, ...]
    labelled: Bool[np.ndarray, " frames"]
    readers: dict[str, tuple[str | None, ...]]

    def choose(self, positions: Int[np.ndarray, " chosen"]) -> "Labels":
        """Those of some of the frames."""
        readers = {n: _pick(runs, positions) for n, runs in self.readers.items()}
        return Labels(*(_pick(column, positions) for column in self[:3]), readers)

    def of_reader(self, name: str) -> "Labels":
        """What one reader outlined; masks at training size stay those of all."""
        runs = self.readers[name]
        seen = np.array([outline is not None for outline in runs], bool)
        return self._replace(truths=tuple(r or "" for r in runs), labelled=seen)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Frames of one split, in order of their ids, and what is known of each structure.

    Whoever needs the labels of one structure, to score it or to look for odd ones, takes
    those of the first: `of` gives the same frames with another one first.

    Attributes:
      images: grey values at training size.
      thumbnails: grey values at one small size whatever the training size, by which
        frames are compared.
      labels: of each structure, by its name, at least one.
      sizes: original height and width in px.
      frames: ids, unique.
      subjects: the person of each frame.
      scanners: that each frame was recorded with, "" where unknown.
      clips: the sweep of one subject that each frame is of, "" for a still.
      spacing_mm: height and width of an original pixel, NaN where unknown.
      saturated_share: of the original image's pixels, those of value 255.
      digests: a hash of each original image; equal for equal images.
      fingerprint: name of the prepared records, which says what went into them.
      source: the prepared records, read again where an original image is wanted.
      records: where in `source` each frame stands.
      storage: how its files are stored.
      wanted: which labels of `source` these are.
    """

    images: UInt8[np.ndarray, "frames height width"]
    thumbnails: UInt8[np.ndarray, "frames rows columns"]
    labels: dict[str, Labels]
    sizes: Int[np.ndarray, "frames 2"]
    frames: tuple[str, ...]
    subjects: tuple[str, ...]
    scanners: tuple[str, ...]
    clips: tuple[str, ...]
    spacing_mm: Float[np.ndarray, "frames 2"]
    saturated_share: Float[np.ndarray, " frames"]
    digests: tuple[str, ...]
    fingerprint: str
    source: Sequence[dict]
    records: Int[np.ndarray, " frames"]
    storage: Storage = PLAIN
    wanted: Wanted = NERVE_ALONE

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of all structures, the first one first."""
        return tuple(self.labels)

    def of(self, structure: str, reader: str = "") -> "Examples":
        """The same frames with the labels of one structure alone.

        Args:
          structure: its name.
          reader: whose outlines count as truth; "" for those of all readers together.
        """
        labels = self.labels[structure]
        labels = labels.of_reader(reader) if reader else labels
        return dataclasses.replace(self, labels={structure: labels})

    @property
    def _first(self) -> Labels:
        return next(iter(self.labels.values()))

    @property
    def masks(self) -> UInt8[np.ndarray, "frames height width"]:
        """Those of the first structure: see `Labels`."""
        return self._first.masks

    @property
    def truths(self) -> tuple[str, ...]:
        """Those of the first structure: see `Labels`."""
        return self._first.truths

    @property
    def labelled(self) -> Bool[np.ndarray, " frames"]:
        """Whether each frame is labelled for the first structure."""
        return self._first.labelled

    @functools.cached_property
    def presence(self) -> Bool[np.ndarray, " frames"]:
        """Whether the first structure is in the frame's truth."""
        return np.array([bool(runs) for runs in self.truths], bool)

    @functools.cached_property
    def structures_labelled(self) -> Bool[np.ndarray, "frames structures"]:
        """Which structures each frame is labelled for."""
        return np.stack([own.labelled for own in self.labels.values()], 1)

    @functools.cached_property
    def training_frames(self) -> Frames:
        """What is trained on; masks of one structure alone are not copied."""
        masks = [own.masks for own in self.labels.values()]
        stacked = masks[0][:, None] if len(masks) == 1 else np.stack(masks, 1)
        return Frames(self.images, stacked, self.structures_labelled)

    def truth(self, index: int) -> Bool[np.ndarray, "height width"]:
        """The first structure's mask at a frame's original size; empty where unlabelled."""
        height, width = self.sizes[index]
        return rle.decode(self.truths[index], int(height), int(width))

    def original(self, index: int) -> UInt8[np.ndarray, "height width"]:
        """The image of a frame at its original size."""
        return self.source[int(self.records[index])]["image"][..., 0]

    def choose(self, positions: Int[np.ndarray, " chosen"]) -> "Examples":
        """Some of the frames, in the order of their positions."""
        chosen = {name: _pick(c, positions) for name, c in self.columns().items()}
        labels = {name: own.choose(positions) for name, own in self.labels.items()}
        return dataclasses.replace(self, labels=labels, **chosen)

    def columns(self) -> dict:
        """What has a value for each frame, by name; without the labels."""
        whole = ("labels", "fingerprint", "source", "storage", "wanted")
        fields = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in fields if name not in whole}

    def positions(self, frames: Sequence[str]) -> Int[np.ndarray, " chosen"]:
        """Where the given frame ids stand."""
        where = {frame: i for i, frame in enumerate(self.frames)}
        return np.array([where[frame] for frame in frames], np.int64)


def _pick(column, positions: Int[np.ndarray, " chosen"]):
    """Some entries of an array or a tuple."""
    if isinstance(column, np.ndarray):
        return column[positions]
    return tuple(column[i] for i in positions)


def _join(columns: Sequence):
    """Arrays, or tuples, one after another."""
    if isinstance(columns[0], np.ndarray):
        return np.concatenate(columns)
    return tuple(value for column in columns for value in column)


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Labels of several splits, one after another; they have the same readers."""
    readers = {n: _join([part.readers[n] for part in parts]) for n in parts[0].readers}
    return Labels(
        *(_join(c) for c in zip(*(p[:3] for p in parts), strict=True)), readers
    )


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Frames of several splits of one data set, one after another, in memory."""
    columns = [part.columns() for part in parts]
    starts = np.cumsum([0, *(len(part.source) for part in parts[:-1])])
    joined = {name: _join([c[name] for c in columns]) for name in columns[0]}
    joined["records"] = np.concatenate(
        [part.records + start for part, start in zip(parts, starts, strict=True)]
    )
    source = JoinedRecords([part.source for part in parts])
    labels = {
        name: join_labels([part.labels[name] for part in parts])
        for name in parts[0].structures
    }
    return dataclasses.replace(parts[0], source=source, labels=labels, **joined)


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
