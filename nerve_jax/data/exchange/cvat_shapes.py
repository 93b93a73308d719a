"""CVAT's XML: its labels and shapes, of images and of tracks alike."""

import pyexpat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from nerve_jax.data.exchange.entries import Problems
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.shapes import (
    Area,
    check_counts,
    decode_counts,
    make_box,
    make_ellipse,
    make_patch,
    make_polygon,
)
from nerve_jax.system.files import show

SAFE_EXPAT = (2, 4, 1)  # limits what entities expand to
EDGES = ("xtl", "ytl", "xbr", "ybr")
NO_STRUCTURE = ("tag", "points", "skeleton", "polyline", "cuboid")  # types of labels
IGNORED = ("attribute", "tag")
Box = Float[np.ndarray, " 5"]  # left, top, right, bottom in px; degrees clockwise


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


def read_labels(root: ElementTree.Element, problems: Problems) -> dict[str, str]:
    """The structure of each label that is declared and may have an outline.

    Without any declared, those of shapes count.
    """
    declared = [
        label.findtext("name", "")
        for label in root.iterfind("meta//labels/label")
        if label.findtext("type") not in NO_STRUCTURE and not label.findtext("parent")
    ]
    used = dict.fromkeys(e.get("label") for e in root.iter() if e.get("label"))
    return name_structures(declared or used, problems)


def read_area(element: ElementTree.Element) -> Area:
    """The area of an element of an image or a track.

    Raises:
      ValueError: it has none, or its numbers are wrong; or one of `names.MALFORMED`.
    """
    attributes = element.attrib
    match element.tag:
        case "box":
            *edges, angle = read_box(attributes).tolist()
            return make_box(edges, angle)
        case "polygon":
            pairs = [pair.split(",") for pair in attributes["points"].split(";")]
            return make_polygon([(float(x), float(y)) for x, y in pairs])
        case "ellipse":
            x, y, *radii = (
                float(attributes[name]) for name in ("cx", "cy", "rx", "ry")
            )
            return make_ellipse((x, y), radii, float(attributes.get("rotation", 0)))
        case "mask":
            return _read_mask(attributes)
    raise ValueError(
        f"no outline of an area: {show(element.tag)}; draw a polygon or mask"
    )


def read_box(attributes: Mapping[str, str]) -> Box:
    """The box in the attributes of its element."""
    edges = [float(attributes[name]) for name in EDGES]
    return np.array([*edges, float(attributes.get("rotation", 0))], np.float64)


def _read_mask(attributes: Mapping[str, str]) -> Area:
    left, top, width, height = (
        int(attributes[name]) for name in ("left", "top", "width", "height")
    )
    counts = [int(count) for count in attributes["rle"].split(",")]
    check_counts(counts, (height, width))
    load = partial(decode_counts, counts, (height, width))
    return make_patch(left, top, (height, width), load)
