"""Ultrasound frames and masks as files: reading and outlining them."""

import io

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
OUTLINE_COLOURS = {"truth": (255, 200, 0), "prediction": (0, 210, 255)}


def read_image(content: bytes) -> UInt8[np.ndarray, "height width"]:
    """Decode a frame to 8-bit grey.

    Args:
      content: a PNG, TIFF, JPEG or BMP file. 16-bit grey is divided by 257, so that
        65535 becomes 255; colour and palettes become luminance.

    Raises:
      ValueError: not an image, truncated, or of a kind other than 8 or 16 bit.
    """
    image = _decode(content)
    if image.mode.startswith("I"):
        deep = np.asarray(image, dtype=np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError(f"grey values {deep.min()} to {deep.max()}, not 16 bit")
        return ((deep + 128) // 257).astype(np.uint8)
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
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    return image


def outline(
    image: UInt8[np.ndarray, "height width"],
    width_px: int = 1,
    **masks: Bool[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the borders of `truth` (amber) and `prediction` (cyan) over a frame."""
    colour = np.repeat(image[..., None], 3, axis=-1)
    for name, mask in masks.items():
        inner = ndimage.binary_erosion(mask, iterations=width_px, border_value=1)
        colour[mask & ~inner] = OUTLINE_COLOURS[name]
    return colour
