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
from jaxtyping import Bool, Int

from nerve_jax.data.exchange import nnunet_dataset
from nerve_jax.data.exchange.entries import Entry, Gathered, Shape, Size, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import name_picture, name_structures
from nerve_jax.data.exchange.pictures import find_pictures, measure
from nerve_jax.data.exchange.references import MALFORMED, choose, describe, group
from nerve_jax.data.frames import MAX_PIXELS, read_file
from nerve_jax.data.listing import compose, is_litter, list_some
from nerve_jax.data.ultrasound_nerve.sources import SourceFile
from nerve_jax.data.ultrasound_nerve.structures_table import read_structures
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
    gathered = Gathered()
    values = read_values(folder, gathered)
    gathered.raise_if_any(folder)  # without a table every file has a problem
    table = [Part(name, 0, value) for name, of in values.items() for value in of]
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
            open_it = partial(open_volume, path, table)
            volume = _check(open_it, pictures.get(picture))
            size = volume.size if volume.corner is None else None
            opened.append((picture, size, volume.parts, open_it))
        except (OSError, *MALFORMED) as error:
            gathered.problems.append(f"{where}: {describe(error)}")
    labels = [part.label for _, _, parts, _ in opened for part in parts]
    structures = name_structures(dict.fromkeys(labels), gathered.problems)
    if not opened and not gathered.problems:
        gathered.problems.append(f"no {' or '.join(endings)} file there")
    if not opened:
        gathered.raise_if_any(folder)
    entries = [_make_entry(*one, structures) for one in opened]
    return settle(entries, folder, gathered)


def read_values(folder: Path, gathered: Gathered) -> dict[str, tuple[int, ...]]:
    """The values of each label: of structures.csv, else of nnU-Net's dataset.json.

    Returns:
      Empty where the folder has neither file.
    """
    for path in (folder / TABLE, folder / "labels" / TABLE):
        if path.exists():
            try:
                values = read_structures(SourceFile(path), gathered.problems)
            except InputError as error:
                gathered.problems.append(str(error))
                return {}
            colours = [name for name, value in values.items() if type(value) is not int]
            if colours:
                shown = list_some(colours, VALUES_SHOWN)
                gathered.problems.append(
                    f"{path.name}: colours ({shown}); the values here are whole numbers"
                )
                return {}
            return {name: (value,) for name, value in values.items()}
    path = folder / nnunet_dataset.FILE
    if not path.exists():
        return {}
    try:
        labels = json.loads(read_file(path))["labels"]
        return nnunet_dataset.read_labels(labels, gathered)
    except (OSError, RecursionError, *MALFORMED) as error:
        gathered.problems.append(f"{path.name}: no labels in it ({error}); mend it")
        return {}


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
    size: Size | None,
    parts: Sequence[Part],
    open_it: Callable[[], Volume],
    structures: Mapping[str, str],
) -> Entry:
    named = [part for part in parts if part.label in structures]
    shapes = [
        Shape(structures[part.label], partial(_draw, open_it, part)) for part in named
    ]
    looked_for = list(dict.fromkeys(shape.structure for shape in shapes))
    return Entry(picture, size, looked_for, shapes)


def _draw(
    open_it: Callable[[], Volume], part: Part, size: Size
) -> Bool[np.ndarray, "height width"]:
    volume, mask = open_it(), np.zeros(size, bool)
    top, left = volume.corner or (0, 0)
    inside = mask[top : top + volume.size[0], left : left + volume.size[1]]
    inside[:] = volume.load()[part.layer] == part.value
    return mask


def write_values(folder: Path, structures: Sequence[str]) -> dict[str, int]:
    """Write structures.csv, and return the value of each structure, from 1."""
    values = {structure: value for value, structure in enumerate(structures, 1)}
    write_table(folder / TABLE, COLUMNS, [(v, s) for s, v in values.items()])
    return values
