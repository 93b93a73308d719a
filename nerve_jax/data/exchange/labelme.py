"""LabelMe: a JSON file for each picture, with polygons, boxes, circles and masks.

Coordinates are in px from the upper left corner of the picture. A mask is a PNG of the
box that it fills, from LabelMe 5.3 on. Structures are the labels that occur in a folder:
whoever saved a JSON file for a picture has looked for all of them, unless a flag of the
file, "labelled: vessel", says of each whether they did.
"""

import base64
import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from nerve_jax.data.exchange.entries import Entry, Gathered, Shape, Size, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.pictures import copy_pictures, find_pictures
from nerve_jax.data.exchange.references import MALFORMED, choose, describe, group
from nerve_jax.data.exchange.shapes import draw_ellipse, draw_polygon
from nerve_jax.data.frames import MAX_PIXELS, decode, read_file
from nerve_jax.data.listing import compose, is_litter
from nerve_jax.system.files import show, to_json

VERSION = "6.3.1"  # of LabelMe, whose fields are written
FLAG = "labelled: "
CORNERS = {
    "polygon": 3,
    "oriented_rectangle": 4,
    "rectangle": 2,
    "circle": 2,
    "mask": 2,
}
NO_OUTLINES = ("linestrip", "line", "point", "points")
UNSTATED = (None, None)


def read(folder: Path) -> Iterator[Labelled]:
    """Read all *.json of LabelMe in and below a folder, with the pictures they name.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. Lines and points are no
        outlines.
    """
    gathered = Gathered()
    contents: dict[Path, dict] = {}
    for path in sorted(folder.rglob("*.json")):
        if not any(is_litter(Path(part)) for part in path.relative_to(folder).parts):
            contents |= _read_file(path, folder, gathered)
    labels = dict.fromkeys(
        label for content in contents.values() for label in _list_labels(content)
    )
    structures = name_structures(labels, gathered.problems)
    if not labels and not gathered.problems:
        found = "only files without a shape" if contents else "no file of LabelMe"
        gathered.problems.append(f"{found} there, so what was looked for is not known")
    find = _make_finder(folder, find_pictures(folder))
    entries = [
        _make_entry(path.relative_to(folder), content, structures, find, gathered)
        for path, content in contents.items()
    ]
    return settle(entries, folder, gathered)


def _read_file(path: Path, folder: Path, gathered: Gathered) -> dict[Path, dict]:
    """The content of a file by its path, without the picture that it may hold; or none."""
    where = show(str(path.relative_to(folder)))
    try:
        content = json.loads(read_file(path).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        gathered.problems.append(f"{where}: not JSON ({error}); save it again")
        return {}
    if not isinstance(content, dict) or "shapes" not in content:
        return {}
    try:
        for shape in content["shapes"]:
            _ = shape["label"], shape["points"]
        flags = content.get("flags") or {}
        return {
            path: {
                "shapes": content["shapes"],
                "flags": {
                    k[len(FLAG) :]: v for k, v in flags.items() if FLAG in k[:10]
                },
                "imagePath": str(content["imagePath"]),
                "is_inside": bool(content.get("imageData")),
                "size": (content.get("imageHeight"), content.get("imageWidth")),
            }
        }
    except MALFORMED as error:
        gathered.problems.append(f"{where}: {describe(error)}")
        return {}


def _list_labels(content: dict) -> list[str]:
    return [*content["flags"], *(str(shape["label"]) for shape in content["shapes"])]


def _make_finder(folder: Path, pictures: dict[str, Path]) -> Callable[..., str]:
    """A function from a JSON file to the key of its picture, or the missing name."""
    places = {path.resolve(): name for name, path in pictures.items()}
    by_name = group(pictures, lambda name: PurePosixPath(name).name)

    def find(path: Path, content: dict) -> str:
        named = PurePosixPath(compose(content["imagePath"].replace("\\", "/")))
        beside = (folder / path.parent / named).resolve()
        if beside in places:
            return places[beside]
        if found := by_name.get(named.name):
            return choose(found, str(named))
        if content["is_inside"]:
            raise ValueError(
                f"its picture {show(named.name)} is only inside it, as imageData; save it "
                "beside, e.g. by labelme_export_json of LabelMe"
            )
        return named.name

    return find


def _make_entry(
    path: Path,
    content: dict,
    structures: dict[str, str],
    find: Callable[..., str],
    gathered: Gathered,
) -> Entry:
    """What a file says of its picture; what is wrong with it is gathered."""
    where, shapes = show(str(path)), []
    picture, size = str(path), None
    try:
        picture = find(path, content)
        size = _read_size(content)
    except MALFORMED as error:
        gathered.problems.append(f"{where}: {describe(error)}")
    for number, shape in enumerate(content["shapes"], 1):
        label = str(shape["label"])
        try:
            _check(shape, f"{where}, shape {number} ({show(label)})", size, gathered)
        except MALFORMED as error:
            gathered.problems.append(
                f"{where}, shape {number} ({show(label)}): {describe(error)}"
            )
        if label in structures:
            draw = functools.partial(_fill, shape)
            shapes.append(Shape(structures[label], draw))
    flags = content["flags"]
    wanted = [structures[label] for label in structures if flags.get(label, True)]
    found = [*wanted, *(shape.structure for shape in shapes)]
    return Entry(picture, size, list(dict.fromkeys(found)), shapes)


def _read_size(content: dict) -> Size | None:
    size = content["size"]
    if size == UNSTATED:
        return None
    if (
        not all(type(n) is int and n > 0 for n in size)
        or size[0] * size[1] > MAX_PIXELS
    ):
        raise ValueError(
            f"imageHeight {size[0]} and imageWidth {size[1]} of no picture"
        )
    return size


def _check(shape: dict, where: str, size: Size | None, gathered: Gathered) -> None:
    """Gather or raise what is wrong with a shape; of an unknown size only its form."""
    kind = shape.get("shape_type") or "polygon"
    if kind in NO_OUTLINES or kind not in CORNERS:
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


def _fill(shape: dict, size: Size) -> Bool[np.ndarray, "height width"]:
    """The mask of a shape that `_check` found no fault with."""
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


def _make_shape(structure: str, mask: Bool[np.ndarray, "height width"]) -> dict:
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
