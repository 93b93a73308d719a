"""What labels list of each picture, the pictures it belongs to, and what is wrong.

A format makes an `Entry` per picture; `settle` finds the pictures, raises one error for
all that is wrong, and else draws frame after frame.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from nerve_jax.data.exchange.names import (
    MALFORMED,
    check_name,
    choose,
    describe,
    group,
    name_file,
    name_picture,
    name_structures,
)
from nerve_jax.data.exchange.pictures import Labelled, find_pictures, measure
from nerve_jax.data.exchange.shapes import Area, Size, compute_overhang
from nerve_jax.data.listing import compose, count_of, list_some
from nerve_jax.system.console import say
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.files import show

OVERHANG_PX = 1.0  # by which a shape may reach beyond its frame: programs round
SHOWN = 20


class Shape(NamedTuple):
    """An area of one structure; `where` names it in errors."""

    structure: str
    area: Area
    where: str


class Entry(NamedTuple):
    """A picture as labels list it.

    Attributes:
      where: the file of labels, for errors.
      file_name: of the picture, with / between folders.
      size: height and width in px, as labels state it; None where they do not.
      structures: that were looked for, beside those of the shapes; None, until
        `name_labels`, for all there are.
      shapes: that were found.
    """

    where: str
    file_name: str
    size: Size | None = None
    structures: Sequence[str] | None = ()
    shapes: Sequence[Shape] = ()


class Frame(NamedTuple):
    """A frame with its entry: `name`, `image`, `number` and `size` are of `Labelled`."""

    name: str
    image: Path
    number: int | None
    size: Size
    entry: Entry


class Problems(list[str]):
    """What is wrong, found while labels are read: each a line with place and mend."""

    @contextlib.contextmanager
    def at(self, where: str) -> Iterator["Problems"]:
        """Gather what the block finds or raises at a file, or a part of it."""
        found = Problems()
        try:
            yield found
        except (OSError, *MALFORMED) as error:
            found.append(describe(error))
        self += [f"{where}: {problem}" for problem in found]

    def raise_if_any(self, folder: Path) -> None:
        """Raise one `InputError` with all of them."""
        mend = "Nothing was written. Correct them, and import again"
        raise_if_any(self, f"{folder}: labels that cannot be read", mend)


def name_labels(entries: Sequence[Entry], problems: Problems) -> list[Entry]:
    """Entries with structures in place of labels; see `names.name_structures`."""
    used = [
        label
        for entry in entries
        for label in [*(entry.structures or ()), *(s.structure for s in entry.shapes)]
    ]
    names = name_structures(dict.fromkeys(used), problems)
    return [
        entry._replace(
            structures=[
                names[x]
                for x in (names if entry.structures is None else entry.structures)
            ],
            shapes=[s._replace(structure=names[s.structure]) for s in entry.shapes],
        )
        for entry in entries
    ]


def settle(
    entries: Sequence[Entry], folder: Path, problems: Problems, nothing: str
) -> Iterator[Labelled]:
    """Find the pictures of entries, and draw them one by one; others are unlabelled.

    Args:
      entries: of all label files of the folder.
      folder: holds the pictures, in images/, in itself, or where their names say.
      problems: what is wrong with the labels themselves.
      nothing: see `draw_all`.

    Raises:
      InputError: lists all problems, those of `draw_all` and those of pictures: not
        there, not to be read, of another size, of names that are no file's.
    """
    pictures = find_pictures(folder)
    found = _find_places(entries, pictures, folder, problems)
    listed = {place for _, place in found}
    found += [(Entry("", p), p) for p in pictures if p not in listed]
    frames = []
    for entry, place in found:
        with problems.at(show(str(pictures[place]))):
            frames.append(make_frame(entry, pictures[place]))
    return draw_all(frames, folder, problems, nothing)


def make_frame(entry: Entry, path: Path) -> Frame:
    """A picture with its entry; raise `ValueError` where the sizes are not the same."""
    size = measure(path)
    if entry.size not in (None, size):
        of_labels, of_picture = (f"{w}x{h} px" for h, w in (entry.size, size))
        raise ValueError(
            f"labels of {of_labels}, but the picture is {of_picture}; give the picture "
            "that was labelled"
        )
    return Frame(name_picture(entry.file_name), path, None, size, entry)


def _find_places(
    entries: Sequence[Entry],
    pictures: Mapping[str, Path],
    folder: Path,
    problems: Problems,
) -> list[tuple[Entry, str]]:
    """Entries with the key of their picture; names that are no picture's are problems."""
    by_name = group(pictures, name_file)
    found, missing = [], []
    for entry in entries:
        with problems.at(entry.where):
            check_name(entry.file_name)
            path = PurePosixPath(compose(entry.file_name)).as_posix()
            name = path.removeprefix("images/")
            same = by_name[name_file(name)]
            fitting = [place for place in same if f"/{place}".endswith(f"/{name}")]
            if not fitting:
                missing.append(entry.file_name)
                continue
            found.append((entry, name if name in fitting else choose(fitting, name)))
    if missing:
        count, are = count_of(len(missing), "picture"), "are" if missing[1:] else "is"
        listed = show(list_some(missing, SHOWN))
        problems.append(
            f"{count} with labels {are} not in {folder} or its images/: {listed}"
        )
    return found


def draw_all(
    frames: Sequence[Frame], folder: Path, problems: Problems, nothing: str
) -> Iterator[Labelled]:
    """Unite the shapes of each structure, frame after frame.

    Args:
      frames: labelled or not.
      folder: that they are of, for errors.
      problems: what is wrong with the labels themselves.
      nothing: what is wrong where no frame is labelled for any structure.

    Raises:
      InputError: lists all problems, those gathered and those of frames: of one name,
        or with a shape that reaches beyond it by more than `OVERHANG_PX`.
    """
    if not problems and not any(f.entry.structures or f.entry.shapes for f in frames):
        problems.append(nothing)
    problems += _find_clashes(frames)
    cut, beyond = set(), {}  # by place: a track has its own in many frames
    for frame in frames:
        for shape in frame.entry.shapes:
            overhang = compute_overhang(shape.area.outline, frame.size)
            if overhang > OVERHANG_PX:
                height, width = frame.size
                beyond.setdefault(
                    shape.where,
                    f"{shape.where}: reaches beyond its frame of {width}x{height} px by "
                    f"{overhang:.1f} px; are these the labels of this picture?",
                )
            elif overhang:
                cut.add(shape.where)
    problems += beyond.values()
    problems.raise_if_any(folder)
    if cut:
        say(
            f"{count_of(len(cut), 'shape')} {'reach' if len(cut) > 1 else 'reaches'} "
            "beyond the frame, by at most a pixel, and what is outside is cut off"
        )
    return map(_draw, frames)


def _find_clashes(frames: Sequence[Frame]) -> list[str]:
    """Problems of names that are alike, or alike but for capitals, as on some disks."""
    alike: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        alike[frame.name.casefold()].append(frame)
    problems = []
    for same in alike.values():
        names = {frame.name: None for frame in same}
        if len(names) > 1:
            listed = show(list_some(names))
            problems.append(f"{listed}: names that differ in capitals alone; rename")
        elif len(same) > 1:
            places = {frame.entry.where or "no file of labels": None for frame in same}
            problems.append(
                f"{show(same[0].name)}: {len(same)} entries of one picture, in "
                f"{' and '.join(places)}; keep one"
            )
    return problems


def _draw(frame: Frame) -> Labelled:
    shapes = frame.entry.shapes
    structures = [*frame.entry.structures, *(shape.structure for shape in shapes)]
    masks = {structure: np.zeros(frame.size, bool) for structure in structures}
    for shape in shapes:
        masks[shape.structure] |= shape.area.draw(frame.size)
    return Labelled(frame.name, frame.image, frame.number, frame.size, masks)
