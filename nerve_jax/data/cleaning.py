"""Files off a scanner without what surrounds the sector, frame after frame."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from nerve_jax.data import media
from nerve_jax.data.marks import (
    StandingText,
    find_standing_text,
    find_text,
    is_marked,
)
from nerve_jax.data.media import Medium
from nerve_jax.data.sector import blacken, find_box, find_sector

SAMPLES = 32  # frames by which the sector of a clip is found


class Sector(NamedTuple):
    """Where a file shows tissue, and what must not be passed on.

    Attributes:
      inside: of a whole frame, the sector; nowhere true where none is found.
      box: of the sector: top, left, bottom, right, half open.
      standing: text that stands still inside the sector.
      sample: a frame as shown, of coloured ones the brightest channel.
    """

    inside: Bool[np.ndarray, "height width"]
    box: media.Box
    standing: list[StandingText]
    sample: UInt8[np.ndarray, "height width"]


def find_clean_part(medium: Medium) -> Sector:
    """Find the sector of a file, in the box that its header names if it does.

    Goes through the whole file once and holds `SAMPLES` frames. See `media.read` for
    errors.
    """
    wanted = set(np.linspace(0, medium.num_frames - 1, SAMPLES).astype(int).tolist())
    samples = np.stack(
        [
            colour.max(-1)
            for place, colour in enumerate(media.read_colour(medium))
            if place in wanted
        ]
    )
    # The screen around a box says what its darkest grey is, so all of it is looked at.
    inside = find_sector(samples)
    if medium.box:
        top, left, bottom, right = medium.box
        inside[:top], inside[bottom:] = False, False
        inside[:, :left], inside[:, right:] = False, False
    standing = find_standing_text(samples, inside)
    return Sector(inside, find_box(inside), standing, samples[len(samples) // 2])


def hide(
    image: UInt8[np.ndarray, "height width"], sector: Sector
) -> UInt8[np.ndarray, "height width"]:
    """A whole frame, black outside the sector and where text is found inside it."""
    text = find_text(image, sector.inside)
    for line in sector.standing:
        text[line.box] = True
    return blacken(image, sector.inside & ~text)


class Cleaned(NamedTuple):
    """A frame cut to the sector, black beside it.

    Attributes:
      number: of the frame.
      image: luminance.
      is_marked: whether text remains inside the sector.
    """

    number: int
    image: UInt8[np.ndarray, "rows columns"]
    is_marked: bool


def read_cleaned(medium: Medium, sector: Sector) -> Iterator[Cleaned]:
    """Clean frame after frame; see `media.read` for errors."""
    top, left, bottom, right = sector.box
    colours = media.read_colour(medium)
    for number, colour in zip(medium.frame_numbers, colours, strict=True):
        grey = np.asarray(Image.fromarray(colour).convert("L"))
        yield Cleaned(
            number,
            blacken(grey, sector.inside)[top:bottom, left:right],
            is_marked(colour.max(-1), sector.inside, sector.standing),
        )
