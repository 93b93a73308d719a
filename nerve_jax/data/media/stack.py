"""Several pictures in one file: GIF, animated PNG, TIFF of several pages; by Pillow."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nerve_jax.data.frames import (
    Grey,
    Picture,
    check_storage,
    convert_to_colour,
    convert_to_grey,
    in_words,
    list_pages,
    settle,
)
from nerve_jax.data.media.ends import check_end
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
      ValueError: damaged, or a GIF without its end.
    """
    with in_words(), Image.open(path, formats=FORMATS) as image:
        if image.format == "GIF":  # Pillow takes one that was cut off for a shorter one
            check_end(path, "gif")
        return Medium(path, "stack", len(list_pages(image)))


def read_grey(medium: Medium) -> Iterator[Grey]:
    """Decode the grey of page after page; see `_decode` and `frames.read_grey`."""
    return _decode(medium, convert_to_grey)


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the colours of page after page, 8 bits each; see `_decode`."""
    return _decode(medium, convert_to_colour)


def _decode(medium: Medium, convert: Callable[[Picture], Any]) -> Iterator[Any]:
    """Decode page after page, each converted.

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
            yield convert(settle(image))
