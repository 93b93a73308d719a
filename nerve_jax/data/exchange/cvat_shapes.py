"""CVAT's XML: its labels and shapes, of images and of tracks alike."""

import functools
import pyexpat
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool, Float

from nerve_jax.data.exchange.entries import Gathered, Shape, Size
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.shapes import (
    decode_counts,
    draw_box,
    draw_ellipse,
    draw_polygon,
    find_problem,
    turn_points,
)
from nerve_jax.system.files import show

SAFE_EXPAT = (2, 4, 1)  # limits what entities expand to
BOX = ("xtl", "ytl", "xbr", "ybr")
NO_OUTLINE = ("polyline", "points", "cuboid", "skeleton")
NO_STRUCTURE = ("tag", "points", "skeleton", "polyline", "cuboid")  # types of labels
IGNORED = ("attribute", "tag")


class _Builder(ElementTree.TreeBuilder):
    """A tree of a document that declares nothing."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type, which may declare entities."""
        raise ValueError("a DOCTYPE, which CVAT does not write; take it out")


def parse(path: Path) -> ElementTree.Element:
    """Read an XML file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no XML, has a document type, or the parser of this Python could
        be made to take all memory.
    """
    if pyexpat.version_info < SAFE_EXPAT:
        raise ValueError("needs a Python with expat 2.4.1 or newer")
    try:
        return ElementTree.parse(
            path, ElementTree.XMLParser(target=_Builder())
        ).getroot()
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"not XML ({error}); export it again") from error


def read_labels(root: ElementTree.Element, gathered: Gathered) -> dict[str, str]:
    """The structure of each label that is declared and may have an outline."""
    labels = []
    for label in root.iterfind("meta//labels/label"):
        kind, parent = label.findtext("type", "any"), label.findtext("parent", "")
        if kind not in NO_STRUCTURE and not parent:
            labels.append(label.findtext("name", ""))
    if not labels:
        found = (
            element.get("label") for element in root.iter() if element.get("label")
        )
        labels = list(dict.fromkeys(found))
    return name_structures(labels, gathered.problems)


def read_shape(
    element: ElementTree.Element,
    structure: str,
    size: Size,
    where: str,
    gathered: Gathered,
) -> Shape | None:
    """The shape of an element; None where it is none, or has a problem.

    Args:
      element: of an image or a track.
      structure: of its label.
      size: height and width of the frame, in px.
      where: names the frame, for problems.
      gathered: gains what is wrong.
    """
    where = f"{where}, {element.tag}"
    if element.tag not in READERS:
        gathered.problems.append(
            f"{where}: no outline of an area; draw a polygon or a mask, or remove it"
        )
        return None
    try:
        outline, draw = READERS[element.tag](element.attrib)
    except KeyError as error:
        gathered.problems.append(f"{where}: needs {error.args[0]}; export it again")
        return None
    except (ValueError, OverflowError) as error:
        gathered.problems.append(f"{where}: {show(str(error))}; export it again")
        return None
    is_inside = gathered.check_points(where, outline, size)
    return Shape(structure, draw) if is_inside else None


def read_box(attributes: Mapping[str, str]) -> Float[np.ndarray, " 5"]:
    """Left, top, right, bottom in px, and degrees by which a box is turned clockwise."""
    names = [float(attributes[name]) for name in BOX]
    return np.array([*names, float(attributes.get("rotation", 0))], np.float64)


def find_corners(box: Float[np.ndarray, " 5"]) -> Float[np.ndarray, "4 2"]:
    """The corners (x, y) of a box of `read_box`."""
    left, top, right, bottom, angle = box.tolist()
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    centre = (left + right) / 2, (top + bottom) / 2
    return turn_points(corners, centre, angle) if angle else corners


def fill_box(
    box: Float[np.ndarray, " 5"], size: Size
) -> Bool[np.ndarray, "height width"]:
    """The mask of a box of `read_box`."""
    if box[4]:
        return draw_polygon(find_corners(box), size)
    left, top, right, bottom, _ = box.tolist()
    return draw_box(left, top, right, bottom, size)


def _read_box(attributes: Mapping[str, str]):
    box = read_box(attributes)
    return find_corners(box), functools.partial(fill_box, box)


def _read_polygon(attributes: Mapping[str, str]):
    pairs = [pair.split(",") for pair in attributes["points"].split(";")]
    points = np.array([(float(x), float(y)) for x, y in pairs], np.float64)
    if len(points) < 3:
        raise ValueError("fewer than three corners")
    return points, functools.partial(draw_polygon, points)


def _read_ellipse(attributes: Mapping[str, str]):
    x, y, along, across = (float(attributes[name]) for name in ("cx", "cy", "rx", "ry"))
    angle = float(attributes.get("rotation", 0))
    turn = np.deg2rad(angle)
    reach = np.array(
        [
            np.hypot(along * np.cos(turn), across * np.sin(turn)),
            np.hypot(along * np.sin(turn), across * np.cos(turn)),
        ]
    )
    outline = np.stack([np.array([x, y]) - reach, np.array([x, y]) + reach])
    draw = functools.partial(_fill_ellipse, ((x, y), (along, across), angle))
    return outline, draw


def _fill_ellipse(ellipse: tuple, size: Size) -> Bool[np.ndarray, "height width"]:
    return draw_ellipse(*ellipse, size)


def _read_mask(attributes: Mapping[str, str]):
    left, top, width, height = (
        int(attributes[name]) for name in ("left", "top", "width", "height")
    )
    counts = [int(count) for count in attributes["rle"].split(",")]
    if problem := find_problem(counts, (height, width)):
        raise ValueError(problem)
    outline = np.array([(left, top), (left + width, top + height)], np.float64)
    return outline, functools.partial(_fill_mask, counts, (left, top, width, height))


def _fill_mask(
    counts: list[int], box: tuple[int, int, int, int], size: Size
) -> Bool[np.ndarray, "height width"]:
    """Put the mask of a box, which may reach beyond the frame, into it."""
    left, top, width, height = box
    inside = decode_counts(counts, (height, width))
    inside = inside[max(0, -top) :, max(0, -left) :]
    mask = np.zeros(size, bool)
    place = mask[max(0, top) :, max(0, left) :]
    rows, columns = np.minimum(inside.shape, place.shape)
    place[:rows, :columns] = inside[:rows, :columns]
    return mask


READERS = {
    "box": _read_box,
    "polygon": _read_polygon,
    "ellipse": _read_ellipse,
    "mask": _read_mask,
}
