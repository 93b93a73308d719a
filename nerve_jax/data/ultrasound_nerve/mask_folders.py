"""Folders of masks: whose outlines they hold, and of which structures.

Readers come first: masks/, masks_reader2/, ... or the folders in masks/. What a reader's
folder holds is read from names alone: masks or label maps, or a folder for each structure.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from nerve_jax.data.labels import Values
from nerve_jax.data.listing import (
    compose,
    count_of,
    is_litter,
    list_some,
    name_kind,
    scan,
)
from nerve_jax.data.structures import MODEL, NERVE, OF_ALL, READER, name_structure
from nerve_jax.data.ultrasound_nerve.sources import Listing
from nerve_jax.system.files import show

OF_READER = re.compile(r"masks_reader(\d+)")
LIKE_READER = re.compile(r"(masks?|labels?)[_\- ]*(reader|rater|observer)?[_\- ]*\d+")


class MaskFolder(NamedTuple):
    """Masks of frames by one reader.

    Attributes:
      path: of the folder; masks of a clip lie in its folder CLIP/.
      values, reader: of all its masks, see `MaskFile`.
    """

    path: Path
    values: Values
    reader: str


def list_readers(folder: Path, listing: Listing, by_folder: bool) -> dict[str, Path]:
    """Each reader's folder of masks, by the reader's name, in order.

    Args:
      folder: holds masks/.
      listing: gains what is wrong.
      by_folder: whether the folders in masks/ are readers.
    """
    masks_dir, folders = folder / "masks", list_folders(folder)
    numbered = {}
    for path in folders:
        if matched := OF_READER.fullmatch(path.name):
            numbered[int(matched[1])] = path
        elif LIKE_READER.fullmatch(path.name.casefold()):
            listing.problems.append(
                f"{show(str(path))}: is it a reader's folder of masks? Name it "
                "masks_reader2, masks_reader3, ..., or take it away"
            )
    if by_folder:
        found = _list_named(masks_dir, numbered.values(), listing)
    else:
        found = {READER: masks_dir}
        found |= {f"reader{n}": path for n, path in sorted(numbered.items())}
        listing.problems += [
            f"{show(str(path))}: the first reader's masks lie in masks/; name others "
            "masks_reader2, masks_reader3, ..."
            for number, path in numbered.items()
            if number < 2 or not masks_dir.is_dir()
        ]
    listing.problems += [
        f"{show(str(path))}: no masks of this reader; add them, or take the folder away"
        for path in found.values()
        if len(found) > 1 and not has_files(path)
    ]
    listing.readers = list(found) or [READER]
    return found


def _list_named(
    masks_dir: Path, others: Collection[Path], listing: Listing
) -> dict[str, Path]:
    """The folders in masks/ by the names of readers that theirs stand for."""
    found = _name_folders(list_folders(masks_dir), "reader", listing)
    listing.problems += [
        f"{show(str(found[name]))}: a reader cannot be called {name}, which stands for "
        f"{meant} in reports; rename the folder"
        for name, meant in ((OF_ALL, "all readers"), (MODEL, "the model"))
        if name in found
    ]
    problems = [f"{show(str(p))}: beside readers' folders in masks/" for p in others]
    contents = scan(masks_dir)
    if contents.images:
        counted = count_of(len(contents.images), "mask")
        problems.append(f"{masks_dir}: {counted} in it beside readers' folders")
    if not found:
        problems.append(f"{masks_dir}: no readers' folders in it")
    listing.left_out += Counter(map(name_kind, contents.others))
    listing.problems += [
        f"{problem}; put each reader's masks into a folder of masks/, or set "
        "--config.data.readers=False"
        for problem in problems
    ]
    return found


def list_mask_folders(
    of_reader: Mapping[str, Path],
    frames: Collection[str],
    clips: Collection[str],
    table: Values,
    listing: Listing,
) -> list[MaskFolder]:
    """The folders of masks of all readers, reader by reader.

    Args:
      of_reader: see `list_readers`.
      frames: names of those that are no frame of a clip.
      clips: their names.
      table: of structures.csv; empty without one.
      listing: gains structures, and what is wrong.
    """
    found: list[MaskFolder] = []
    for reader, path in of_reader.items():
        structures = _list_structures(path, frames, clips, listing)
        if structures:
            found += [
                MaskFolder(inner, {name: None}, reader)
                for name, inner in structures.items()
            ]
        else:
            found.append(MaskFolder(path, table or {NERVE: None}, reader))
    by_folder = {n for f in found for n in f.values if f.values is not table}
    is_read = any(folder.values is table for folder in found)
    if table and not is_read and by_folder != set(table):
        listing.problems.append(
            "structures.csv: it names the values of label maps, but there is a folder of "
            f"masks for each structure ({list_some(sorted(by_folder))}); take the table or "
            "the folders away"
        )
    named = dict.fromkeys([*table, *sorted(by_folder)])
    listing.structures = list(named) or [NERVE]
    return found


def _list_structures(
    path: Path, frames: Collection[str], clips: Collection[str], listing: Listing
) -> dict[str, Path]:
    """Folders of a reader that hold a structure's masks each, by its name."""
    contents = scan(path)
    of_clips = [name for name in contents.deeper if compose(name) in clips]
    inner = [p for p in list_folders(path) if p.name not in of_clips]
    inner = [p for p in inner if contents.deeper_images[p.name]]
    if not any(_is_structure(p, frames, clips) for p in inner):
        return {}
    listing.left_out += Counter(map(name_kind, contents.others))
    beside = [p.name for p in contents.images] + [f"{name}/" for name in of_clips]
    if beside:
        listing.problems.append(
            f"{show(str(path))}: both masks ({show(list_some(beside, 3))}) and folders of "
            f"structures ({show(list_some([p.name for p in inner], 3))}); put these masks "
            f"into the folder of their structure, e.g. {show(str(path / NERVE))}/"
        )
    return _name_folders(inner, "structure", listing)


def _is_structure(
    folder: Path, frames: Collection[str], clips: Collection[str]
) -> bool:
    """Whether a folder holds masks under names of frames, or folders under those of clips."""
    contents = scan(folder)
    names = {compose(p.stem) for p in contents.images}
    return not (
        names.isdisjoint(frames)
        and {compose(name) for name in contents.deeper_images}.isdisjoint(clips)
    )


def _name_folders(
    paths: Iterable[Path], what: str, listing: Listing
) -> dict[str, Path]:
    """Folders by the names that theirs stand for; others are problems."""
    found: dict[str, Path] = {}
    for path in paths:
        name = name_structure(path.name)
        if not name:
            listing.problems.append(
                f"{show(str(path))}: no name of a {what}, which begins with a letter and "
                "has letters, digits and _; rename it"
            )
        elif name in found:
            listing.problems.append(
                f"{show(str(path))}: the same {what} as {show(found[name].name)}, {name}; "
                "put the masks into one folder"
            )
        else:
            found[name] = path
    return found


def find_people(listing: Listing) -> list[str]:
    """Problems of folders taken as structures of which each holds one subject's masks.

    Where no frame has masks of two structures, that is added to the warnings.
    """
    subjects: dict[str, set[str]] = {}
    splits = listing.splits.values()
    for frames in splits:
        for frame in frames:
            for name in frame.structures:
                subjects.setdefault(name, set()).add(name_structure(frame.subject))
    if len(subjects) < 2:
        return []
    if any(names != {structure} for structure, names in subjects.items()):
        if all(len(f.structures) < 2 for frames in splits for f in frames):
            listing.warnings.append(
                f"no frame is labelled for two of the structures "
                f"{list_some(listing.structures)}; if these are people, put all masks into "
                "masks/ itself, under the names of their frames"
            )
        return []
    problem = (
        f"folders {list_some(sorted(subjects))} of masks are people, not structures; put "
        "all masks into masks/ itself, under the names of their frames"
    )
    return [problem]


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, in order of name, without litter."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.is_dir() and not is_litter(path)]


def has_files(folder: Path) -> bool:
    """Whether there are files in a folder, at any depth, and not litter alone."""
    contents = scan(folder)
    return bool(contents.images or contents.others or contents.deeper)
