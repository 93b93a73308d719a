"""Ultrasound frames and masks read from files.

Files may come from strangers: whatever is wrong with one ends in a `ValueError` or an
`OSError` that says so, and no file of more than `MAX_PIXELS` or `MAX_BYTES` is decoded.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
IMAGE_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")  # whatever a file is called
MAX_PIXELS = 40_000_000  # of a frame; decoding takes up to 16 bytes each
MAX_BYTES = 512 * 2**20  # of a file


def read_file(path: Path) -> bytes:
    """Read a file that holds an image.

    Raises:
      OSError: it cannot be read, is no regular file, or is larger than `MAX_BYTES`.
    """
    if path.exists() and not path.is_file():
        raise OSError("not a file")  # a pipe would be waited for
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise OSError(f"{size / 2**20:.0f} MB, more than {MAX_BYTES / 2**20:.0f}")
    return path.read_bytes()


def read_image(content: bytes) -> UInt8[np.ndarray, "height width"]:
    """Decode a frame to 8-bit grey.

    Args:
      content: a PNG, TIFF, JPEG or BMP file. 16-bit grey is divided by 257, so that
        65535 becomes 255; colour and palettes become luminance, whatever is transparent.
        A camera's note that a picture is turned is heeded.

    Raises:
      ValueError: not an image, truncated, or of a kind other than 8 or 16 bit.
    """
    image = _decode(content)
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError(f"grey values {deep.min()} to {deep.max()}, not 16 bit")
        deep = deep.astype(np.uint32)
        deep += 128
        deep //= 257
        return deep.astype(np.uint8)
    if image.mode == "F":
        raise ValueError("floating-point grey values; save it as 8 or 16 bit")
    return np.asarray(image.convert("L"))


def read_mask(
    content: bytes, classes: tuple[int, ...] = ()
) -> Bool[np.ndarray, "height width"]:
    """Decode a mask: True where the nerve is.

    Args:
      content: an image file of 0 and 1, or of 0 and 255.
      classes: where the set marks several structures, every value that may occur, the
        nerve's first; () for a mask of the nerve alone.

    Raises:
      ValueError: not an image, truncated, coloured, or with other values.
    """
    image = _decode(content)
    values = np.asarray(image)
    if values.ndim == 3:
        colours = 1 if image.mode == "LA" else 3
        if not (values[..., :colours] == values[..., :1]).all():
            raise ValueError("a coloured mask; save it as grey, 0 and 255")
        values = values[..., 0]
    found = set(np.unique(values).tolist())
    allowed = [set(classes) | {0}] if classes else [{0, 1}, {0, 255}]
    if not any(found <= values_allowed for values_allowed in allowed):
        shown = ", ".join(str(value) for value in sorted(found)[:8])
        wanted = " or ".join(str(sorted(values_allowed)) for values_allowed in allowed)
        raise ValueError(f"mask values {shown}{'…' * (len(found) > 8)}; not {wanted}")
    return values == classes[0] if classes else values != 0


def _decode(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=IMAGE_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} px are too many")
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        kinds = ", ".join(IMAGE_FORMATS)
        raise ValueError(f"cannot be decoded (it is none of {kinds})") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes
        problem = f"{error}" or type(error).__name__
        raise ValueError(f"cannot be decoded ({problem})") from error
