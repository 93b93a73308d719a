"""All frames of a data set in memory: resized once for training, truth kept whole."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from nerve_jax import resized, rle
from nerve_jax.builders import prepare, quiet_tfds
from nerve_jax.errors import InputError

THUMBNAIL_SIZE = (48, 64)


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
      labelled: whether the frame has a truth.
      spacing_mm: height and width of an original pixel, NaN where unknown.
      saturated_share: of the original image's pixels, those of value 255.
      digests: a hash of each original image; equal for equal images.
      fingerprint: name of the prepared records, which says what went into them.
      source: the prepared records, read again where an original image is wanted.
      records: where in `source` each frame stands.
    """

    images: UInt8[np.ndarray, "frames height width"]
    thumbnails: UInt8[np.ndarray, "frames rows columns"]
    masks: UInt8[np.ndarray, "frames height width"]
    sizes: Int[np.ndarray, "frames 2"]
    truths: tuple[str, ...]
    frames: tuple[str, ...]
    subjects: tuple[str, ...]
    labelled: Bool[np.ndarray, " frames"]
    spacing_mm: Float[np.ndarray, "frames 2"]
    saturated_share: Float[np.ndarray, " frames"]
    digests: tuple[str, ...]
    fingerprint: str
    source: Sequence[dict]
    records: Int[np.ndarray, " frames"]

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
        whole = ("fingerprint", "source")
        fields = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in fields if name not in whole}

    def positions(self, frames: Sequence[str]) -> Int[np.ndarray, " chosen"]:
        """Where the given frame ids stand."""
        where = {frame: i for i, frame in enumerate(self.frames)}
        return np.array([where[frame] for frame in frames], np.int64)


def load_examples(
    builder: tfds.core.DatasetBuilder, split: str, image_size: tuple[int, int]
) -> Examples:
    """Prepare the records if need be, decode every frame of a split and resize it.

    What was decoded is kept beside the records (see `resized`) and only mapped into
    memory the next time.

    Args:
      builder: of `builders`.
      split: "train" or, where the data set has one, "test".
      image_size: training height and width in px.

    Raises:
      InputError: no such split or size, or raw files that cannot be used.
      RunError: the records cannot be written.
    """
    check_image_size(image_size)
    prepare(builder)
    with quiet_tfds():
        if split not in builder.info.splits:
            names = ", ".join(builder.info.splits)
            raise InputError(
                f"{builder.info.full_name} has no split {split!r}; it has {names}"
            )
        source = builder.as_data_source(split=split)
    height, width = image_size
    folder = Path(builder.data_path) / "resized" / f"{split}_{height}x{width}"
    columns = resized.read(folder)
    if columns is None:
        columns = _decode(source, image_size)
        resized.write(folder, columns)
        columns = resized.read(folder) or columns
    return Examples(**columns, fingerprint=builder.info.full_name, source=source)


def check_image_size(image_size: tuple[int, ...]) -> None:
    """Raise `InputError` for what is no height and width."""
    if len(image_size) != 2 or min(image_size) < 1:
        raise InputError(f"image_size={image_size} is not (height, width) in px")


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


def _decode(source: Sequence[dict], image_size: tuple[int, int]) -> dict:
    """Decode and resize every frame: the columns of `Examples`, in order of ids."""
    with quiet_tfds():
        records = sorted(
            (
                _read_record(source[i], image_size) | {"records": np.int64(i)}
                for i in range(len(source))
            ),
            key=lambda record: record["frames"],
        )
    columns = {key: [record[key] for record in records] for key in records[0]}
    return {
        key: tuple(values) if isinstance(values[0], str) else np.stack(values)
        for key, values in columns.items()
    }


def resize_pair(
    record: dict, image_size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "height width"], UInt8[np.ndarray, "height width"]]:
    """Image and mask of a record at training size, 0 to 255."""
    mask = record["mask"][..., 0] * np.uint8(255)
    return (
        resize_image(record["image"][..., 0], image_size),
        resize_image(mask, image_size),
    )


def _read_record(record: dict, image_size: tuple[int, int]) -> dict:
    image, mask = record["image"][..., 0], record["mask"][..., 0]
    small_image, small_mask = resize_pair(record, image_size)
    return {
        "images": small_image,
        "thumbnails": resize_image(image, THUMBNAIL_SIZE),
        "masks": small_mask,
        "sizes": np.array(image.shape, np.int64),
        "truths": rle.encode(mask.astype(bool)),
        "frames": record["frame"].decode(),
        "subjects": record["subject"].decode(),
        "labelled": np.bool_(record["labelled"]),
        "spacing_mm": np.asarray(record["spacing_mm"], np.float32),
        "saturated_share": np.float32((image == 255).mean()),
        "digests": compute_digest(image),
    }


def compute_digest(image: UInt8[np.ndarray, "height width"]) -> str:
    """Hash the pixels and size of an image, 16 hex digits."""
    content = repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def resize_image(
    image: UInt8[np.ndarray, "height width"], size: tuple[int, int]
) -> UInt8[np.ndarray, "new_height new_width"]:
    """Resize bilinearly; smaller images are averaged over the area of a new pixel."""
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_probs(
    probs: Float[np.ndarray, "height width"], size: tuple[int, int]
) -> Float[np.ndarray, "new_height new_width"]:
    """Bring probabilities, float32 in [0, 1], to a frame's original size, bilinearly."""
    height, width = size
    picture = Image.fromarray(np.asarray(probs, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
