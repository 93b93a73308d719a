"""Tasks of Label Studio's export "JSON", with their regions.

Coordinates are in percent of the picture's width and height. A rectangle is turned about
its upper left corner, an ellipse about its centre, both clockwise, in degrees.
"""

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from nerve_jax.data.exchange import brush
from nerve_jax.data.exchange.entries import Entry, Problems, Shape
from nerve_jax.data.exchange.names import LABELLED, read_json, read_names
from nerve_jax.data.exchange.shapes import (
    NOWHERE,
    Area,
    Size,
    make_box,
    make_ellipse,
    make_polygon,
)
from nerve_jax.data.frames import MAX_PIXELS
from nerve_jax.data.listing import compose
from nerve_jax.data.media.kinds import SUFFIXES
from nerve_jax.system.files import show

# Their labels are in a second region, or in the same.
BARE = ("brush", "polygon", "rectangle", "ellipse")


def read_tasks(path: Path, problems: Problems) -> list[tuple[Entry, int]]:
    """The tasks of an export; none of a file that is another.

    Returns:
      For each its entry, with labels and the URL of its picture, and the number of its
      annotations that were not read.
    """
    tasks, file = [], show(path.name)
    with problems.at(file):
        content = read_json(path, _pack)
        if isinstance(content, list) and all(isinstance(t, dict) for t in content):
            for number, task in enumerate(content, 1):
                where = f"{file}, task {show(str(task.get('id', number)))}"
                with problems.at(where) as found:
                    tasks.append(_parse_task(where, task, found))
    return tasks


def _pack(content: dict) -> dict:
    """Bytes in place of a list of them, which takes eight times the memory."""
    rle = content.get("rle")
    if isinstance(rle, list) and all(type(v) is int and 0 <= v < 256 for v in rle):
        content["rle"] = bytes(rle)
    return content


def _parse_task(where: str, task: dict, problems: Problems) -> tuple[Entry, int]:
    """A task, with the first annotation that is not cancelled."""
    if "annotations" not in task:
        raise ValueError('no annotations in it; export as "JSON", not as "JSON-MIN"')
    data, annotations = task["data"], task["annotations"]
    valid = [
        a for a in annotations if not a.get("was_cancelled") and not a.get("skipped")
    ]
    regions = list(filter(_is_region, valid[0]["result"])) if valid else []
    named = {str(region.get("id")) for region in regions if _list_labels(region)}
    shapes: list[Shape] = []
    sizes: set[Size] = set()
    for region in regions:
        number, labels = str(region.get("id")), _list_labels(region)
        place = f"region {show(number)}"
        with problems.at(place):
            if labels:
                size, area = _parse_region(region)
                shapes += [Shape(x, area, f"{where}, {place}") for x in labels]
                sizes.add(size)
            elif number not in named:
                raise ValueError("no label; give it one")
    if len(sizes) > 1:
        raise ValueError("regions on pictures of several sizes")
    looked_for = read_names(data.get(LABELLED)) if valid else ()
    size = sizes.pop() if sizes else None
    entry = Entry(where, _find_reference(data), size, looked_for, shapes)
    return entry, len(valid[1:])


def _is_region(result: dict) -> bool:
    """Whether a result of an annotation is a region, and no choice or relation."""
    kind = result["type"].lower()
    return kind in BARE or kind.endswith("labels") or "sequence" in result["value"]


def _list_labels(region: dict) -> list[str]:
    value = region["value"]
    lists = [value[key] for key in value if key.endswith("labels")]
    labels = [label for some in lists if isinstance(some, list) for label in some]
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("a label that is no text")
    return labels


def _parse_region(region: dict) -> tuple[Size, Area]:
    """The size of the picture that a region was drawn on, and its area."""
    if "sequence" in region["value"]:
        raise ValueError("boxes in a clip are not read; label clips in CVAT")
    height, width = size = region["original_height"], region["original_width"]
    is_whole = all(type(n) is int and n > 0 for n in size)
    if not is_whole or height * width > MAX_PIXELS:
        raise ValueError(f"of a picture of {width}x{height} px")
    if region.get("image_rotation"):
        raise ValueError(
            "drawn on a picture that was turned; turn it back, and export again"
        )
    return size, _make_area(region["type"], region["value"], size)


def _make_area(kind: str, value: dict[str, Any], size: Size) -> Area:
    """The area of a region by its geometry; raise `ValueError` where there is none."""
    if "rle" in value:
        if not isinstance(value["rle"], bytes):
            raise ValueError("its rle is no list of bytes, 0 to 255")
        brush.decode(value["rle"], size)
        return Area(NOWHERE, partial(brush.decode, value["rle"]))
    scale = np.array(size[::-1]) / 100
    angle = float(value.get("rotation") or 0)

    def read_px(x: str, y: str) -> list[float]:
        return (np.array([value[x], value[y]], float) * scale).tolist()

    if "points" in value:
        return make_polygon(np.array(value["points"], float) * scale)
    if "radiusX" in value:
        return make_ellipse(read_px("x", "y"), read_px("radiusX", "radiusY"), angle)
    if "height" in value:
        (left, top), (wide, high) = read_px("x", "y"), read_px("width", "height")
        return make_box((left, top, left + wide, top + high), angle, (left, top))
    raise ValueError(
        f"{show(kind)} is no outline; use brush, polygon, rectangle or ellipse, or delete "
        "it"
    )


def _find_reference(data: dict[str, Any]) -> str:
    """The URL of the picture among the fields of a task."""
    urls = {
        key: value
        for key, value in data.items()
        if isinstance(value, str) and find_path(value).suffix.lower() in SUFFIXES
    }
    if "image" in urls or len(urls) == 1:
        return urls.get("image") or next(iter(urls.values()))
    found = f"{len(urls)} fields name one" if urls else "no field names one"
    raise ValueError(f"which picture it is of is not certain: {found}")


def find_path(url: str) -> PurePosixPath:
    """The path that a URL speaks of: of local files what follows ?d=."""
    try:
        parts = urlsplit(url, allow_fragments=False)
    except ValueError:
        return PurePosixPath()
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    return PurePosixPath(compose(path.replace("\\", "/")))
