"""Several pictures in one file: GIF, animated PNG, TIFF of several pages; by Pillow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nerve_jax.data.frames import (
    Grey,
    check_storage,
    convert_to_colour,
    convert_to_grey,
    in_words,
    list_pages,
    settle,
)
from nerve_jax.data.media.medium import Medium
from nerve_jax.system.errors import InputError

FORMATS = ("GIF", "PNG", "TIFF")
GIF_HEADS = (b"GIF87a", b"GIF89a")


def is_gif(head: bytes) -> bool:
    """Whether a file that begins so is a GIF, which is a stack even of one picture."""
    return head.startswith(GIF_HEADS)


def describe(path: Path) -> Medium:
    """Count the pages; without those that a TIFF holds as a smaller copy.

    Raises:
      ValueError: damaged.
    """
    with in_words(), Image.open(path, formats=FORMATS) as image:
        return Medium(path, "stack", len(list_pages(image)))


def read_grey(medium: Medium) -> Iterator[Grey]:
    """Decode the grey of page after page; see `frames.read_grey`."""
    for image in _open_pages(medium):
        yield convert_to_grey(settle(image))


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the colours of page after page, 8 bits each."""
    for image in _open_pages(medium):
        yield convert_to_colour(settle(image))


def _open_pages(medium: Medium) -> Iterator[Image.Image]:
    """Pages, not decoded yet.

    Raises:
      ValueError: damaged, stored as no frame is, or pages of two sizes.
    """
    with in_words(), Image.open(medium.path, formats=FORMATS) as image:
        size = image.size
        for page in list_pages(image):
            image.seek(page)
            check_storage(image)
            if image.size != size:
                raise InputError(f"pages of two sizes: {size} and {image.size} px")
            yield image
