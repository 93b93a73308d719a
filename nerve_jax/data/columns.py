"""From frames one by one to the columns of `Examples`, in memory."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data import rle
from nerve_jax.data.resize import resize_image, resize_pair

THUMBNAIL_SIZE = (48, 64)


def read_row(record: dict, image_size: tuple[int, int]) -> dict:
    """What `Examples` keep of a record, as a row for `fill`.

    Args:
      record: of the prepared records: "image" and "mask", uint8 [height width 1], "frame"
        and "subject", bytes, "labelled" and "spacing_mm" [2]; "scanner" and "clip",
        bytes, are missing from records of version 1.0.0 and then "".
      image_size: training height and width in px.
    """
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
        "scanners": record.get("scanner", b"").decode(),
        "clips": record.get("clip", b"").decode(),
        "labelled": np.bool_(record["labelled"]),
        "spacing_mm": np.asarray(record["spacing_mm"], np.float32),
        "saturated_share": np.float32((image == 255).mean()),
        "digests": compute_digest(image),
    }


def fill(rows: Iterable[dict], count: int) -> dict:
    """Put rows into columns in memory, which hold each value once.

    Args:
      rows: of one frame each, of arrays, numbers and texts by name.
      count: how many there are, at least one.

    Returns:
      Arrays with an entry for each row, and tuples of texts.
    """
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, list[str]] = {}
    for place, row in enumerate(rows):
        for name, value in row.items():
            if isinstance(value, str):
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
