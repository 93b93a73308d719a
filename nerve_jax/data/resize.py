"""Frames, masks and probabilities brought from one size to another, as Pillow does it."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
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


class Patch(NamedTuple):
    """A mask that is empty but for a rectangle.

    Attributes:
      inside: the mask within the rectangle; of size 0 where the mask is empty.
      top, left: of the rectangle in the frame, in px.
      size: height and width of the frame.
    """

    inside: Bool[np.ndarray, "_ _"]
    top: int
    left: int
    size: tuple[int, int]

    def whole(self) -> Bool[np.ndarray, "height width"]:
        """The mask of the whole frame."""
        mask = np.zeros(self.size, bool)
        height, width = self.inside.shape
        mask[self.top : self.top + height, self.left : self.left + width] = self.inside
        return mask

    def positions(self) -> Int[np.ndarray, " pixels"]:
        """The mask's pixels in rising order, numbered from 0 down the columns first."""
        columns, rows = np.nonzero(self.inside.T)
        return (columns + self.left) * self.size[0] + rows + self.top


def empty_patch(size: tuple[int, ...]) -> Patch:
    """The empty mask of a frame of a (height, width)."""
    return Patch(np.zeros((0, 0), bool), 0, 0, (size[0], size[1]))


def cut_resized(
    probs: Float[np.ndarray, "height width"], size: tuple[int, ...], cut: float
) -> Patch:
    """Where probabilities, resized bilinearly, reach a cut.

    A new pixel is a mean of old ones, so it reaches the cut only where one of these
    does; nothing is computed elsewhere. Sums are taken in Pillow's order and precision:
    the mask is, to the pixel, that of a whole frame resized by Pillow.

    Args:
      probs: in [0, 1], float16 or float32.
      size: height and width to bring them to.
      cut: compared in float32.
    """
    grey, cut32 = probs.astype(np.float32), np.float32(cut)
    reached = grey >= cut32
    old = [np.flatnonzero(reached.any(axis)) for axis in (1, 0)]
    if not old[0].size:
        return empty_patch(size)
    taps = [_weigh(*lengths) for lengths in zip(probs.shape, size, strict=True)]
    new = [_find_reached(*pair) for pair in zip(taps, old, strict=True)]
    (rows, row_weights), (columns, column_weights) = (
        (pixels[part], weights[part])
        for (pixels, weights), part in zip(taps, new, strict=True)
    )
    first = rows.min()
    grey = grey[first : rows.max() + 1]
    grey = _add_up(grey.T, columns, column_weights).T  # Pillow's order: columns first
    grey = _add_up(grey, rows - first, row_weights)
    return Patch(grey >= cut32, new[0].start, new[1].start, (size[0], size[1]))


def _find_reached(taps, old: Int[np.ndarray, " reached"]) -> slice:
    """The new pixels that have a share of any old one from the first to the last."""
    pixels, _ = taps
    shares = (pixels[:, 0] <= old[-1]) & (pixels[:, -1] >= old[0])
    places = np.flatnonzero(shares)
    return slice(int(places[0]), int(places[-1]) + 1)


def _add_up(
    grey: Float[np.ndarray, "old _"],
    pixels: Int[np.ndarray, "new taps"],
    weights: Float[np.ndarray, "new taps"],
) -> Float[np.ndarray, "new _"]:
    """Weighted sums along the first axis, added up in float64 and rounded to float32."""
    total = np.zeros((len(pixels), grey.shape[1]))
    for tap in range(pixels.shape[1]):
        total += grey[pixels[:, tap]] * weights[:, tap, None]
    return total.astype(np.float32)


@functools.lru_cache(maxsize=256)
def _weigh(
    old: int, new: int
) -> tuple[Int[np.ndarray, "new taps"], Float[np.ndarray, "new taps"]]:
    """Which of `old` pixels in a row make each of `new` ones, and with what weights.

    Bilinear as in Pillow (Image.resize): a triangle around the new pixel's centre, two
    old pixels wide, or two new ones where these are the wider; its weights add up to 1.
    Pixels beyond a triangle have weight 0.
    """
    scale = old / new
    reach = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    last = np.minimum((centre + reach + 0.5).astype(int), old) - 1
    pixels = first[:, None] + np.arange((last - first).max() + 1)
    away = np.abs((pixels - centre[:, None] + 0.5) * (1 / reach))
    weights = np.where(pixels <= last[:, None], np.maximum(1 - away, 0), 0.0)
    total = np.zeros(new)
    for tap in range(weights.shape[1]):  # in Pillow's order
        total += weights[:, tap]
    return np.minimum(pixels, last[:, None]), weights / total[:, None]
