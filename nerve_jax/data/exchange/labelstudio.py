"""Label Studio: its JSON export, of tasks with annotations or "JSON-MIN".

A task is of one picture, found by the name that its URL ends with, also without the eight
hexadecimal digits that an upload adds. Outlines are brushed (see `brush`), polygons,
rectangles and ellipses; coordinates are in percent of width and height. Structures are
the labels that occur in a folder's exports: whoever annotated a picture has looked for
all of them, unless the task's data say for which, in the field `structures_labelled`.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np
from jaxtyping import Bool, Float

from nerve_jax.data.exchange import brush
from nerve_jax.data.exchange.entries import Entry, Gathered, Shape, Size, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.pictures import copy_pictures, find_pictures
from nerve_jax.data.exchange.references import MALFORMED, choose, describe, group
from nerve_jax.data.exchange.shapes import draw_ellipse, draw_polygon, turn_points
from nerve_jax.data.frames import MAX_PIXELS, read_file
from nerve_jax.data.listing import compose, count_of
from nerve_jax.data.media.kinds import SUFFIXES
from nerve_jax.system.console import say
from nerve_jax.system.files import show, write_whole

LOOKED_FOR = "structures_labelled"
UPLOADED = re.compile(r"[0-9a-f]{8}-")
BARE = ("brush", "polygon", "rectangle", "ellipse")  # their labels are a second region
ANNOTATIONS = ("annotations", "completions")  # the second until 2021


class Task(NamedTuple):
    """What an export says of one picture.

    Attributes:
      where: the file, and the task's number in it.
      reference: the URL of the picture.
      regions: what was outlined, as the export has it; None where nobody annotated it.
      looked_for: labels that were looked for, where the task says so.
      num_more: annotations by others, which are not read.
    """

    where: str
    reference: str
    regions: list[dict] | None
    looked_for: list[str] | None
    num_more: int


def read(folder: Path) -> Iterator[Labelled]:
    """Read the exports, *.json, in a folder; pictures lie there or below.

    Of several annotations of a task the first that is not cancelled is read.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`.
    """
    gathered = Gathered()
    tasks: list[Task] = []
    for path in sorted(folder.glob("*.json")):
        tasks += _read_file(path, gathered)
    labels = dict.fromkeys(
        label
        for task in tasks
        for label in [*(task.looked_for or []), *_list_labels(task, gathered)]
    )
    structures = name_structures(labels, gathered.problems)
    if not labels and not gathered.problems:
        gathered.problems.append(
            "no label in any task of a *.json there, so what was looked for is not known; "
            'export as "JSON" from Label Studio'
        )
    if more := sum(task.num_more for task in tasks):
        say(f"left out: {count_of(more, 'annotation')} of a task by a second person")
    find = _make_finder(find_pictures(folder))
    entries = [_make_entry(task, structures, find, gathered) for task in tasks]
    return settle(entries, folder, gathered)


def _read_file(path: Path, gathered: Gathered) -> list[Task]:
    """The tasks of an export; none of a file that is another."""
    where = show(path.name)
    try:
        text = read_file(path).decode("utf-8-sig")
        content = json.loads(text, object_hook=_pack)
    except (OSError, ValueError, RecursionError) as error:
        gathered.problems.append(f"{where}: not JSON ({error}); export it again")
        return []
    if not isinstance(content, list) or not all(isinstance(t, dict) for t in content):
        return []
    ids = [str(task.get("id", number)) for number, task in enumerate(content, 1)]
    tasks = []
    for name, numbers in group(
        map(str, range(len(ids))), lambda n: ids[int(n)]
    ).items():
        parts = [content[int(number)] for number in numbers]
        label = f"{where}, task {show(name)}"
        try:
            if any("data" in part for part in parts):
                tasks += [_parse_task(label, part) for part in parts]
            else:
                tasks.append(_parse_rows(label, parts))
        except MALFORMED as error:
            gathered.problems.append(f"{label}: {describe(error)}")
    return tasks


def _pack(content: dict) -> dict:
    """Bytes in place of a list of them, which takes eight times the memory."""
    rle = content.get("rle")
    if isinstance(rle, list) and all(type(v) is int and 0 <= v < 256 for v in rle):
        content["rle"] = bytes(rle)
    return content


def _parse_task(where: str, task: dict) -> Task:
    data = task["data"]
    annotations = [a for key in ANNOTATIONS for a in task.get(key) or []]
    valid = [
        a for a in annotations if not a.get("was_cancelled") and not a.get("skipped")
    ]
    regions = [_check_region(r) for r in valid[0]["result"]] if valid else None
    looked_for = data.get(LOOKED_FOR)
    return Task(
        where,
        _find_reference(data),
        [region for region in regions if region] if regions is not None else None,
        re.split(r"[\s,;]+", looked_for.strip()) if looked_for else None,
        max(0, len(valid) - 1),
    )


def _check_region(result: dict) -> dict:
    """A result if it is a region, {} if it says something else of a task or region."""
    kind = result["type"].lower()
    return result if kind in BARE or kind.endswith("labels") else {}


def _parse_rows(where: str, parts: list[dict]) -> Task:
    """A task of JSON-MIN: a row per annotation, a field of it per tool."""
    row, *others = parts
    regions = [
        {
            **region,
            "type": next(k for k in region if k.endswith("labels")),
            "value": region,
        }
        for value in row.values()
        if isinstance(value, list)
        for region in value
        if isinstance(region, dict) and any(k.endswith("labels") for k in region)
    ]
    return Task(where, _find_reference(row), regions, None, len(others))


def _find_reference(data: dict) -> str:
    """The URL of the picture among the fields of a task."""
    urls = {
        key: value
        for key, value in data.items()
        if isinstance(value, str) and _name(value).suffix.lower() in SUFFIXES
    }
    if "image" in urls or len(urls) == 1:
        return urls.get("image") or next(iter(urls.values()))
    found = f"{len(urls)} fields name one" if urls else "none of its fields names one"
    raise ValueError(f"which picture is not certain: {found}; call that field image")


def _name(url: str) -> PurePosixPath:
    """The path that a URL speaks of: of local files what follows ?d=."""
    try:
        parts = urlsplit(url, allow_fragments=False)
    except ValueError:
        return PurePosixPath()
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    return PurePosixPath(compose(path.replace("\\", "/")))


def _list_labels(task: Task, gathered: Gathered) -> list[str]:
    """Labels of all regions; one without is a problem unless another of its id has one."""
    regions = task.regions or []
    named = {str(region.get("id")) for region in regions if _labels_of(region)}
    for region in regions:
        if not _labels_of(region) and str(region.get("id")) not in named:
            where = _say_where(task, region)
            gathered.problems.append(f"{where}: it has no label; give it one")
    return [label for region in regions for label in _labels_of(region)]


def _labels_of(region: dict) -> list[str]:
    value = region["value"]
    found = [value[key] for key in value if key.endswith("labels")]
    lists = [labels for labels in found if isinstance(labels, list)]
    return [str(label) for labels in lists for label in labels]


def _say_where(task: Task, region: dict) -> str:
    return f"{task.where}, region {show(str(region.get('id', '')))}"


def _make_finder(pictures: Iterable[str]):
    """A function from the URL of a picture to its key, or to the name that is missing."""
    pictures = list(pictures)
    by_name = group(pictures, lambda name: PurePosixPath(name).name)
    tidied = group(pictures, lambda name: _tidy(PurePosixPath(name).name))

    def find(url: str) -> str:
        path = _name(url)
        own = UPLOADED.sub("", path.name, count=1)
        found = by_name.get(path.name) or by_name.get(own) or tidied.get(own)
        return choose(found, path.as_posix()) if found else path.name

    return find


def _tidy(name: str) -> str:
    """A file's name as an upload changes it."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _make_entry(task: Task, structures: dict[str, str], find, gathered) -> Entry:
    """What a task says of its picture; what is wrong with it is gathered."""
    looked_for, shapes, size = task.looked_for, [], None
    if task.regions is None:
        looked_for = []
    for region in task.regions or []:
        if not (labels := _labels_of(region)):
            continue
        where = _say_where(task, region)
        try:
            size = _check(region, where, size, gathered)
        except MALFORMED as error:
            gathered.problems.append(f"{where}: {describe(error)}")
        draw = functools.partial(_fill, region["value"])
        shapes += [Shape(structures[x], draw) for x in labels if x in structures]
    try:
        picture = find(task.reference)
    except ValueError as error:
        gathered.problems.append(f"{task.where}: {error}")
        picture = task.reference
    wanted = structures if looked_for is None else looked_for
    found = [structures[label] for label in wanted if label in structures]
    found += [shape.structure for shape in shapes]
    return Entry(picture, size, list(dict.fromkeys(found)), shapes)


def _check(region: dict, where: str, known: Size | None, gathered: Gathered) -> Size:
    """The size of the picture that a region was drawn on.

    Raises:
      ValueError: it cannot be drawn, or that is not the size of another region.
    """
    value = region["value"]
    size = region["original_height"], region["original_width"]
    if (
        not all(type(n) is int and n > 0 for n in size)
        or size[0] * size[1] > MAX_PIXELS
    ):
        raise ValueError(f"drawn on a picture of {size[1]}x{size[0]} px")
    if known not in (None, size):
        raise ValueError(f"drawn on {size[1]}x{size[0]} px, another on {known[::-1]}")
    if region.get("image_rotation"):
        raise ValueError(
            "drawn on a picture that was turned; turn it back, export again"
        )
    if "rle" in value:
        brush.decode(value["rle"], size)
    elif "points" in value or "radiusX" in value or {"x", "height"} <= value.keys():
        gathered.check_points(where, _find_corners(value, size), size)
    else:
        raise ValueError(
            f"{show(region['type'])} is no outline; use brush, polygon, rectangle or "
            "ellipse, or delete it"
        )
    return size


def _find_corners(value: dict, size: Size) -> Float[np.ndarray, "corners 2"]:
    """Corners of a polygon or rectangle, or of the box around an ellipse, in px."""
    percent = np.array(size[::-1]) / 100
    if "points" in value:
        points = np.array(value["points"], float)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
            raise ValueError("a polygon needs three corners or more, x and y of each")
        return points * percent
    start = np.array([value["x"], value["y"]], float) * percent
    angle = float(value.get("rotation") or 0)
    if "radiusX" in value:
        radii = np.array([value["radiusX"], value["radiusY"]], float) * percent
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        half = np.hypot(radii * cos, radii[::-1] * sin)
        return start + np.stack([-half, half])
    wide, high = np.array([value["width"], value["height"]], float) * percent
    corners = start + np.array([[0, 0], [wide, 0], [wide, high], [0, high]])
    return turn_points(corners, tuple(start.tolist()), angle)


def _fill(value: dict, size: Size) -> Bool[np.ndarray, "height width"]:
    """The mask of a region that `_check` found no fault with."""
    if "rle" in value:
        return brush.decode(value["rle"], size)
    if "radiusX" not in value:
        return draw_polygon(_find_corners(value, size), size)
    percent = np.array(size[::-1]) / 100
    centre = np.array([value["x"], value["y"]], float) * percent
    radii = np.array([value["radiusX"], value["radiusY"]], float) * percent
    angle = float(value.get("rotation") or 0)
    return draw_ellipse(tuple(centre.tolist()), tuple(radii.tolist()), angle, size)


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/, tasks.json with brushed regions and label_config.xml.

    The tasks name pictures as local files of a storage whose root is that folder. Masks
    are kept exactly.
    """
    (folder / "images").mkdir()
    with (folder / "tasks.json").open("w") as file:
        start = "[\n"
        for number, (one, name) in enumerate(
            copy_pictures(labelled, folder / "images"), 1
        ):
            file.write(start + json.dumps(_make_task(number, one, name)))
            start = ",\n"
        file.write("\n]\n" if start != "[\n" else "[]\n")
    labels = "".join(f'    <Label value="{name}"/>\n' for name in structures)
    write_whole(
        folder / "label_config.xml",
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <BrushLabels name="structure" toName="image">\n{labels}'
        "  </BrushLabels>\n</View>\n",
    )


def _make_task(number: int, one: Labelled, name: str) -> dict:
    data = {"image": f"/data/local-files/?d=images/{quote(name)}"}
    if not one.masks:
        return {"id": number, "data": data, "annotations": []}
    data[LOOKED_FOR] = " ".join(one.masks)
    result = [
        {
            "id": f"{number}-{structure}",
            "type": "brushlabels",
            "from_name": "structure",
            "to_name": "image",
            "original_width": one.size[1],
            "original_height": one.size[0],
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": brush.encode(mask),
                "brushlabels": [structure],
            },
        }
        for structure, mask in one.masks.items()
        if mask.any()
    ]
    return {"id": number, "data": data, "annotations": [{"result": result}]}
