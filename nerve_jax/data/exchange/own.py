"""The layout `folder` of this project: images/ and masks/, read and written."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nerve_jax.data.exchange.pictures import Labelled, copy_picture
from nerve_jax.data.listing import is_image
from nerve_jax.data.outlines import choose_mask
from nerve_jax.data.structures import NERVE
from nerve_jax.data.ultrasound_nerve.checking import check_frames
from nerve_jax.data.ultrasound_nerve.layouts import (
    FRAME_FOLDERS,
    STRUCTURES,
    list_source,
)
from nerve_jax.data.ultrasound_nerve.reading import read_frames
from nerve_jax.data.ultrasound_nerve.sources import SourceFrame
from nerve_jax.system.files import write_png, write_table


class Own(NamedTuple):
    """A folder of this layout.

    Attributes:
      structures: in order.
      remarks: what a user should know.
      subjects: rows of subjects.csv, by `SUBJECT_COLUMNS`, for frames that become pictures
        and so lose what their clip's row or their DICOM header says; else empty.
      frames: each decoded when it is asked for; those of one clip follow each other.
    """

    structures: tuple[str, ...]
    remarks: list[str]
    subjects: list[tuple]
    frames: Iterator[Labelled]


def is_own(folder: Path) -> bool:
    """Whether a folder is of this layout: images/ or clips/, and pictures in masks/."""
    masks = folder / "masks"
    has_frames = any((folder / name).is_dir() for name in FRAME_FOLDERS)
    return has_frames and masks.is_dir() and any(map(is_image, masks.rglob("*")))


def open_folder(folder: Path) -> Own:
    """Read a folder of this layout.

    Raises:
      InputError: lists all that is wrong with its names, tables, frames and masks.
    """
    listing = list_source("folder", folder)
    checked = check_frames(listing.splits, listing.problems)
    remarks = [*listing.notes, *checked.remarks]
    first, *others = listing.readers
    if others:
        remarks.append(
            f"readers {', '.join(listing.readers)}: outlines of {first} are written, and "
            "where there are none, of the next"
        )
    sources = listing.splits["train"]
    has_media = any(f.medium or _is_numbered(f) for f in sources)
    rows = [_describe(f) for f in sources] if has_media else []
    frames = _read_frames(sources, listing.readers)
    return Own(tuple(listing.structures), remarks, rows, frames)


def _is_numbered(frame: SourceFrame) -> bool:
    """Whether a frame is a picture of a clip that is a folder."""
    return frame.image.path.parent.name not in FRAME_FOLDERS


def _describe(frame: SourceFrame) -> tuple:
    """A row of subjects.csv."""
    spacing = ["" if math.isnan(mm) else mm for mm in frame.spacing_mm]
    return (frame.frame, frame.subject, frame.scanner, frame.clip, *spacing)


def read(folder: Path) -> Iterator[Labelled]:
    """The frames of `open_folder`."""
    return open_folder(folder).frames


def _read_frames(
    frames: Sequence[SourceFrame], readers: Sequence[str]
) -> Iterator[Labelled]:
    for frame, stored in read_frames(frames):
        size, outlines = stored.grey.values.shape, stored.outlines
        masks = {name: choose_mask(outlines, name, readers, size) for name in outlines}
        image, number = frame.image.path, None
        if _is_numbered(frame):
            image, number = image.parent, frame.number
        elif frame.medium is not None and frame.medium.is_clip:
            number = frame.number
        yield Labelled(frame.frame, image, number, size, masks)


def write(folder: Path, labelled: Iterable[Labelled]) -> None:
    """Write images/, pictures and clips byte for byte, and masks/, 0 and 255.

    Masks are masks/<structure>/NAME.png, and of clips masks/<structure>/CLIP/00012.png.
    Where there is one structure they are in masks/ itself, and `structures.csv` names it
    if it is not the nerve.

    Args:
      folder: is there, empty.
      labelled: frames; a clip's have names that end in # and the number.
    """
    masks_dir = folder / "masks"
    for name in ("images", "masks"):
        (folder / name).mkdir()
    found: set[str] = set()
    copied: set[str] = set()
    for one in labelled:
        name, file = one.name, f"{one.name}.png"
        if one.number is not None:
            name = name.rpartition("#")[0]
            file = f"{name}/{one.number:05d}.png"
        if name not in copied:
            copy_picture(one.image, folder / "images", name)
            copied.add(name)
        for structure, mask in one.masks.items():
            found.add(structure)
            path = masks_dir / structure / file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, mask.astype(np.uint8) * 255)
    if len(found) == 1:
        _lift(folder, *found)


def _lift(folder: Path, structure: str) -> None:
    """Put the masks of the only structure into masks/ itself."""
    (folder / "masks" / structure).rename(folder / "one")
    (folder / "masks").rmdir()
    (folder / "one").rename(folder / "masks")
    if structure != NERVE:
        write_table(folder / STRUCTURES, ("value", "name"), [(255, structure)])
