"""Label maps of medical programs: what NIfTI, NRRD and nnU-Net have in common.

Each file is of one picture, of its name: p1.nii.gz, p1_seg.nii.gz or labels/p1-mask.nrrd
of p1.png. The axes are x, then y, then nothing more or axes of length 1. The stored array
is the picture, its first row at the top: directions, origin and spacing of the header are
not applied. Programs that open a PNG picture (those built on ITK, such as ITK-SNAP and
3D Slicer) store labels so, and a header of theirs says -1 for x and y in NIfTI (whose
axes point right and forward) and 1 in NRRD (left and backward) for the same array.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from nerve_jax.data.exchange.entries import Entry, Problems, Shape, name_labels, settle
from nerve_jax.data.exchange.names import (
    choose,
    group,
    name_picture,
    read_json,
)
from nerve_jax.data.exchange.pictures import Labelled, find_pictures, list_files
from nerve_jax.data.exchange.shapes import Size, make_patch
from nerve_jax.data.frames import MAX_PIXELS
from nerve_jax.data.listing import compose, list_some
from nerve_jax.data.ultrasound_nerve.sources import SourceFile
from nerve_jax.data.ultrasound_nerve.structures_table import read_structures
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

TABLE = "structures.csv"
DATASET, BACKGROUND, IGNORE = "dataset.json", "background", "ignore"  # of nnU-Net
FOLDERS = ("labels", "masks", "images")  # in front of a name, of no meaning
ENDING = re.compile(r"[-_. ](seg(mentation)?|label(s|map)?|masks?)$", re.IGNORECASE)
MOST = 255  # structures that a label map of 8 bits holds
VALUES_SHOWN = 8


class Part(NamedTuple):
    """A structure of a volume, by its label, in one layer: pixels of these values."""

    label: str
    layer: int
    values: tuple[int, ...]


class Volume(NamedTuple):
    """A file of labels, of which the header was read.

    Attributes:
      size: height and width of what is stored, in px.
      corner: left and top of that in the picture, where it may be a part of it; None
        where it must be the whole.
      parts: the structures that were looked for.
      load: reads the values. Raises `ValueError`.
    """

    size: Size
    corner: tuple[int, int] | None
    parts: Sequence[Part]
    load: Callable[[], Int[np.ndarray, "layers height width"]]


def read_volumes(
    folder: Path,
    endings: Sequence[str],
    open_volume: Callable[[Path, Sequence[Part]], Volume],
) -> Iterator[Labelled]:
    """Read all label maps in and below a folder.

    Args:
      folder: of labels and pictures.
      endings: of files, the longest first.
      open_volume: from the path of a file, and the structures of the folder's table, to
        what it holds; raises `ValueError`.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. Values without a name.
    """
    problems = Problems()
    table = _read_table(folder, problems)
    problems.raise_if_any(folder)  # without a table every file has a problem
    find, entries = _make_finder(find_pictures(folder)), []
    for path, inside in list_files(folder):
        ending = next((e for e in endings if path.name.lower().endswith(e)), "")
        if ending and path.is_file():
            where = show(inside.as_posix())
            with problems.at(where):
                picture = find(inside.as_posix()[: -len(ending)])
                entries.append(make_entry(where, picture, open_volume(path, table)))
    entries = name_labels(entries, problems)
    return settle(entries, folder, problems, f"no {' or '.join(endings)} file there")


def make_entry(where: str, picture: str, volume: Volume) -> Entry:
    """What a file says of its picture, with labels; see `_check_values` for errors.

    Args:
      where: the file.
      picture: see `Entry.file_name`.
      volume: of it.
    """
    _check_values(volume)

    def load(part: Part) -> np.ndarray:
        return np.isin(volume.load()[part.layer], part.values)

    shapes = []
    for part in volume.parts:
        place = volume.corner or (0, 0)
        area = make_patch(*place, volume.size, partial(load, part))
        shapes.append(Shape(part.label, area, where))
    size = volume.size if volume.corner is None else None
    return Entry(where, picture, size, (), shapes)


def _check_values(volume: Volume) -> None:
    """Raise `ValueError` for a volume of too many values, or with some of no structure."""
    height, width = volume.size
    layers = 1 + max((part.layer for part in volume.parts), default=0)
    if height * width * layers > MAX_PIXELS:
        raise ValueError(f"{width}x{height} px in {layers} layers are too many")
    for layer, values in enumerate(volume.load()):
        known = {0, *(v for p in volume.parts if p.layer == layer for v in p.values)}
        if unknown := sorted(set(np.unique(values).tolist()) - known):
            raise ValueError(
                f"no name for {'values' if len(unknown) > 1 else 'value'} "
                f"{list_some(map(str, unknown), VALUES_SHOWN)}; write {TABLE}, of value "
                f"and name, or {DATASET}"
            )


def _read_table(folder: Path, problems: Problems) -> list[Part]:
    """Structures and values: of structures.csv, else of nnU-Net's dataset.json."""
    for path in (folder / TABLE, folder / "labels" / TABLE):
        if path.exists():
            try:
                values = read_structures(SourceFile(path), problems)
            except InputError as error:
                problems.append(str(error))
                return []
            if any(type(value) is not int for value in values.values()):
                problems.append(f"{path.name}: colours; the values here are numbers")
                return []
            return [Part(name, 0, (value,)) for name, value in values.items()]
    path = folder / DATASET
    if path.exists():
        with problems.at(DATASET) as found:
            return list_labels(read_json(path)["labels"], found)
    return []


def list_labels(labels: Any, problems: Problems) -> list[Part]:
    """The labels of a dataset.json; names and values may be either way round."""
    pairs: list[tuple[str, Any]] = list(labels.items())
    if all(isinstance(name, str) for name in labels.values()):  # the first version
        is_number = re.compile("[0-9]{1,9}").fullmatch
        pairs = [(n, int(v) if is_number(v) else v) for v, n in labels.items()]
    found: dict[str, tuple[int, ...]] = {}
    for name, value in pairs:
        values = tuple(value) if isinstance(value, list) else (value,)
        with problems.at(f"label {show(name)!r}"):
            if not values or not all(type(v) is int and v >= 0 for v in values):
                raise ValueError(f"{show(str(value))} is no whole number")
            if (name == BACKGROUND) != (values == (0,)):
                raise ValueError(f"is {values[0]}; 0 is {BACKGROUND}")
            if name in found or values in found.values():
                raise ValueError(f"is there twice, or its value {value} is; keep one")
        found[name] = values
    left_out = (BACKGROUND, IGNORE)
    return [Part(n, 0, values) for n, values in found.items() if n not in left_out]


def _make_finder(pictures: Mapping[str, Path]) -> Callable[[str], str]:
    """A function from the path of labels to the key of their picture, or what is missing."""
    by_name = group(pictures, name_picture)
    by_stem = group(pictures, lambda name: PurePosixPath(name).stem)

    def find(path: str) -> str:
        parts = PurePosixPath(compose(path)).parts
        inner = parts[1:] if len(parts) > 1 and parts[0] in FOLDERS else parts
        stripped = ENDING.sub("", inner[-1])
        for name in (inner[-1], stripped):
            if found := by_name["_".join([*inner[:-1], name])] or by_stem[name]:
                return choose(found, path)
        return stripped

    return find


def merge_masks(
    one: Labelled, structures: Sequence[str], problems: list[str]
) -> UInt8[np.ndarray, "height width"]:
    """The label map of a picture: 1 for the first structure, and so on.

    Args:
      one: the picture with its masks.
      structures: all, in order.
      problems: gains what a label map of 8 bits cannot hold.
    """
    values = np.zeros(one.size, np.uint8)
    if len(structures) > MOST:
        problems.append(f"{one.name}: {len(structures)} structures, more than {MOST}")
        return values
    for value, structure in enumerate(structures, 1):
        mask = one.masks.get(structure, np.zeros(one.size, bool))
        if values[mask].any():
            problems.append(f"{one.name}: structures overlap")
            break
        values[mask] = value
    return values
