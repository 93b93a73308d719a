"""Shapes of annotation programs as masks, and masks as run lengths.

One rule for all: a pixel belongs to a shape if its centre does. The pixel in row r and
column c covers [c, c + 1) by [r, r + 1), so its centre is (c + 0.5, r + 0.5), and a box
from (0, 0) to (width, height) is the whole frame. A centre on the left or upper edge of
a shape is inside, one on the right or lower edge is not.
"""

import functools
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Mask = Bool[np.ndarray, "height width"]
Points = Float[np.ndarray, "points 2"]  # x and y, in px
Size = tuple[int, int]  # height and width, in px
NOWHERE = np.zeros((0, 2))


class Area(NamedTuple):
    """A part of a frame.

    Attributes:
      outline: points as far out as it reaches; none where it has the frame's own size.
      draw: makes its mask in a frame; what lies outside is cut off.
    """

    outline: Points
    draw: Callable[[Size], Mask]


def make_polygon(corners: Any) -> Area:
    """The area of corners (x, y); raise `ValueError` for fewer than three."""
    points = np.array(corners, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError("a polygon needs three corners or more, x and y of each")
    return Area(points, functools.partial(draw_polygon, points))


def make_box(
    edges: Sequence, angle_degrees: Real = 0, about: Sequence | None = None
) -> Area:
    """The area of a box, by its left, upper, right and lower edge in px.

    Args:
      edges: numbers, in any order of left and right, upper and lower.
      angle_degrees: by which it is turned clockwise, as seen on a screen.
      about: the point (x, y) that it is turned about; None for its centre.
    """
    left, top, right, bottom = map(float, edges)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if angle_degrees:
        centre = (left + right) / 2, (top + bottom) / 2
        corners = turn_points(corners, about or centre, angle_degrees)
    return make_polygon(corners)


def make_ellipse(centre: Sequence, radii: Sequence, angle_degrees: Real = 0) -> Area:
    """The area of an ellipse; empty where a radius is 0.

    Args:
      centre: x and y, in px.
      radii: half its extent along its own x and y axis, in px.
      angle_degrees: by which it is turned clockwise, as seen on a screen.
    """
    middle, half = np.array(centre, np.float64), np.array(radii, np.float64)
    angle = np.deg2rad(float(angle_degrees))
    reach = np.hypot(half * np.cos(angle), half[::-1] * np.sin(angle))

    def draw(size: Size) -> Mask:
        if min(half) <= 0:
            return np.zeros(size, bool)
        y, x = np.ogrid[: size[0], : size[1]]
        x, y = x + 0.5 - middle[0], y + 0.5 - middle[1]
        along = (x * np.cos(angle) + y * np.sin(angle)) / half[0]
        across = (y * np.cos(angle) - x * np.sin(angle)) / half[1]
        return along**2 + across**2 < 1

    return Area(np.stack([middle - reach, middle + reach]), draw)


def make_patch(left: int, top: int, size: Size, load: Callable[[], np.ndarray]) -> Area:
    """The area of a mask of `size` that lies somewhere in the frame.

    Args:
      left: column of its first pixel.
      top: row of it.
      size: height and width of the mask.
      load: makes it, each time that it is drawn.
    """

    def draw(frame_size: Size) -> Mask:
        mask = np.zeros(frame_size, bool)
        inside = load()[max(0, -top) :, max(0, -left) :]
        place = mask[max(0, top) :, max(0, left) :]
        rows, columns = np.minimum(inside.shape, place.shape)
        place[:rows, :columns] = inside[:rows, :columns]
        return mask

    corners = [(left, top), (left + size[1], top + size[0])]
    return Area(np.array(corners, np.float64), draw)


def cut_out(mask: Mask) -> tuple[int, int, Bool[np.ndarray, "rows columns"]]:
    """Left, top, and the part of a mask in the box around it; there must be a pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return int(columns[0]), int(rows[0]), part


def draw_polygon(points: Points, size: Size) -> Mask:
    """Fill a polygon by the even-odd rule: where it overlaps itself, it is a hole.

    Args:
      points: its corners as (x, y), in px, in order; the last is joined to the first.
        What lies outside the frame is cut off.
      size: height and width of the frame, in px.
    """
    height, width = size
    crossings = np.zeros((height, width + 1), bool)
    x, y = points.T
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        first, end = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
        rows = np.arange(first, end)
        if len(rows):  # not of a level edge, which no centre's row crosses
            at = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
            crossings[rows, columns] ^= True
    return np.logical_xor.accumulate(crossings, axis=1)[:, :width]


def turn_points(points: Points, about: Sequence, angle_degrees: Real) -> Points:
    """Turn points (x, y) about another, clockwise as seen on a screen."""
    angle = np.deg2rad(float(angle_degrees))
    cos, sin = np.cos(angle), np.sin(angle)
    centre = np.array(about, np.float64)
    return (points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre


def compute_overhang(points: Points, size: Size) -> float:
    """How far points (x, y) lie outside a frame, in px: 0 inside, infinite for NaN."""
    if not np.isfinite(points).all():
        return float("inf")
    beyond = np.maximum(-points, points - np.array(size[::-1], np.float64))
    return float(beyond.max(initial=0.0))


def encode_counts(mask: Mask) -> list[int]:
    """Lengths of runs along the rows: of background first, which may be 0, then in turn."""
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def decode_counts(counts: Sequence[int] | Int[np.ndarray, " runs"], size: Size) -> Mask:
    """The mask of `encode_counts`; see `check_counts` for errors."""
    check_counts(counts, size)
    lengths = np.asarray(counts, np.int64)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size)


def check_counts(counts: Sequence[int] | Int[np.ndarray, " runs"], size: Size) -> None:
    """Raise `ValueError` for a negative length, or where they do not fill the frame."""
    height, width = size
    if any(count < 0 for count in counts):
        raise ValueError("run lengths below 0")
    if (total := sum(map(int, counts))) != height * width:
        raise ValueError(f"run lengths of {total} px in all, of {width}x{height} px")
