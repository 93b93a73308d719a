"""A shape of LabelMe: a polygon, a box, a circle, or a mask.

Coordinates are in px from the upper left corner of the picture. A mask is a PNG of the
box that it fills, from LabelMe 5.3 on; the box is given by its first and last pixel.
"""

import base64
import io

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from nerve_jax.data.exchange.entries import Gathered, Size
from nerve_jax.data.exchange.shapes import draw_ellipse, draw_polygon
from nerve_jax.data.frames import decode
from nerve_jax.system.files import show

CORNERS = {
    "polygon": 3,
    "oriented_rectangle": 4,
    "rectangle": 2,
    "circle": 2,
    "mask": 2,
}


def check(shape: dict, where: str, size: Size | None, gathered: Gathered) -> None:
    """Gather or raise what is wrong with a shape; of an unknown size only its form."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in CORNERS:
        raise ValueError(
            f"a {show(str(kind))} is no outline; draw a polygon, rectangle, circle or mask"
        )
    points = _read_points(shape)
    if len(points) < CORNERS[kind] or (
        kind != "polygon" and len(points) > CORNERS[kind]
    ):
        raise ValueError(f"a {kind} of {len(points)} points")
    if kind == "mask":
        _read_mask(shape)
        points = points + np.array([[0, 0], [1, 1]])
    if kind == "circle":
        points = points[:1] + _radius(points) * np.array([[-1], [1]])
    if size:
        gathered.check_points(where, points, size)


def _read_points(shape: dict) -> Float[np.ndarray, "points 2"]:
    points = np.array(shape["points"], float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError("points that are not x and y each")
    return points


def _radius(points: Float[np.ndarray, "2 2"]) -> float:
    """Of a circle, given as its centre and a point on it."""
    return float(np.hypot(*(points[1] - points[0])))


def _read_mask(shape: dict) -> Bool[np.ndarray, "rows columns"]:
    """The part of a mask within its box, of which the last row and column are named."""
    content = base64.b64decode(shape["mask"])
    part = np.asarray(decode(content).image)
    (left, top), (right, bottom) = shape["points"]
    box = bottom - top + 1, right - left + 1
    if part.ndim != 2 or part.shape != box or left != int(left) or top != int(top):
        raise ValueError(
            f"a mask of shape {part.shape} in a box of {box[0]:g} rows and {box[1]:g} "
            "columns"
        )
    return part > 0


def fill(shape: dict, size: Size) -> Bool[np.ndarray, "height width"]:
    """The mask of a shape that `check` found no fault with."""
    kind, points = shape.get("shape_type") or "polygon", _read_points(shape)
    if kind == "circle":
        radius = _radius(points)
        return draw_ellipse(tuple(points[0].tolist()), (radius, radius), 0.0, size)
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if kind != "mask":
        return draw_polygon(points, size)
    mask, part = np.zeros(size, bool), _read_mask(shape)
    left, top = points[0].astype(int)
    rows = slice(max(top, 0), top + part.shape[0])
    columns = slice(max(left, 0), left + part.shape[1])
    inside = mask[rows, columns]
    first = max(-top, 0), max(-left, 0)
    inside[:] = part[first[0] :, first[1] :][: inside.shape[0], : inside.shape[1]]
    return mask


def make_shape(structure: str, mask: Bool[np.ndarray, "height width"]) -> dict:
    """A mask as LabelMe keeps it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = (int(n[i]) for n in (rows, columns) for i in (0, -1))
    buffer = io.BytesIO()
    part = mask[top : bottom + 1, left : right + 1].astype(np.uint8)
    Image.fromarray(part).save(buffer, format="PNG")
    return {
        "label": structure,
        "points": [[left, top], [right, bottom]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(buffer.getvalue()).decode(),
    }
