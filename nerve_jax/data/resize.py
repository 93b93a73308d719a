"""Frames, masks and probabilities brought from one size to another, by Pillow."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nerve_jax.system.errors import InputError


def check_image_size(image_size: tuple[int, ...]) -> None:
    """Raise `InputError` for what is no height and width."""
    if len(image_size) != 2 or min(image_size) < 1:
        raise InputError(f"image_size={image_size} is not (height, width) in px")


def resize_image(
    image: UInt8[np.ndarray, "height width"], size: tuple[int, int]
) -> UInt8[np.ndarray, "new_height new_width"]:
    """Resize bilinearly; smaller images are averaged over the area of a new pixel."""
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_probs(
    probs: Float[np.ndarray, "height width"], size: tuple[int, int]
) -> Float[np.ndarray, "new_height new_width"]:
    """Bring probabilities, float32 in [0, 1], to a frame's original size, bilinearly."""
    height, width = size
    picture = Image.fromarray(np.asarray(probs, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def resize_pair(
    record: dict, image_size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "height width"], UInt8[np.ndarray, "height width"]]:
    """Image and mask of a record at training size, 0 to 255."""
    mask = record["mask"][..., 0] * np.uint8(255)
    return (
        resize_image(record["image"][..., 0], image_size),
        resize_image(mask, image_size),
    )
