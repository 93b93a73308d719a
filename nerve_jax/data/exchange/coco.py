"""COCO JSON: polygons and run lengths of instances (pycocotools)."""

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nerve_jax.data.exchange.coco_segments import (
    draw,
    encode,
    find_problem,
    get_library,
)
from nerve_jax.data.exchange.entries import (
    Entry,
    Gathered,
    Shape,
    Size,
    read_files,
    settle,
)
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.pictures import copy_pictures
from nerve_jax.system.files import show, write_json

KEYS = {"images", "annotations", "categories"}
# Of an image for which not all categories were looked for; other programs pass it over.
LABELLED = "structures_labelled"
FILE = "annotations/instances_default.json"  # where Datumaro and CVAT look


def read(folder: Path) -> Iterator[Labelled]:
    """Read the JSON files of a folder, or of its annotations/, that list instances.

    The annotations of one category in one image are united. A category without an
    annotation was looked for and is not there; a picture that no file lists is
    unlabelled.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. A box without a
        segmentation is no outline.
      MissingExtraError: pycocotools is not installed.
    """
    get_library()
    gathered = Gathered()
    paths = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    entries = read_files(paths, _read_file, gathered)
    if not entries and not gathered.problems:
        gathered.problems.append(
            f"no *.json with {', '.join(sorted(KEYS))} in it, nor in its annotations/"
        )
    return settle(entries, folder, gathered)


def _read_file(path: Path, gathered: Gathered) -> list[Entry]:
    """The pictures that a file lists; none of a file that is not of COCO."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        gathered.problems.append(f"not JSON ({error}); export it again")
        return []
    if not isinstance(content, dict) or not content.keys() >= KEYS:
        return []
    wrong = [key for key in sorted(KEYS) if not _is_list_of_objects(content[key])]
    if wrong:
        gathered.problems.append(f"{wrong[0]} is no list of objects; export it again")
        return []
    structures = _read_categories(content["categories"], gathered)
    sizes = _read_sizes(content["images"], gathered)
    shapes = _read_annotations(content["annotations"], structures, sizes, gathered)
    return [
        _make_entry(image, list(structures.values()), shapes[image["id"]])
        for image in content["images"]
        if sizes and image["id"] in sizes
    ]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _read_categories(categories: list[dict], gathered: Gathered) -> dict[int, str]:
    """The structure of each category, by its id."""
    names = [category.get("name") for category in categories]
    ids = [category.get("id") for category in categories]
    if not all(isinstance(name, str) for name in names) or not _are_ids(ids):
        gathered.problems.append(
            "categories: each needs an id of its own, a whole number, and a name"
        )
        return {}
    structures = name_structures(names, gathered.problems)
    pairs = zip(ids, names, strict=True)
    return {i: structures[name] for i, name in pairs if name in structures}


def _are_ids(ids: Sequence[Any]) -> bool:
    return all(type(i) is int for i in ids) and len(set(ids)) == len(ids)


def _read_sizes(images: list[dict], gathered: Gathered) -> dict[int, Size]:
    """Height and width of each image that can be used, by its id."""
    if not _are_ids([image.get("id") for image in images]):
        gathered.problems.append("images: each needs an id of its own, a whole number")
        return {}
    sizes = {}
    for image in images:
        size = image.get("height"), image.get("width")
        if all(type(n) is int and n > 0 for n in size) and _is_text(image):
            sizes[image["id"]] = size
        else:
            gathered.problems.append(
                f"image {image['id']}: needs file_name, height and width; export it again"
            )
    return sizes


def _is_text(image: dict) -> bool:
    name = image.get("file_name")
    return isinstance(name, str) and name != ""


def _make_entry(image: dict, structures: list[str], shapes: list[Shape]) -> Entry:
    """What is listed of an image, of the structures that were looked for in it."""
    wanted = image.get(LABELLED)
    if isinstance(wanted, list):
        structures = [s for s in structures if s in wanted]
    shapes = [shape for shape in shapes if shape.structure in structures]
    size = image["height"], image["width"]
    return Entry(image["file_name"], size, structures, shapes)


def _read_annotations(
    annotations: list[dict],
    structures: dict[int, str],
    sizes: dict[int, Size],
    gathered: Gathered,
) -> dict[int, list[Shape]]:
    """Shapes by the id of their image."""
    shapes: dict[int, list[Shape]] = defaultdict(list)
    for number, annotation in enumerate(annotations):
        where = f"annotation {annotation.get('id', f'number {number + 1}')}"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        unknown = [
            f"{where}: {key} {show(str(value))} is not listed; export it again"
            for key, value, known in (
                ("image_id", image, sizes),
                ("category_id", category, structures),
            )
            if type(value) is not int or value not in known
        ]
        gathered.problems += unknown
        if not unknown:
            found = annotation.get("segmentation")
            problem = find_problem(found, sizes[image], where, gathered)
            gathered.problems += [f"{where}: {problem}"] if problem else []
            shape = Shape(structures[category], functools.partial(draw, found))
            shapes[image].append(shape)
    return shapes


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/ and annotations/, masks as compressed run lengths, exact.

    A structure that is not there has no annotation; an unlabelled frame is not listed.
    """
    get_library()
    for name in ("images", "annotations"):
        (folder / name).mkdir()
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
                of = {"id": len(annotations) + 1, "image_id": image["id"]}
                of["category_id"] = ids[structure]
                annotations.append(of | encode(mask))
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / FILE, content)
