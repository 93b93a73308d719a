"""COCO JSON: polygons and run lengths of instances (pycocotools)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nerve_jax.data.exchange.entries import Entry, Problems, Shape, settle
from nerve_jax.data.exchange.names import (
    LABELLED,
    name_structures,
    read_json,
    select,
)
from nerve_jax.data.exchange.pictures import Labelled, copy_pictures
from nerve_jax.data.exchange.shapes import (
    NOWHERE,
    Area,
    Mask,
    Size,
    check_counts,
    decode_counts,
    make_polygon,
)
from nerve_jax.system.extras import require
from nerve_jax.system.files import show, write_json

KEYS = ("annotations", "categories", "images")
FILE = "annotations/instances_default.json"  # where Datumaro and CVAT look


def _get_library() -> ModuleType:
    return require("pycocotools.mask", "labels", "COCO JSON files")


def read(folder: Path) -> Iterator[Labelled]:
    """Read the JSON files of a folder, or of its annotations/, that list instances.

    A category without an annotation was looked for and is not there.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. A box without a
        segmentation is no outline.
      MissingExtraError: pycocotools is not installed.
    """
    _get_library()
    problems = Problems()
    entries: list[Entry] = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")]):
        where = show(path.name)
        with problems.at(where) as found:
            content = read_json(path)
            if isinstance(content, dict) and content.keys() >= set(KEYS):
                entries += _list_entries(content, where, found)
    nothing = f"no label of a picture in a *.json with {', '.join(KEYS)}, there or in "
    return settle(entries, folder, problems, f"{nothing}annotations/")


def _list_entries(content: dict, where: str, problems: Problems) -> list[Entry]:
    """The pictures that a file lists."""
    images, categories = (_index(content, key) for key in ("images", "categories"))
    labels = {number: one.get("name") for number, one in categories.items()}
    if not all(isinstance(label, str) for label in labels.values()):
        raise ValueError("categories: each needs a name")
    structures = name_structures(labels.values(), problems)
    shapes: dict[int, list[Shape]] = defaultdict(list)
    for number, one in enumerate(_list_objects(content, "annotations"), 1):
        place = f"annotation {show(str(one.get('id', f'number {number}')))}"
        with problems.at(place):
            image = _look_up(images, one, "image_id")
            label = labels[_look_up(categories, one, "category_id")["id"]]
            area = _make_area(one.get("segmentation"), _size_of(image))
            shape = Shape(structures[label], area, f"{where}: {place}")
            shapes[image["id"]].append(shape)
    entries = []
    for number, image in images.items():
        with problems.at(f"image {number}"):
            size, name = _size_of(image), image.get("file_name")
            if not all(type(n) is int and n > 0 for n in size) or type(name) is not str:
                raise ValueError("needs file_name, height and width; export it again")
            looked_for = select(structures.values(), image.get(LABELLED))
            entries.append(Entry(where, name, size, looked_for, shapes[number]))
    return entries


def _size_of(image: dict) -> tuple[Any, Any]:
    """Height and width of an image, as it states them."""
    return image.get("height"), image.get("width")


def _list_objects(content: dict, key: str) -> list[dict]:
    found = content[key]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{key} is no list of objects; export it again")
    return found


def _index(content: dict, key: str) -> dict[int, dict]:
    """Objects by their ids."""
    found = _list_objects(content, key)
    by_id = {one["id"]: one for one in found if type(one.get("id")) is int}
    if len(by_id) < len(found):
        raise ValueError(f"{key}: each needs an id of its own, a whole number")
    return by_id


def _look_up(by_id: dict[int, dict], annotation: dict, key: str) -> dict:
    """The image or category that an annotation is of."""
    number = annotation.get(key)
    if type(number) is not int or number not in by_id:
        raise ValueError(f"{key} {number} is not listed; export it again")
    return by_id[number]


def _make_area(found: Any, size: tuple[Any, Any]) -> Area:
    """The area of a segmentation; raise `ValueError` where there is none."""
    if isinstance(found, dict):
        if found.get("size") != list(size):
            raise ValueError(f"run lengths of size {found.get('size')}, not {[*size]}")
        check_counts(_read_counts(found), size)
        return Area(NOWHERE, partial(_draw_runs, found))
    if not found or not isinstance(found, list):
        raise ValueError("a box without a segmentation is no outline; draw one")
    if any(len(corners) % 2 for corners in found):
        raise ValueError("a polygon needs x and y of each corner")
    pairs = [np.array(corners, float).reshape(-1, 2) for corners in found]
    outline = np.concatenate([make_polygon(corners).outline for corners in pairs])
    return Area(outline, partial(_draw_polygons, pairs))


def _read_counts(found: dict) -> list[int]:
    """Lengths of the runs of a segmentation, down the columns; it may be compressed.

    Groups of five bits, least first, each a character from "0" on; 32 marks that more
    follow, and the highest bit of the last is the sign. From the fourth on a length is
    the difference to the last but one.

    Raises:
      ValueError: another character, or an end inside a number.
    """
    if not isinstance(found["counts"], str):
        return found["counts"]
    counts: list[int] = []
    value = shift = 0
    for character in found["counts"]:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"run lengths with a character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) >> 4 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths that end inside a number")
    return counts


def _draw_runs(found: dict, size: Size) -> Mask:
    return decode_counts(_read_counts(found), size[::-1]).T


def _draw_polygons(polygons: Sequence[np.ndarray], size: Size) -> Mask:
    """The union of polygons, as COCO's own library draws them."""
    library = _get_library()
    inside = [np.clip(corners, 0, size[::-1]).ravel().tolist() for corners in polygons]
    runs = library.merge(library.frPyObjects(inside, *size))
    return _draw_runs({"counts": runs["counts"].decode()}, size)


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/ and annotations/, masks as compressed run lengths, exact.

    A structure that is not there has no annotation; an unlabelled frame is not listed.
    """
    library = _get_library()
    (folder / FILE).parent.mkdir()
    ids = {name: number for number, name in enumerate(structures, start=1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for one, file_name in copy_pictures(labelled, folder / "images"):
        if not one.masks:
            continue
        height, width = one.size
        image = {"id": len(images) + 1, "file_name": file_name}
        image |= {"height": height, "width": width}
        if set(one.masks) != set(structures):
            image[LABELLED] = list(one.masks)
        images.append(image)
        for structure, mask in one.masks.items():
            if mask.any():
                runs = library.encode(np.asfortranarray(mask, np.uint8))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image["id"],
                        "category_id": ids[structure],
                        "segmentation": runs | {"counts": runs["counts"].decode()},
                        "area": int(library.area(runs)),
                        "bbox": library.toBbox(runs).tolist(),
                        "iscrowd": 0,
                    }
                )
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / FILE, content)
