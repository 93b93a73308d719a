"""A raw frame before it is prepared: which files it is made of, and how they are read.

`layouts` lists frames from names alone, as a `Listing`; `checking` reads all of them
before any record is written.
"""

import csv
import dataclasses
import functools
import math
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from nerve_jax.data import rle
from nerve_jax.data.frames import (
    MAX_BYTES,
    Grey,
    read_file,
    read_grey,
    to_8_bit,
)
from nerve_jax.data.labels import Label, read_label, turn_with_frame
from nerve_jax.data.listing import count_of, describe_left_out
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

# What a damaged file or zip member raises: also by decompression or encryption.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
)
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # unpacked a piece at a time
UNKNOWN_SPACING = (math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file on disk, or a member of a zip archive."""

    path: Path
    member: str = ""

    @property
    def name(self) -> PurePosixPath:
        """Path inside the archive, or on disk."""
        return PurePosixPath(self.member or self.path.as_posix())

    def read(self) -> bytes:
        """Return the content.

        Raises:
          OSError: it cannot be read, is no regular file, or is too large.
        """
        if not self.member:
            return read_file(self.path)
        archive = open_zip(self.path)
        member = archive.getinfo(self.member)
        if member.compress_type not in BOUNDED:
            raise OSError("compressed by another method than deflate")
        if member.file_size > MAX_BYTES:
            size, most = member.file_size / 2**20, MAX_BYTES / 2**20
            raise OSError(f"{size:.0f} MB, more than {most:.0f}")
        with archive.open(member) as file:
            content = file.read(member.file_size)  # whatever it would unpack to
            if file.read(1):
                raise OSError("larger than its archive says")
        return content

    def __str__(self) -> str:
        text = f"{self.path}:{self.member}" if self.member else str(self.path)
        return show(text)


@functools.lru_cache
def open_zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


@dataclasses.dataclass(frozen=True)
class SourceFrame:
    """One frame before it is decoded.

    Attributes:
      frame: id, unique in the data set.
      subject: the person; "" where unknown, to be filled in by `name_subjects`.
      image: the frame.
      mask: its truth, None where the frame is unlabelled.
      spacing_mm: height and width of a pixel, NaN where unknown.
      classes: values of the mask, as `read_label` takes them.
      runs: the mask once more as run lengths, to be checked against; None without.
      scanner: that it was recorded with; "" where unknown.
      clip: the sweep of one subject that it is a frame of; "" for a still.
    """

    frame: str
    subject: str
    image: SourceFile
    mask: SourceFile | None
    spacing_mm: tuple[float, float] = UNKNOWN_SPACING
    classes: tuple[int, ...] = ()
    runs: str | None = None
    scanner: str = ""
    clip: str = ""

    def read(self, bits: int = 16) -> tuple[np.ndarray, np.ndarray]:
        """Return image uint8 and mask bool, both [height, width].

        Args:
          bits: of `checking.check_frames`.

        Raises:
          InputError: names what is wrong with the image, the mask, or both.
        """
        stored = self.read_stored()
        image = to_8_bit(stored.grey.values, bits)
        empty = np.zeros(image.shape, bool)
        return image, empty if stored.mask is None else stored.mask

    def read_stored(self) -> "Stored":
        """Read both files; see `read` for errors."""
        grey, image_problem = _attempt(self.image, read_grey)
        label, mask_problem, mask = None, "", None
        if self.mask is not None:
            label, mask_problem = _attempt(
                self.mask, lambda content: read_label(content, self.classes)
            )
        problems = [p for p in (image_problem, mask_problem) if p]
        if grey and label:
            mask, problems = self._fit(grey, label)
        if problems:
            raise InputError("\n  - ".join(problems))
        return Stored(grey, label, mask)

    def _fit(self, grey: Grey, label: Label) -> tuple[np.ndarray | None, list[str]]:
        """The mask that fits the frame, and what is wrong with it."""
        size = grey.values.shape
        try:
            mask = turn_with_frame(label, grey.orientation, size)
        except ValueError as error:
            return None, [f"{self.mask}: {error}"]
        if mask.shape != size:
            of_mask, of_image = (f"{w}x{h} px" for h, w in (mask.shape, size))
            return None, [f"{self.mask}: mask is {of_mask}, its image {of_image}"]
        if self.runs is not None and rle.encode(mask) != " ".join(self.runs.split()):
            mend = "download both again, or take the one that is wrong away"
            return None, [
                f"{self.mask}: differs from its row in train_masks.csv; {mend}"
            ]
        return mask, []


class Stored(NamedTuple):
    """The files of a frame, decoded.

    Attributes:
      grey: of the image.
      label: of the mask's file, None where the frame is unlabelled.
      mask: the label turned as the frame is, of its size; None where unlabelled.
    """

    grey: Grey
    label: Label | None
    mask: np.ndarray | None


def _attempt(file: SourceFile, decode):
    """Return what `decode` makes of a file, and what is wrong with it or ""."""
    try:
        return decode(file.read()), ""
    except UNREADABLE as error:
        return None, f"{file}: {error}"


Splits = dict[str, list[SourceFrame]]


@dataclasses.dataclass
class Listing:
    """What names and tables say of a folder.

    Attributes:
      splits: its frames, by split.
      problems: all that is wrong with names and tables.
      left_out: how many files are not read, by kind.
      notes: what else a user should know at every load.
      warnings: what a user should mind, once nothing is found wrong.
    """

    splits: Splits = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    notes: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def describe(listing: Listing) -> list[str]:
    """What a user should know at every load: files read and left out, a line each."""
    frames = [f for split in listing.splits.values() for f in split]
    masks = sum(f.mask is not None for f in frames)
    read = f"read {count_of(len(frames) + masks, 'file')} ({masks} of them masks)"
    if len(listing.splits) > 1:
        read += f" for splits {', '.join(listing.splits)}"
    left_out = describe_left_out(listing.left_out)
    return ["; ".join(filter(None, [read, left_out])), *listing.notes]
