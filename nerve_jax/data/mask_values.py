"""What a mask of one structure marks it with: a grey value or a colour on black."""

import numpy as np
from jaxtyping import UInt8, UInt32
from scipy import ndimage

Colour = tuple[int, int, int]

FULL = (1, 255, 65535)  # beside 0, the values that can mark but one structure
LOW, HIGH = 85, 170  # the thirds of 8 bits
MIDDLE_SHARE = 0.05  # of what is marked, as many pixels may be uncertain
VALUES_SHOWN = 8
BY_TABLE = "name what each means in structures.csv (value,name) beside the masks"


def find_mark(values: np.ndarray, kind: str) -> tuple[np.ndarray, int | Colour, bool]:
    """Find the one thing that a mask marks.

    Args:
      values: [height, width] or [height, width, 3].
      kind: of the file: see `frames.Picture`.

    Returns:
      The mask, bool [height, width]; the grey value or colour that marks it; whether values
      near that were cut at half.

    Raises:
      ValueError: other values or colours; says which, and what to do.
    """
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
        mask = cut(values, np.array([mark]), kind)
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
        f"mask values {list_values(found)}; not [0, 1] or [0, 255]: save the nerve's value as "
        f"255 and all others as 0, or {BY_TABLE}"
    )


def _find_colour(values: np.ndarray, kind: str):
    packed = pack_all(values)
    found, counts = np.unique(packed, return_counts=True)
    if len(found) == 2 and found[0] == 0:
        return packed > 0, _unpack(int(found[1])), False
    colours = [_unpack(int(colour)) for colour in found]
    bright = np.array([max(colour) >= LOW for colour in colours])
    if bright.any():
        mark = colours[int(np.where(bright, counts, 0).argmax())]
        mask = cut(values, np.array(mark), kind)
        if mask is not None:
            return mask, mark, True
    raise ValueError(
        f"a coloured mask of {len(found)} colours, {list_values(colours)}; not black and one "
        "other. Save the nerve's colour as 255 and all others as 0, in grey, as PNG; or "
        f"{BY_TABLE}, a colour as #ff0000"
    )


def cut(values: np.ndarray, mark: np.ndarray, kind: str) -> np.ndarray | None:
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


def pack_all(
    values: UInt8[np.ndarray, "height width 3"],
) -> UInt32[np.ndarray, "height width"]:
    """Colours as one number each, 0xRRGGBB."""
    red, green, blue = np.moveaxis(values.astype(np.uint32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _unpack(colour: int) -> Colour:
    return colour >> 16, colour >> 8 & 255, colour & 255


def list_values(found: list) -> str:
    """The first few of some values, in words."""
    return ", ".join(map(str, found[:VALUES_SHOWN])) + "…" * (len(found) > VALUES_SHOWN)
