"""Masks and label maps read from files: whatever the storage, where each structure is.

What a mask shows is read, not how it is stored: a palette by its colours, an alpha
channel by what it lets through. What could mean two things is refused.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image
from scipy import ndimage

from nerve_jax.data.frames import Picture, decode, is_plain, show_on_black
from nerve_jax.data.structures import NERVE

# How a file marks a structure: by a number as it is stored, a colour as it is shown, or
# (None, of a mask of this structure alone) by whatever it has beside black.
Colour = tuple[int, int, int]
Values = Mapping[str, int | Colour | None]

FULL = (1, 255, 65535)  # beside 0, the values that can mark but one structure
LOW, HIGH = 85, 170  # the thirds of 8 bits
MIDDLE_SHARE = 0.05  # of what is marked, as many pixels may be uncertain
VALUES_SHOWN = 8
BY_TABLE = "name what each means in structures.csv (value,name) beside the masks"
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
    middle third between the two is an edge, next to both, or at most `MIDDLE_SHARE` of what
    is marked.

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
        mask, mark, is_cut = _find_mark(_read_values(picture), picture.kind)
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
    if len(values) == 1 and (cut := _find_near(picture, values)) is not None:
        return cut, True
    shown = _list([f"#{v:06x}" for v in others] if by_colour else others)
    if len(others) > VALUES_SHOWN:
        raise ValueError(
            f"{len(others)} values without a name, {shown}: a label map softened by "
            "resizing or lossy compression? Resize label maps by nearest neighbour and "
            "save them as PNG; or name all values in structures.csv (value,name)"
        )
    raise ValueError(
        f"values without a name: {shown}; named are "
        f"{_list([show_value(value) for value in values.values()])}. Name all in "
        "structures.csv (value,name), or set what is no structure to 0"
    )


def _find_near(picture: Picture, values: Values):
    """The mask of the one value that has a name, where a lossy file is near it; or None."""
    (name, value), shown = *values.items(), _read_values(picture)
    if shown.dtype != np.uint8:
        return None
    mark = np.array(value if isinstance(value, tuple) else [value])
    mask = _cut(shown, mark, picture.kind) if mark.max() >= LOW else None
    return None if mask is None else {name: mask}


def _read_numbers(picture: Picture) -> Integer[np.ndarray, "height width"]:
    """The numbers that a label map stores; of a palette its indices."""
    image = picture.image
    values = np.asarray(image) if image.mode == "P" else _read_values(picture)
    if values.ndim == 2 and values.dtype.kind in "ui":
        return values
    raise ValueError(
        "a coloured label map, but structures.csv names numbers; name its colours, as "
        "#ff0000"
    )


def _read_colours(picture: Picture) -> Integer[np.ndarray, "height width"]:
    """The colours that a label map shows, each as one number (`pack`)."""
    values = _read_values(picture)
    if values.dtype != np.uint8:
        raise ValueError("a label map of numbers, but structures.csv names colours")
    return _pack_all(values if values.ndim == 3 else np.stack([values] * 3, -1))


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


def _find_mark(values: np.ndarray, kind: str):
    """The one thing that a mask marks, how, and whether values near it were cut."""
    if values.ndim == 3:
        return _find_colour(values, kind)
    found = np.unique(values).tolist()
    for value in FULL:
        if set(found) <= {0, value}:
            return values == value, value, False
    far = LOW if values.dtype == np.uint8 else LOW * 257
    if len(found) == 2 and found[0] == 0 and found[1] >= far:
        return values > 0, int(found[1]), False
    if values.dtype == np.uint8 and found[-1] >= LOW:
        counts = np.bincount(values.ravel(), minlength=256)
        mark = LOW + int(counts[LOW:].argmax())
        mark = 255 if mark > HIGH else mark  # bright enough, whatever it was
        mask = _cut(values, np.array([mark]), kind)
        if mask is not None:
            return mask, mark, True
    if len(found) > VALUES_SHOWN:
        raise ValueError(
            f"mask values {found[0]} to {found[-1]}; not [0, 1] or [0, 255]: a mask "
            "softened by resizing or lossy compression, or no mask. Resize masks by "
            "nearest neighbour and save them as PNG; or cut them: 255 where above 127, "
            "else 0"
        )
    raise ValueError(
        f"mask values {_list(found)}; not [0, 1] or [0, 255]: save the nerve's value as "
        f"255 and all others as 0, or {BY_TABLE}"
    )


def _find_colour(values: np.ndarray, kind: str):
    packed = _pack_all(values)
    found, counts = np.unique(packed, return_counts=True)
    if len(found) == 2 and found[0] == 0:
        return packed > 0, _unpack(int(found[1])), False
    colours = [_unpack(int(colour)) for colour in found]
    bright = np.array([max(colour) >= LOW for colour in colours])
    if bright.any():
        mark = colours[int(np.where(bright, counts, 0).argmax())]
        mask = _cut(values, np.array(mark), kind)
        if mask is not None:
            return mask, mark, True
    raise ValueError(
        f"a coloured mask of {len(found)} colours, {_list(colours)}; not black and one "
        "other. Save the nerve's colour as 255 and all others as 0, in grey, as PNG; or "
        f"{BY_TABLE}, a colour as #ff0000"
    )


def _cut(values: np.ndarray, mark: np.ndarray, kind: str) -> np.ndarray | None:
    """Where values are nearer to a mark than to black; None where that is not certain.

    It is where pixels of neither, but for those of an edge, are few.

    Args:
      values: uint8 [height, width], or [..., 3].
      mark: [1], or [3].
      kind: of the file.
    """
    pixels = values.reshape(*values.shape[:2], -1).astype(np.float32)
    along = mark.astype(np.float32) / np.float32(mark @ mark)
    share = pixels @ along  # of the way from black to the mark
    beside = np.abs(pixels - share[..., None] * mark.astype(np.float32)).max(-1)
    low, high = share < LOW / 255, share > HIGH / 255
    # A few values are labels of structures, unless they come from a lossy file.
    counts = [len(np.unique(values[part], axis=0)) for part in (low, high)]
    if not all(counts) or (kind != "JPEG" and min(counts) < 2):
        return None
    is_marked = share > 0.5
    near = [ndimage.maximum_filter(part, size=3) for part in (low, high)]
    uncertain = (~(low | high) | (beside > LOW)) & ~(near[0] & near[1])
    return is_marked if uncertain.sum() <= MIDDLE_SHARE * is_marked.sum() else None


def pack(colour: Colour) -> int:
    """A colour as one number, 0xRRGGBB."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def show_value(value: int | Colour) -> str:
    """A value as structures.csv has it: "2" or "#ff0000"."""
    return f"#{pack(value):06x}" if isinstance(value, tuple) else str(value)


def _pack_all(values: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(values.astype(np.uint32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _unpack(colour: int) -> Colour:
    return colour >> 16, colour >> 8 & 255, colour & 255


def _list(found: list) -> str:
    return ", ".join(map(str, found[:VALUES_SHOWN])) + "…" * (len(found) > VALUES_SHOWN)
