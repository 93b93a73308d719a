"""A region of Label Studio's export: brushed, a polygon, a rectangle or an ellipse.

Coordinates are in percent of the picture's width and height. A rectangle is turned about
its upper left corner, an ellipse about its centre, both clockwise, in degrees.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from nerve_jax.data.exchange import brush
from nerve_jax.data.exchange.entries import Gathered, Size
from nerve_jax.data.exchange.shapes import draw_ellipse, draw_polygon, turn_points
from nerve_jax.data.frames import MAX_PIXELS
from nerve_jax.system.files import show

# Their labels are in a second region, or in the same.
BARE = ("brush", "polygon", "rectangle", "ellipse", "videorectangle")


class Region(NamedTuple):
    """A region.

    Attributes:
      number: its id; a second region of the same may have its labels.
      kind: as the export calls it.
      labels: of the region, most often one.
      size: height and width of the picture that it was drawn on, in px; (0, 0) of a
        clip, of which the export does not say it.
      value: its geometry, as the export has it.
    """

    number: str
    kind: str
    labels: list[str]
    size: Size
    value: dict[str, Any]


def parse(result: dict) -> Region | None:
    """A result of an annotation; None of one that is no region, as a choice.

    Raises:
      ValueError: of a picture that is none, or was turned; or one of
        `references.MALFORMED`.
    """
    kind, value = result["type"].lower(), result["value"]
    if kind not in BARE and not kind.endswith("labels"):
        return None
    number = str(result.get("id", ""))
    lists = [value[key] for key in value if key.endswith("labels")]
    labels = [label for some in lists if isinstance(some, list) for label in some]
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"region {show(number)}: a label that is no text")
    if "sequence" in value:
        return Region(number, kind, labels, (0, 0), value)
    size = result["original_height"], result["original_width"]
    if (
        not all(type(n) is int and n > 0 for n in size)
        or size[0] * size[1] > MAX_PIXELS
    ):
        raise ValueError(
            f"region {show(number)}: of a picture of {size[1]}x{size[0]} px"
        )
    if result.get("image_rotation"):
        raise ValueError(
            f"region {show(number)}: drawn on a picture that was turned; turn it back, "
            "and export again"
        )
    return Region(number, kind, labels, size, value)


def check(region: Region, where: str, gathered: Gathered) -> None:
    """Gather or raise why a region cannot be drawn.

    Raises:
      ValueError: it is no outline, or its code or geometry is wrong; or one of
        `references.MALFORMED`.
    """
    value = region.value
    if "rle" in value:
        if not isinstance(value["rle"], bytes):
            raise ValueError("its rle is no list of bytes, 0 to 255")
        brush.decode(value["rle"], region.size)
    elif "points" in value or "radiusX" in value or {"x", "height"} <= value.keys():
        gathered.check_points(where, _find_corners(value, region.size), region.size)
    else:
        raise ValueError(
            f"{show(region.kind)} is no outline; use brush, polygon, rectangle or "
            "ellipse, or delete it"
        )


def fill(value: dict[str, Any], size: Size) -> Bool[np.ndarray, "height width"]:
    """The mask of a region that `check` found no fault with, by its `value`."""
    if "rle" in value:
        return brush.decode(value["rle"], size)
    if "radiusX" not in value:
        return draw_polygon(_find_corners(value, size), size)
    centre = _to_px(value["x"], value["y"], size)
    radii = _to_px(value["radiusX"], value["radiusY"], size)
    angle = float(value.get("rotation") or 0)
    return draw_ellipse(tuple(centre.tolist()), tuple(radii.tolist()), angle, size)


def _find_corners(value: dict[str, Any], size: Size) -> Float[np.ndarray, "corners 2"]:
    """Corners of a polygon or rectangle, or of the box around an ellipse, in px."""
    if "points" in value:
        points = np.array(value["points"], float)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
            raise ValueError("a polygon needs three corners or more, x and y of each")
        return points * np.array(size[::-1]) / 100
    start = _to_px(value["x"], value["y"], size)
    angle = float(value.get("rotation") or 0)
    if "radiusX" in value:
        radii = _to_px(value["radiusX"], value["radiusY"], size)
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        half = np.hypot(radii * cos, radii[::-1] * sin)
        return start + np.stack([-half, half])
    wide, high = _to_px(value["width"], value["height"], size)
    corners = start + np.array([[0, 0], [wide, 0], [wide, high], [0, high]])
    return turn_points(corners, tuple(start.tolist()), angle)


def _to_px(x: Any, y: Any, size: Size) -> Float[np.ndarray, "2"]:
    return np.array([x, y], float) * np.array(size[::-1]) / 100
