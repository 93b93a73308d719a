"""LabelMe: a JSON file for each picture, with polygons, boxes, circles and masks.

Structures are the labels that occur in a folder: whoever saved a JSON file for a picture
has looked for all of them, unless a flag of the file, "labelled: vessel", says of each
whether they did.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from nerve_jax.data.exchange.entries import Entry, Gathered, Shape, Size, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.labelme_shapes import check, fill, make_shape
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.pictures import copy_pictures, find_pictures, measure
from nerve_jax.data.exchange.references import MALFORMED, choose, describe, group
from nerve_jax.data.frames import read_file
from nerve_jax.data.listing import compose, is_litter
from nerve_jax.system.files import show, to_json

VERSION = "6.3.1"  # of LabelMe, whose fields are written
FLAG = "labelled: "


class File(NamedTuple):
    """What a JSON file says of its picture.

    Attributes:
      where: its path below the folder.
      picture: the path of its picture, from where it lies.
      is_inside: whether it holds the picture too.
      size: height and width in px; None where it does not state them.
      shapes: each with a label and points.
      looked_for: of labels, whether they were looked for; others were.
    """

    where: Path
    picture: PurePosixPath
    is_inside: bool
    size: Size | None
    shapes: list[dict]
    looked_for: dict[str, bool]


def read(folder: Path) -> Iterator[Labelled]:
    """Read all *.json of LabelMe in and below a folder, with the pictures they name.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. Lines and points are no
        outlines.
    """
    gathered = Gathered()
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.json"))
    paths = [p for p in paths if not any(is_litter(Path(part)) for part in p.parts)]
    files = [file for path in paths for file in _read_file(folder, path, gathered)]
    labels = dict.fromkeys(
        label
        for file in files
        for label in [*file.looked_for, *(shape["label"] for shape in file.shapes)]
    )
    structures = name_structures(labels, gathered.problems)
    if not labels and not gathered.problems:
        found = "only files without a shape" if files else "no file of LabelMe"
        gathered.problems.append(f"{found} there, so what was looked for is not known")
    pictures = find_pictures(folder)
    find = _make_finder(folder, pictures)
    entries = []
    for file in files:
        try:
            picture, size = find(file), file.size
            if picture in pictures and not size:  # before LabelMe 4
                size = measure(pictures[picture])
        except (OSError, ValueError) as error:
            gathered.problems.append(f"{show(str(file.where))}: {error}")
            continue
        entries.append(_make_entry(file, picture, size, structures, gathered))
    if not entries:
        gathered.raise_if_any(folder)
    return settle(entries, folder, gathered)


def _read_file(folder: Path, path: Path, gathered: Gathered) -> list[File]:
    """A file, without the picture that it may hold; none of what is another JSON."""
    where = show(str(path))
    try:
        content = json.loads(read_file(folder / path).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        gathered.problems.append(f"{where}: not JSON ({error}); save it again")
        return []
    if not isinstance(content, dict) or "shapes" not in content:
        return []
    try:
        shapes = [dict(shape) for shape in content["shapes"]]
        if not all(isinstance(shape["label"], str) for shape in shapes):
            raise ValueError("a label that is no text")
        flags = (content.get("flags") or {}).items()
        looked_for = {k[len(FLAG) :]: bool(v) for k, v in flags if k.startswith(FLAG)}
        named = PurePosixPath(compose(content["imagePath"].replace("\\", "/")))
        size = _read_size(content.get("imageHeight"), content.get("imageWidth"))
        is_inside = bool(content.get("imageData"))
    except MALFORMED as error:
        gathered.problems.append(f"{where}: {describe(error)}")
        return []
    return [File(path, named, is_inside, size, shapes, looked_for)]


def _read_size(height: Any, width: Any) -> Size | None:
    if height is None and width is None:
        return None
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f"imageHeight {height} and imageWidth {width} of no picture")
    return height, width


def _make_finder(folder: Path, pictures: Mapping[str, Path]) -> Callable[[File], str]:
    """A function from a file to the key of its picture, or to the name that is missing."""
    places = {path.resolve(): name for name, path in pictures.items()}
    by_name = group(pictures, lambda name: PurePosixPath(name).name)

    def find(file: File) -> str:
        beside = (folder / file.where.parent / file.picture).resolve()
        if beside in places:
            return places[beside]
        if found := by_name.get(file.picture.name):
            return choose(found, str(file.picture))
        if file.is_inside:
            raise ValueError(
                f"its picture {show(file.picture.name)} is only inside it, as imageData; "
                "save it beside, e.g. by labelme_export_json of LabelMe"
            )
        return file.picture.name

    return find


def _make_entry(
    file: File,
    picture: str,
    size: Size | None,
    structures: Mapping[str, str],
    gathered: Gathered,
) -> Entry:
    """What a file says of its picture; what is wrong with it is gathered."""
    shapes = []
    for number, shape in enumerate(file.shapes, 1):
        label = shape["label"]
        where = f"{show(str(file.where))}, shape {number} ({show(label)})"
        try:
            check(shape, where, size, gathered)
        except MALFORMED as error:
            gathered.problems.append(f"{where}: {describe(error)}")
        if label in structures:
            draw = functools.partial(fill, shape)
            shapes.append(Shape(structures[label], draw))
    wanted = [name for x, name in structures.items() if file.looked_for.get(x, True)]
    found = [*wanted, *(shape.structure for shape in shapes)]
    return Entry(picture, size, list(dict.fromkeys(found)), shapes)


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
                make_shape(structure, mask)
                for structure, mask in one.masks.items()
                if mask.any()
            ],
            "imagePath": name,
            "imageData": None,
            "imageHeight": one.size[0],
            "imageWidth": one.size[1],
        }
        (folder / f"{one.name}.json").write_text(to_json(content, indent=2) + "\n")
