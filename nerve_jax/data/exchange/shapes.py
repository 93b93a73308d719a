"""Shapes of annotation programs as masks, and masks as run lengths.

One rule for all: a pixel belongs to a shape if its centre does. The pixel in row r and
column c covers [c, c + 1) by [r, r + 1), so its centre is (c + 0.5, r + 0.5), and a box
from (0, 0) to (width, height) is the whole frame. A centre on the left or upper edge of
a shape is inside, one on the right or lower edge is not.
"""

from collections.abc import Sequence
from numbers import Real

import numpy as np
from jaxtyping import Bool, Float, Int

OVERHANG_PX = 1.0  # by which a shape may reach beyond its frame: programs round


def draw_polygon(
    points: Float[np.ndarray, "corners 2"], size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Fill a polygon by the even-odd rule: where it overlaps itself, it is a hole.

    Args:
      points: its corners as (x, y), in px, in order; the last is joined to the first.
        Fewer than three give an empty mask. What lies outside the frame is cut off.
      size: height and width of the frame, in px.
    """
    height, width = size
    crossings = np.zeros((height, width + 1), bool)
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        low, high = sorted((y0, y1))
        rows = np.arange(*_cover(low, high, height))
        if len(rows):  # not of a level edge, which no centre's row crosses
            at = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
            crossings[rows, columns] ^= True
    return np.logical_xor.accumulate(crossings, axis=1)[:, :width]


def draw_box(
    left: Real, top: Real, right: Real, bottom: Real, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Fill a box whose edges are in px; empty where right < left or bottom < top."""
    mask = np.zeros(size, bool)
    rows, columns = _cover(top, bottom, size[0]), _cover(left, right, size[1])
    mask[slice(*rows), slice(*columns)] = True
    return mask


def draw_ellipse(
    centre: tuple[Real, Real],
    radii: tuple[Real, Real],
    angle_degrees: Real,
    size: tuple[int, int],
) -> Bool[np.ndarray, "height width"]:
    """Fill an ellipse; empty where a radius is 0.

    Args:
      centre: x and y, in px.
      radii: half its extent along its own x and y axis, in px.
      angle_degrees: by which it is turned clockwise, as seen on a screen.
      size: height and width of the frame, in px.
    """
    if min(radii) <= 0:
        return np.zeros(size, bool)
    angle = np.deg2rad(angle_degrees)
    y, x = np.ogrid[: size[0], : size[1]]
    x, y = x + 0.5 - centre[0], y + 0.5 - centre[1]
    along = (x * np.cos(angle) + y * np.sin(angle)) / radii[0]
    across = (y * np.cos(angle) - x * np.sin(angle)) / radii[1]
    return along**2 + across**2 < 1


def turn_points(
    points: Float[np.ndarray, "corners 2"],
    about: tuple[Real, Real],
    angle_degrees: Real,
) -> Float[np.ndarray, "corners 2"]:
    """Turn points (x, y) about another, clockwise as seen on a screen."""
    angle = np.deg2rad(angle_degrees)
    x, y = (points - np.array(about)).T
    turned = (
        x * np.cos(angle) - y * np.sin(angle),
        x * np.sin(angle) + y * np.cos(angle),
    )
    return np.stack(turned, axis=-1) + np.array(about)


def compute_overhang(
    points: Float[np.ndarray, "corners 2"], size: tuple[int, int]
) -> float:
    """How far points (x, y) lie outside a frame, in px: 0 inside, infinite for NaN.

    What exceeds `OVERHANG_PX` is of another frame and to be refused; less is cut off.
    """
    if not np.isfinite(points).all():
        return float("inf")
    beyond = np.maximum(-points, points - np.array(size[::-1], np.float64))
    return float(beyond.max(initial=0.0))


def encode_counts(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Lengths of runs along the rows: of background first, which may be 0, then in turn."""
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def decode_counts(
    counts: Sequence[int] | Int[np.ndarray, " runs"], size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """The mask of `encode_counts`.

    Raises:
      ValueError: a length is negative, or they do not add up to the pixels of the frame.
    """
    if problem := find_problem(counts, size):
        raise ValueError(problem)
    lengths = np.asarray(counts, np.int64)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size)


def find_problem(
    counts: Sequence[int] | Int[np.ndarray, " runs"], size: tuple[int, int]
) -> str:
    """What is wrong with the lengths of runs in a frame of that size; "" if nothing."""
    height, width = size
    if any(count < 0 for count in counts):
        return "run lengths below 0"
    if (total := sum(map(int, counts))) != height * width:
        return f"run lengths of {total} px in all, of {width}x{height} px"
    return ""


def _cover(low: Real, high: Real, length: int) -> tuple[int, int]:
    """First and last but one of the pixels in a line whose centres are in [low, high)."""
    first, end = np.clip(np.ceil(np.array([low, high]) - 0.5), 0, length).astype(int)
    return int(first), int(max(first, end))
