"""From frames one by one to the columns of `Examples`, in memory."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data import rle
from nerve_jax.data.examples import Labels
from nerve_jax.data.outlines import (
    NERVE_ALONE,
    Wanted,
    average,
    draw_outlines,
    vote,
)
from nerve_jax.data.resize import resize_image

THUMBNAIL_SIZE = (48, 64)


def read_row(
    record: dict,
    image_size: tuple[int, int],
    wanted: Wanted = NERVE_ALONE,
    readers: Sequence[str] = (),
) -> dict:
    """What `Examples` keep of a record, as a row for `fill`.

    Args:
      record: of the prepared records: "image" and "mask", uint8 [height width 1], "frame"
        and "subject", bytes, "labelled" and "spacing_mm" [2]; "scanner" and "clip",
        bytes, are missing from records of version 1.0.0 and then ""; for "outlines" see
        `draw_outlines`.
      image_size: training height and width in px.
      wanted: structures, and whose outlines are their truth.
      readers: names of those whose outlines are kept one by one.
    """
    image = record["image"][..., 0]
    return {
        "images": resize_image(image, image_size),
        "thumbnails": resize_image(image, THUMBNAIL_SIZE),
        "sizes": np.array(image.shape, np.int64),
        "frames": record["frame"].decode(),
        "subjects": record["subject"].decode(),
        "scanners": record.get("scanner", b"").decode(),
        "clips": record.get("clip", b"").decode(),
        "spacing_mm": np.asarray(record["spacing_mm"], np.float32),
        "saturated_share": np.float32((image == 255).mean()),
        "digests": compute_digest(image),
        **_read_labels(record, image_size, wanted, readers),
    }


def _read_labels(
    record: dict, image_size: tuple[int, int], wanted: Wanted, readers: Sequence[str]
) -> dict:
    """The part of a row that `gather_labels` makes `Labels` of: "nerve.masks", ..."""
    drawn, row = draw_outlines(record), {}
    for structure in wanted.structures:
        chosen = wanted.choose(drawn, structure)
        row |= {
            f"{structure}.masks": average(chosen, image_size),
            f"{structure}.truths": rle.encode(vote(chosen, record["image"].shape[:2])),
            f"{structure}.labelled": np.bool_(bool(chosen)),
        }
        for name in readers:
            mask = drawn.get(structure, {}).get(name)
            runs = None if mask is None else rle.encode(mask)
            row[f"{structure}.readers.{name}"] = runs
    return row


def gather_labels(
    columns: Mapping, wanted: Wanted = NERVE_ALONE, readers: Sequence[str] = ()
) -> dict:
    """Columns of `fill` with `labels` in place of the columns of each structure."""
    labels = {
        structure: Labels(
            *(columns[f"{structure}.{part}"] for part in Labels._fields[:3]),
            {name: columns[f"{structure}.readers.{name}"] for name in readers},
        )
        for structure in wanted.structures
    }
    rest = {name: column for name, column in columns.items() if "." not in name}
    return {**rest, "labels": labels}


def fill(rows: Iterable[dict], count: int) -> dict:
    """Put rows into columns in memory, which hold each value once.

    Args:
      rows: of one frame each: arrays, numbers of NumPy, texts and None by name.
      count: how many there are, at least one.

    Returns:
      Arrays with an entry for each row, and tuples of texts, in which one may be None.
    """
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, list[str | None]] = {}
    for place, row in enumerate(rows):
        for name, value in row.items():
            if value is None or isinstance(value, str):
                texts.setdefault(name, []).append(value)
                continue
            if name not in arrays:
                arrays[name] = np.empty((count, *value.shape), value.dtype)
            arrays[name][place] = value
    return arrays | {name: tuple(values) for name, values in texts.items()}


def compute_digest(image: UInt8[np.ndarray, "height width"]) -> str:
    """Hash the pixels and size of an image, 16 hex digits."""
    content = repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()
