"""What a file of labels lists of each picture, and the pictures it belongs to.

A format makes an `Entry` per picture and gathers problems; `settle` finds the pictures,
adds what is wrong with them, raises one error for all, and draws frame after frame.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import (
    SHOWN,
    describe_missing,
    find_clashes,
    find_name_problem,
    name_picture,
)
from nerve_jax.data.exchange.pictures import find_pictures, measure
from nerve_jax.data.exchange.shapes import OVERHANG_PX, compute_overhang
from nerve_jax.data.listing import compose, count_of, list_some
from nerve_jax.system.console import say
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.files import show

Size = tuple[int, int]


class Shape(NamedTuple):
    """A shape of one structure; `draw` makes its mask in a frame of some size."""

    structure: str
    draw: Callable[[Size], Bool[np.ndarray, "height width"]]


class Entry(NamedTuple):
    """A picture as labels list it.

    Attributes:
      file_name: as they name it, with / between folders.
      size: height and width in px, as they state it; None where they do not.
      structures: that were looked for.
      shapes: that were found, each inside the frame.
    """

    file_name: str
    size: Size | None
    structures: Sequence[str]
    shapes: Sequence[Shape]


class Gathered:
    """What is found while labels are read.

    Attributes:
      problems: each a line that names file, value and mend.
      num_cut: shapes that reach beyond their frame by a pixel at most.
    """

    def __init__(self) -> None:
        """Nothing is found yet."""
        self.problems: list[str] = []
        self.num_cut = 0

    def include(self, where: str, inner: "Gathered") -> None:
        """Add what was found in one file, or another part."""
        self.problems += [f"{where}: {problem}" for problem in inner.problems]
        self.num_cut += inner.num_cut

    def check_points(
        self, where: str, points: Float[np.ndarray, "corners 2"], size: Size
    ) -> bool:
        """Whether a shape lies in its frame, or would but for `OVERHANG_PX`."""
        overhang = compute_overhang(points, size)
        self.num_cut += 0 < overhang <= OVERHANG_PX
        if overhang > OVERHANG_PX:
            self.problems.append(
                f"{where}: reaches beyond its frame of {size[1]}x{size[0]} px by "
                f"{overhang:.1f} px; are these the labels of this picture?"
            )
        return overhang <= OVERHANG_PX

    def raise_if_any(self, folder: Path) -> None:
        """Raise one `InputError` with all problems; else report what was cut off."""
        mend = "Nothing was written. Correct them, and import again"
        raise_if_any(self.problems, f"{folder}: labels that cannot be read", mend)
        if self.num_cut:
            verb = "reach" if self.num_cut > 1 else "reaches"
            say(
                f"{count_of(self.num_cut, 'shape')} {verb} beyond the frame, by at most a "
                "pixel, and what is outside is cut off"
            )


def read_files(
    paths: Sequence[Path],
    read_file: Callable[[Path, Gathered], list[Entry]],
    gathered: Gathered,
) -> list[Entry]:
    """Read label files; several may not list the same picture.

    Args:
      paths: of the files.
      read_file: gives the entries of one; gathers problems without the file's name.
      gathered: gains what is wrong, with the names of files.
    """
    entries: list[Entry] = []
    listed: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        of_file = Gathered()
        found = read_file(path, of_file)
        gathered.include(show(path.name), of_file)
        for name in {compose(entry.file_name) for entry in found}:
            listed[name].append(path.name)
        entries += found
    if both := sorted(name for name, files in listed.items() if len(files) > 1):
        files = sorted({file for name in both for file in listed[name]})
        gathered.problems.append(
            f"overlapping label files: {show(list_some(files))} all list "
            f"{count_of(len(both), 'picture')}: {show(list_some(both, SHOWN))}; keep one"
        )
    return entries


def settle(
    entries: Sequence[Entry], folder: Path, gathered: Gathered
) -> Iterator[Labelled]:
    """Find the pictures of entries, and draw them one by one; others are unlabelled.

    Args:
      entries: of all label files of the folder.
      folder: holds the pictures, in images/, in itself, or where their names say.
      gathered: what is wrong with the labels themselves.

    Raises:
      InputError: lists all problems, those gathered and those of pictures: not there,
        not to be read, of another size, listed twice, of names that are no file's.
    """
    pictures = find_pictures(folder)
    found = _find_places(entries, pictures, folder, gathered)
    listed = {place for _, place in found}
    unlabelled = [(Entry(p, None, (), ()), p) for p in pictures if p not in listed]
    found += unlabelled
    gathered.problems += find_clashes([name_picture(e.file_name) for e, _ in found])
    if not entries:
        gathered.problems.append("labels of no picture at all")
    for entry, place in found:
        _check_size(entry, pictures[place], gathered)
    gathered.raise_if_any(folder)
    return (_draw(entry, pictures[place]) for entry, place in found)


def _find_places(
    entries: Sequence[Entry],
    pictures: Mapping[str, Path],
    folder: Path,
    gathered: Gathered,
) -> list[tuple[Entry, str]]:
    """Entries with the key of their picture; names that are no picture's are problems."""
    deeper: dict[str, list[str]] = defaultdict(list)
    for place in pictures:
        deeper[PurePosixPath(place).name].append(place)
    found, missing = [], []
    for entry in entries:
        if problem := find_name_problem(entry.file_name):
            gathered.problems.append(problem)
            continue
        path = PurePosixPath(compose(entry.file_name))
        name = path.as_posix().removeprefix("images/")
        same = deeper[path.name]
        fitting = [p for p in same if p == name] or [
            place for place in same if place.endswith(f"/{name}")
        ]
        if len(fitting) > 1:
            gathered.problems.append(
                f"{show(name)}: is it {show(fitting[0])} or {show(fitting[1])}? Take the "
                "picture that is not labelled away"
            )
        elif fitting:
            found.append((entry, fitting[0]))
        else:
            missing.append(entry.file_name)
    gathered.problems += describe_missing(missing, folder)
    return found


def _check_size(entry: Entry, path: Path, gathered: Gathered) -> None:
    """Gather what is wrong with a picture, and with what its labels state of it."""
    try:
        size = measure(path)
    except (OSError, ValueError) as error:
        gathered.problems.append(f"{show(str(path))}: {error}")
        return
    if entry.size not in (None, size):
        of_labels, of_picture = (f"{w}x{h} px" for h, w in (entry.size, size))
        gathered.problems.append(
            f"{show(entry.file_name)}: labels of {of_labels}, but the picture is "
            f"{of_picture}; give the picture that was labelled"
        )


def _draw(entry: Entry, path: Path) -> Labelled:
    """Unite the shapes of each structure."""
    size = measure(path)
    masks = {structure: np.zeros(size, bool) for structure in entry.structures}
    for shape in entry.shapes:
        masks[shape.structure] |= shape.draw(size)
    return Labelled(name_picture(entry.file_name), path, None, size, masks)
