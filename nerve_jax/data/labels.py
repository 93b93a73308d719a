"""Masks and label maps read from files: whatever the storage, where each structure is.

What a mask shows is read, not how it is stored: a palette by its colours, an alpha
channel by what it lets through. What could mean two things is refused.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt32
from PIL import Image

from nerve_jax.data.frames import Picture, decode, is_plain, show_on_black
from nerve_jax.data.mask_values import (
    LOW,
    VALUES_SHOWN,
    Colour,
    cut,
    find_mark,
    list_values,
    pack,
    pack_all,
    show_value,
)
from nerve_jax.data.structures import NERVE

# How a file marks a structure: by a number as it is stored, a colour as it is shown, or
# (None, of a mask of this structure alone) by whatever it has beside black.
Values = Mapping[str, int | Colour | None]

HIGHEST = 65535  # number in a label map

TURNS = {  # of an array, by EXIF orientation
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


class Label(NamedTuple):
    """What a file shows.

    Attributes:
      masks: where each structure is, by its name.
      mark: how a mask of one structure marks it: a grey value or a colour; None where there
        is none, and of a label map.
      is_cut: whether values near two were cut at half.
      orientation: see `frames.Picture`.
    """

    masks: dict[str, Bool[np.ndarray, "height width"]]
    mark: int | Colour | None
    is_cut: bool
    orientation: int


def read_mask(content: bytes) -> Bool[np.ndarray, "height width"]:
    """Decode a mask of one structure: see `read_label`."""
    return read_label(content, {NERVE: None}).masks[NERVE]


def read_label(content: bytes, values: Values) -> Label:
    """Decode a mask, or a label map.

    Of a mask of one structure whose value is None: that is 1, 255 or (16 bit) 65535 on
    0, or another single value in the upper two thirds of the range, or the one colour on
    black. The values of a palette are its colours. Where colours are all alike, the alpha
    channel is the mask; else what is transparent is black. Values near black and one other
    grey or colour, as JPEG and soft edges leave them, are cut at half if what lies in the
    middle third between the two is an edge, next to both, or at most
    `mask_values.MIDDLE_SHARE` of what is marked.

    A label map has 0, or black, where there is no structure.

    Args:
      content: a PNG, TIFF, JPEG or BMP file.
      values: of each structure that the file may show: None, of one alone, or numbers (of
        a palette its indices), or colours.

    Raises:
      ValueError: not an image, truncated, of several pages, or with other values or
        colours; says which, and what to do.
    """
    picture = decode(content)
    if None in values.values():
        (name,) = values
        mask, mark, is_cut = find_mark(_read_values(picture), picture.kind)
        masks = {name: mask}
    else:
        masks, is_cut = _find_structures(picture, values)
        mark = None
    shown = any(mask.any() for mask in masks.values())
    return Label(masks, mark if shown else None, is_cut, picture.orientation)


def _read_values(picture: Picture) -> np.ndarray:
    """What a mask shows: the grey of each pixel, or its colour, [height, width, 3]."""
    values = np.asarray(_show(picture.image))
    if values.ndim == 3 and (values == values[..., :1]).all():
        return values[..., 0]
    return values


def turn_with_frame(
    label: Label, orientation: int, size: tuple[int, ...]
) -> dict[str, Bool[np.ndarray, "height width"]]:
    """Turn masks as their frame was turned, if the frame alone says that it is turned.

    Args:
      label: its own orientation, if it has one, was heeded.
      orientation: EXIF tag of the frame, 0 for none.
      size: height and width of the frame as it is shown.

    Raises:
      ValueError: the masks fit the frame both as they are and turned.
    """
    masks = label.masks
    if label.orientation or orientation not in TURNS:
        return masks
    turned = {n: np.ascontiguousarray(TURNS[orientation](m)) for n, m in masks.items()}
    fits, fits_turned = (
        all(mask.shape == size for mask in either.values())
        for either in (masks, turned)
    )
    same = all(np.array_equal(masks[name], turned[name]) for name in masks)
    if not (fits and fits_turned) or same:
        return turned if fits_turned else masks
    raise ValueError(
        f"its frame has EXIF orientation {orientation} and the mask has none: it may be "
        "drawn on the frame as stored or as shown. Save the frame turned, without the "
        "tag, and a mask that fits it; or give the mask the same tag"
    )


def _find_structures(picture: Picture, values: Values):
    """The mask of each named value, and whether values near the one named were cut."""
    by_colour = any(isinstance(value, tuple) for value in values.values())
    found = _read_colours(picture) if by_colour else _read_numbers(picture)
    known = {
        name: pack(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }
    others = sorted(set(np.unique(found).tolist()) - {0, *known.values()})
    if not others:
        return {name: found == value for name, value in known.items()}, False
    if len(values) == 1 and (near := _find_near(picture, values)) is not None:
        return near, True
    shown = list_values([f"#{v:06x}" for v in others] if by_colour else others)
    if len(others) > VALUES_SHOWN:
        raise ValueError(
            f"{len(others)} values without a name, {shown}: a label map softened by "
            "resizing or lossy compression? Resize label maps by nearest neighbour and "
            "save them as PNG; or name all values in structures.csv (value,name)"
        )
    raise ValueError(
        f"values without a name: {shown}; named are "
        f"{list_values([show_value(value) for value in values.values()])}. Name all in "
        "structures.csv (value,name), or set what is no structure to 0"
    )


def _find_near(picture: Picture, values: Values):
    """The mask of the one value that has a name, where a lossy file is near it; or None."""
    (name, value), shown = *values.items(), _read_values(picture)
    if shown.dtype != np.uint8:
        return None
    mark = np.array(value if isinstance(value, tuple) else [value])
    mask = cut(shown, mark, picture.kind) if mark.max() >= LOW else None
    return None if mask is None else {name: mask}


def _read_numbers(picture: Picture) -> Int32[np.ndarray, "height width"]:
    """The numbers that a label map stores; of a palette its indices."""
    image = picture.image
    values = np.asarray(image) if image.mode == "P" else _read_values(picture)
    if values.ndim == 3:
        raise ValueError(
            "a coloured label map, but structures.csv names numbers; name its colours, as "
            "#ff0000"
        )
    if not ((values >= 0) & (values <= HIGHEST) & (values % 1 == 0)).all():
        raise ValueError(f"values that are no whole numbers from 0 to {HIGHEST}")
    return values.astype(np.int32)


def _read_colours(picture: Picture) -> UInt32[np.ndarray, "height width"]:
    """The colours that a label map shows, each as one number (`pack`)."""
    values = _read_values(picture)
    if values.dtype != np.uint8:
        raise ValueError("a label map of numbers, but structures.csv names colours")
    return pack_all(values if values.ndim == 3 else np.stack([values] * 3, -1))


def _show(image: Image.Image) -> Image.Image:
    """What a mask shows, grey or RGB."""
    if not image.has_transparency_data:
        is_grey = image.mode in ("L", "F") or image.mode.startswith("I")
        return image if is_grey else image.convert("L" if image.mode == "1" else "RGB")
    whole = image.convert("RGBA")
    alpha, colour = whole.getchannel("A"), whole.convert("RGB")
    lowest, highest = alpha.getextrema()
    if lowest == highest and lowest:
        return colour
    if is_plain(colour):
        return alpha
    shown = show_on_black(image)
    if is_plain(shown):
        raise ValueError(
            "a mask that its alpha channel hides; save it without alpha, the nerve 255 "
            "and all else 0"
        )
    return shown
