"""Masks read from files: whatever the storage, where the nerve is.

What a mask shows is read, not how it is stored: a palette by its colours, an alpha
channel by what it lets through. What could mean two things is refused.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image

from nerve_jax.data.frames import Picture, decode, is_plain, show_on_black

VALUES_OF_NERVE = (1, 255, 65535)  # beside 0
LOW, HIGH = 85, 170  # the thirds of 8 bits
MIDDLE_SHARE = (
    0.05  # of the pixels above half, as many as a mask still certain may have
)
VALUES_SHOWN = 8
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
    """A mask as a file shows it.

    Attributes:
      mask: where the nerve is.
      nerve: how the file marks it: a grey value, "1", or a colour, "(255, 0, 0)"; ""
        where there is none.
      is_cut: whether values near two were cut at half.
      orientation: see `frames.Picture`.
    """

    mask: Bool[np.ndarray, "height width"]
    nerve: str
    is_cut: bool
    orientation: int


def read_mask(
    content: bytes, classes: tuple[int, ...] = ()
) -> Bool[np.ndarray, "height width"]:
    """Decode a mask: the `mask` of `read_label`."""
    return read_label(content, classes).mask


def read_label(content: bytes, classes: tuple[int, ...] = ()) -> Label:
    """Decode a mask.

    The nerve is 1, 255 or (16 bit) 65535 on 0, or the one colour on black. The values
    of a palette are its colours. Where colours are all alike, the alpha channel is the
    mask; else what is transparent is black. Values near 0 and 255, as JPEG leaves them,
    are cut at half if at most `MIDDLE_SHARE` of what is above half lies in the middle
    third.

    Args:
      content: a PNG, TIFF, JPEG or BMP file.
      classes: where the set marks several structures, every value that may occur, the
        nerve's first, as the file stores them (indices of a palette); () for a mask of
        the nerve alone.

    Raises:
      ValueError: not an image, truncated, of several pages, or with other values or
        colours; says which, and what to do.
    """
    picture = decode(content)
    if classes:
        mask, nerve, is_cut = _find_class(np.asarray(picture.image), classes)
    else:
        shown = _show(picture.image)
        values = np.asarray(shown)
        if values.ndim == 3 and (values == values[..., :1]).all():
            values = values[..., 0]
        find = _find_colour if values.ndim == 3 else _find_value
        mask, nerve, is_cut = find(values, picture)
    return Label(mask, nerve if mask.any() else "", is_cut, picture.orientation)


def turn_with_frame(
    label: Label, orientation: int, size: tuple[int, ...]
) -> Bool[np.ndarray, "height width"]:
    """Turn a mask as its frame was turned, if the frame alone says that it is turned.

    Args:
      label: its own orientation, if it has one, was heeded.
      orientation: EXIF tag of the frame, 0 for none.
      size: height and width of the frame as it is shown.

    Raises:
      ValueError: the mask fits the frame both as it is and turned.
    """
    mask = label.mask
    if label.orientation or orientation not in TURNS:
        return mask
    turned = np.ascontiguousarray(TURNS[orientation](mask))
    fits, fits_turned = mask.shape == size, turned.shape == size
    if not (fits and fits_turned) or np.array_equal(mask, turned):
        return turned if fits_turned else mask
    raise ValueError(
        f"its frame has EXIF orientation {orientation} and the mask has none: it may be "
        "drawn on the frame as stored or as shown. Save the frame turned, without the "
        "tag, and a mask that fits it; or give the mask the same tag"
    )


def _find_class(values: np.ndarray, classes: tuple[int, ...]):
    found = np.unique(values).tolist()
    if values.ndim != 2 or not set(found) <= {0, *classes}:
        raise ValueError(f"mask values {_list(found)}; not {sorted({0, *classes})}")
    return values == classes[0], str(classes[0]), False


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


def _find_value(values: np.ndarray, picture: Picture):
    found = np.unique(values).tolist()
    for value in VALUES_OF_NERVE:
        if set(found) <= {0, value}:
            return values == value, str(value), False
    if values.dtype == np.uint8 and _is_certain(values, found, picture.kind):
        return values > 127, "255", True
    if len(found) > VALUES_SHOWN:
        raise ValueError(
            f"mask values {found[0]} to {found[-1]}; not [0, 1] or [0, 255]: a mask "
            "softened by resizing or lossy compression, or no mask. Resize masks by "
            "nearest neighbour and save them as PNG; or cut them: 255 where above 127, "
            "else 0"
        )
    raise ValueError(
        f"mask values {_list(found)}; not [0, 1] or [0, 255]: save the nerve's value as "
        "255 and all others as 0"
    )


def _is_certain(values: np.ndarray, found: list, kind: str) -> bool:
    """Whether values are near 0 and 255, so that half tells them apart."""
    low = sum(value < LOW for value in found)
    high = sum(value > HIGH for value in found)
    # A few values are labels of structures, unless they come from a lossy file.
    if not low or not high or (kind != "JPEG" and min(low, high) < 2):
        return False
    middle = ((values >= LOW) & (values <= HIGH)).sum()
    return bool(middle <= MIDDLE_SHARE * (values > 127).sum())


def _find_colour(values: np.ndarray, picture: Picture):
    del picture
    red, green, blue = np.moveaxis(values.astype(np.uint32), -1, 0)
    packed = (red << 16) | (green << 8) | blue
    found = np.unique(packed).tolist()
    if len(found) == 2 and found[0] == 0:
        return packed > 0, str(_unpack(found[1])), False
    colours = _list([_unpack(colour) for colour in found])
    raise ValueError(
        f"a coloured mask of {len(found)} colours, {colours}; not black and one other. "
        "Save the nerve's colour as 255 and all others as 0, in grey, as PNG"
    )


def _unpack(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255


def _list(found: list) -> str:
    return ", ".join(map(str, found[:VALUES_SHOWN])) + "…" * (len(found) > VALUES_SHOWN)
