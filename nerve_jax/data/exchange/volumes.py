"""Label maps of medical programs beside pictures: what NIfTI and NRRD have in common.

Each file is of one picture, of its name: p1.nii.gz, p1_seg.nii.gz or labels/p1-mask.nrrd
of p1.png. The axes are x, then y, then nothing more or axes of length 1. The stored array
is the picture, its first row at the top: directions, origin and spacing of the header are
not applied. Programs that open a PNG picture (those built on ITK, such as ITK-SNAP and
3D Slicer) store labels so, and a header of theirs says -1 for x and y in NIfTI (whose
axes point right and forward) and 1 in NRRD (left and backward) for the same array.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from nerve_jax.data.exchange.entries import Entry, Gathered, Shape, Size, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import name_picture, name_structures
from nerve_jax.data.exchange.pictures import find_pictures, measure
from nerve_jax.data.exchange.references import MALFORMED, choose, describe, group
from nerve_jax.data.frames import MAX_PIXELS, read_file
from nerve_jax.data.listing import compose, is_litter, list_some
from nerve_jax.data.ultrasound_nerve.sources import SourceFile
from nerve_jax.data.ultrasound_nerve.tables import read_table
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show, write_table

TABLE, COLUMNS = "structures.csv", ("value", "name")
FOLDERS = ("labels", "masks", "images")  # in front of a name, of no meaning
ENDING = re.compile(r"[-_. ](seg(mentation)?|label(s|map)?|masks?)$", re.IGNORECASE)
VALUES_SHOWN = 8


class Part(NamedTuple):
    """A structure of a volume: its label, in which layer it is, and as which value."""

    label: str
    layer: int
    value: int


class Volume(NamedTuple):
    """A file of labels, of which the header was read.

    Attributes:
      size: height and width of what is stored, in px.
      corner: top and left of that in the picture, where it may be a part of it; None
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
    open_volume: Callable[[bytes, Path, Mapping[int, str]], Volume],
) -> Iterator[Labelled]:
    """Read all label maps in and below a folder.

    Args:
      folder: of labels and pictures.
      endings: of files, the longest first.
      open_volume: from content and path of a file, and the label of each value of the
        folder's table, to what it holds; raises `ValueError`.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`. Values without a name.
    """
    gathered = Gathered()
    table = read_labels(folder, gathered)
    pictures = find_pictures(folder)
    find, opened = _make_finder(pictures), []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(is_litter(Path(part)) for part in inside.parts)
        ending = next((e for e in endings if path.name.lower().endswith(e)), "")
        if not ending or hidden or not path.is_file():
            continue
        where = show(inside.as_posix())
        try:
            picture = find(inside.as_posix()[: -len(ending)])
            open_it = partial(_open, open_volume, path, table)
            volume = _check(open_it, pictures.get(picture))
            opened.append((picture, volume.size, volume.parts, open_it))
        except (OSError, *MALFORMED) as error:
            gathered.problems.append(f"{where}: {describe(error)}")
    labels = [part.label for _, _, parts, _ in opened for part in parts]
    structures = name_structures(dict.fromkeys(labels), gathered.problems)
    if not opened and not gathered.problems:
        gathered.problems.append(f"no {' or '.join(endings)} file there")
    entries = [_make_entry(*one, structures) for one in opened]
    return settle(entries, folder, gathered)


def read_labels(folder: Path, gathered: Gathered) -> dict[int, str]:
    """The label of each value: of structures.csv, else of nnU-Net's dataset.json.

    Returns:
      Labels by value, 1 or more; empty where the folder has neither file.
    """
    for path in (folder / TABLE, folder / "labels" / TABLE):
        if path.exists():
            try:
                rows = read_table(SourceFile(path), COLUMNS).rows
            except InputError as error:
                gathered.problems.append(str(error))
                return {}
            pairs = [(row["value"], row["name"]) for _, row in rows]
            return _read_pairs(path.name, pairs, gathered)
    path = folder / "dataset.json"
    if not path.exists():
        return {}
    try:
        labels = json.loads(read_file(path))["labels"]
        pairs = [(str(value), str(name)) for name, value in labels.items()]
    except (OSError, RecursionError, *MALFORMED) as error:
        gathered.problems.append(f"{path.name}: no labels in it ({error}); mend it")
        return {}
    return _read_pairs(path.name, pairs, gathered)


def _read_pairs(
    where: str, pairs: Sequence[tuple[str, str]], gathered: Gathered
) -> dict[int, str]:
    labels: dict[int, str] = {}
    for value, name in pairs:
        shown = f"{where}: value {show(value)!r}, name {show(name)!r}"
        if name.lower() == "background" and value == "0":
            continue
        if not re.fullmatch(r"[1-9][0-9]{0,8}", value) or not name:
            gathered.problems.append(
                f"{shown}: write a whole number from 1, and a name"
            )
        elif int(value) in labels or name in labels.values():
            gathered.problems.append(f"{shown}: one of them is there twice; keep one")
        else:
            labels[int(value)] = name
    return labels


def _make_finder(pictures: Mapping[str, Path]) -> Callable[[str], str]:
    """A function from the path of labels to the key of their picture, or what is missing."""
    by_name = group(pictures, name_picture)
    by_stem = group(pictures, lambda name: PurePosixPath(name).stem)

    def find(path: str) -> str:
        parts = PurePosixPath(compose(path)).parts
        inner = parts[1:] if len(parts) > 1 and parts[0] in FOLDERS else parts
        for name in (inner[-1], ENDING.sub("", inner[-1])):
            whole = "_".join([*inner[:-1], name])
            if found := by_name.get(whole) or by_stem.get(name):
                return choose(found, path)
        return ENDING.sub("", inner[-1])

    return find


def _open(open_volume, path: Path, table: Mapping[int, str]) -> Volume:
    return open_volume(read_file(path), path, table)


def _check(open_it: Callable[[], Volume], picture: Path | None) -> Volume:
    """Open and load a volume; raise `ValueError` for what is wrong with it."""
    volume = open_it()
    height, width = volume.size
    layers = 1 + max((part.layer for part in volume.parts), default=0)
    if height * width * layers > MAX_PIXELS:
        raise ValueError(f"{width}x{height} px in {layers} layers are too many")
    size = measure(picture) if picture else None
    if size and volume.corner is None and size == volume.size[::-1] != volume.size:
        raise ValueError(
            f"axes of {width} and {height}, and a picture {size[1]} px wide: the first "
            "axis is to be x; save the array transposed"
        )
    if size and volume.corner is not None:
        ends = [c + n for c, n in zip(volume.corner, volume.size, strict=True)]
        if min(volume.corner) < 0 or ends[0] > size[0] or ends[1] > size[1]:
            raise ValueError(f"reaches beyond its picture of {size[1]}x{size[0]} px")
    _check_values(volume)
    return volume


def _check_values(volume: Volume) -> None:
    known = {(part.layer, part.value) for part in volume.parts}
    for layer, values in enumerate(volume.load()):
        found = [v for v in np.unique(values).tolist() if v and (layer, v) not in known]
        if found:
            shown = list_some(map(str, found), VALUES_SHOWN)
            raise ValueError(
                f"no name for {'values' if len(found) > 1 else 'value'} {shown}; write "
                f"{TABLE}, of {' and '.join(COLUMNS)}, beside"
            )


def _make_entry(
    picture: str,
    size: Size,
    parts: Sequence[Part],
    open_it: Callable[[], Volume],
    structures: Mapping[str, str],
) -> Entry:
    named = [part for part in parts if part.label in structures]
    shapes = [
        Shape(structures[part.label], partial(_draw, open_it, part)) for part in named
    ]
    is_part = open_it().corner is not None
    looked_for = [shape.structure for shape in shapes]
    return Entry(picture, None if is_part else size, looked_for, shapes)


def _draw(
    open_it: Callable[[], Volume], part: Part, size: Size
) -> Bool[np.ndarray, "height width"]:
    volume, mask = open_it(), np.zeros(size, bool)
    top, left = volume.corner or (0, 0)
    inside = mask[top : top + volume.size[0], left : left + volume.size[1]]
    inside[:] = volume.load()[part.layer] == part.value
    return mask


def to_labels(values: Shaped[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Values as integers; raise `ValueError` where some are none."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"values of type {values.dtype}, no labels")
    if values.dtype.kind == "f":
        is_whole = np.isfinite(values) & (np.abs(values) < 2**31)
        if not is_whole.all() or (values != np.rint(values)).any():
            raise ValueError(
                "values that are no whole numbers: probabilities, not labels"
            )
    return values.astype(np.int64)


def read_plane(shape: Sequence[int]) -> Size:
    """Height and width of axes x, y and more of length 1; else raise `ValueError`."""
    if len(shape) < 2 or any(n != 1 for n in shape[2:]) or min(shape) < 1:
        raise ValueError(
            f"axes of {', '.join(map(str, shape))}: not one picture; save a file per frame"
        )
    return int(shape[1]), int(shape[0])


def write_labels(folder: Path, structures: Sequence[str]) -> dict[str, int]:
    """Write structures.csv, and return the value of each structure, from 1."""
    values = {structure: value for value, structure in enumerate(structures, 1)}
    write_table(folder / TABLE, COLUMNS, [(v, s) for s, v in values.items()])
    return values
