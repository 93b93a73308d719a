"""LabelMe: a JSON file for each picture, with polygons, boxes, circles and masks.

Structures are the labels that occur in a folder: whoever saved a JSON file for a picture
has looked for all of them, unless a flag of the file, "labelled: vessel", says of each
whether they did. A mask is a PNG of the box that it fills, from LabelMe 5.3 on; the box is
given by its first and last pixel.
"""

import base64
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from nerve_jax.data.exchange.entries import Entry, Problems, Shape, name_labels, settle
from nerve_jax.data.exchange.names import (
    choose,
    group,
    name_file,
    read_json,
)
from nerve_jax.data.exchange.pictures import (
    Labelled,
    copy_pictures,
    find_pictures,
    list_files,
)
from nerve_jax.data.exchange.shapes import (
    Area,
    Mask,
    Size,
    cut_out,
    make_box,
    make_ellipse,
    make_patch,
    make_polygon,
)
from nerve_jax.data.frames import decode
from nerve_jax.data.listing import compose
from nerve_jax.system.files import show, to_json

VERSION = "6.3.1"  # of LabelMe, whose fields are written
FLAG = "labelled: "


def read(folder: Path) -> Iterator[Labelled]:
    """Read all *.json of LabelMe in and below a folder, with the pictures they name.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. Lines and points are no
        outlines.
    """
    problems, parsed = Problems(), []
    for path, inside in list_files(folder):
        if path.suffix == ".json":
            with problems.at(show(str(inside))) as found:
                content = read_json(path)
                if isinstance(content, dict) and "shapes" in content:
                    parsed.append((inside, *_parse(content, show(str(inside)), found)))
    labels = dict.fromkeys(
        label
        for _, entry, flags in parsed
        for label in [*flags, *(shape.structure for shape in entry.shapes)]
    )
    find, entries = _make_finder(folder), []
    for path, entry, flags in parsed:
        with problems.at(entry.where):
            wanted = [label for label in labels if flags.get(label, True)]
            name = find(path.parent, PurePosixPath(entry.file_name))
            entries.append(entry._replace(file_name=name, structures=wanted))
    entries = name_labels(entries, problems)
    return settle(entries, folder, problems, "no file of LabelMe with a shape there")


def _parse(
    content: dict, where: str, problems: Problems
) -> tuple[Entry, dict[str, bool]]:
    """What a file says of its picture, and of labels, whether they were looked for.

    The entry has labels, and the path of the picture from where the file lies.
    """
    shapes = []
    for number, shape in enumerate(content["shapes"], 1):
        label = shape["label"]
        if type(label) is not str:
            raise ValueError(f"shape {number}: a label that is no text")
        place = f"shape {number} ({show(label)})"
        with problems.at(place):
            shapes.append(Shape(label, _make_area(shape), f"{where}, {place}"))
    flags = (content.get("flags") or {}).items()
    looked_for = {key[len(FLAG) :]: bool(v) for key, v in flags if key.startswith(FLAG)}
    picture = compose(content["imagePath"].replace("\\", "/"))
    size = _read_size(content.get("imageHeight"), content.get("imageWidth"))
    return Entry(where, picture, size, (), shapes), looked_for


def _read_size(height: Any, width: Any) -> Size | None:
    if height is None and width is None:  # before LabelMe 4
        return None
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f"imageHeight {height} and imageWidth {width} of no picture")
    return height, width


def _make_finder(folder: Path) -> Callable[[Path, PurePosixPath], str]:
    """A function from a file's folder and the path in it to the key of its picture.

    The key is that of `find_pictures`, or the name of a picture that is not there.
    """
    pictures = find_pictures(folder)
    by_name = group(pictures, name_file)

    def find(parent: Path, picture: PurePosixPath) -> str:
        beside = os.path.normpath(parent / picture).removeprefix("images/")
        same = [beside] if beside in pictures else by_name[picture.name]
        return choose(same, str(picture)) if same else picture.name

    return find


def _make_area(shape: dict) -> Area:
    """The area of a shape.

    Raises:
      ValueError: it is no outline, or its points are wrong; or one of `names.MALFORMED`.
    """
    kind, array = shape.get("shape_type") or "polygon", np.array(shape["points"], float)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError("points that are not x and y each")
    points = array.tolist()
    match kind, len(points):
        case ("polygon", _) | ("oriented_rectangle", 4):
            return make_polygon(points)
        case "rectangle", 2:
            return make_box([*points[0], *points[1]])
        case "circle", 2:
            radius = float(np.hypot(*np.subtract(points[1], points[0])))
            return make_ellipse(points[0], (radius, radius))
        case "mask", 2:
            (left, top), last = points
            size = _load_mask(shape["mask"]).shape
            whole = int(left) == left and int(top) == top
            if not whole or [left + size[1] - 1, top + size[0] - 1] != last:
                raise ValueError(f"a mask of shape {size} in a box of another size")
            load = partial(_load_mask, shape["mask"])
            return make_patch(int(left), int(top), size, load)
        case (("rectangle" | "oriented_rectangle" | "circle" | "mask"), count):
            raise ValueError(f"a {kind} of {count} points")
    raise ValueError(
        f"a {show(str(kind))} is no outline; draw a polygon, rectangle, circle or mask"
    )


def _load_mask(code: Any) -> Mask:
    """Decode the PNG of a mask."""
    part = np.asarray(decode(base64.b64decode(code)).image)
    if part.ndim != 2:
        raise ValueError(f"a mask of shape {part.shape}")
    return part > 0


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write pictures, and a JSON file beside each that is labelled, with exact masks."""
    for one, name in copy_pictures(labelled, folder):
        if not one.masks:
            continue
        content = {
            "version": VERSION,
            "flags": {f"{FLAG}{s}": s in one.masks for s in structures},
            "shapes": [
                _make_shape(structure, mask)
                for structure, mask in one.masks.items()
                if mask.any()
            ],
            "imagePath": name,
            "imageData": None,
            "imageHeight": one.size[0],
            "imageWidth": one.size[1],
        }
        (folder / f"{one.name}.json").write_text(to_json(content, indent=2) + "\n")


def _make_shape(structure: str, mask: Mask) -> Mapping[str, Any]:
    """A mask as LabelMe keeps it."""
    left, top, part = cut_out(mask)
    buffer = io.BytesIO()
    Image.fromarray(part.astype(np.uint8)).save(buffer, format="PNG")
    return {
        "label": structure,
        "points": [[left, top], [left + part.shape[1] - 1, top + part.shape[0] - 1]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(buffer.getvalue()).decode(),
    }
