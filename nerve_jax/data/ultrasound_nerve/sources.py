"""A raw frame before it is prepared: which files it is made of.

`layouts` lists frames, as a `Listing`; `reading` decodes them, and `checking` all of them
before any record is written.
"""

import csv
import dataclasses
import functools
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from nerve_jax.data.frames import MAX_BYTES, read_file
from nerve_jax.data.labels import Values
from nerve_jax.data.listing import count_of, describe_left_out
from nerve_jax.data.media import Medium
from nerve_jax.data.media.medium import UNKNOWN_SPACING
from nerve_jax.data.structures import NERVE, READER
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
class MaskFile:
    """One reader's outline of a frame: a mask of one structure, or a label map of several.

    Attributes:
      file: that holds it.
      values: of each structure that it shows, by name: see `labels.read_label`.
      reader: who outlined.
    """

    file: SourceFile
    values: Values = dataclasses.field(default_factory=lambda: {NERVE: None})
    reader: str = READER


@dataclasses.dataclass(frozen=True)
class SourceFrame:
    """One frame before it is decoded.

    Attributes:
      frame: id, unique in the data set.
      subject: the person; "" where unknown, to be filled in by `name_subjects`.
      image: the frame.
      masks: its outlines; none where the frame is unlabelled. No two are of one structure
        by one reader.
      spacing_mm: height and width of a pixel, NaN where unknown.
      runs: its one mask once more as run lengths, to be checked against; None without.
      scanner: that it was recorded with; "" where unknown.
      clip: the sweep of one subject that it is a frame of; "" for a still.
      medium: what `image` says of itself, where it is no plain picture.
      number: of the frame: in its file, from 0, or as its file is numbered.
      structures_labelled: those that were looked for, where that is not all that its masks
        can show; () for all.
    """

    frame: str
    subject: str
    image: SourceFile
    masks: tuple[MaskFile, ...] = ()
    spacing_mm: tuple[float, float] = UNKNOWN_SPACING
    runs: str | None = None
    scanner: str = ""
    clip: str = ""
    medium: Medium | None = None
    number: int = 0
    structures_labelled: tuple[str, ...] = ()

    @property
    def structures(self) -> list[str]:
        """Those that the frame is labelled for, each once."""
        shown = dict.fromkeys(name for mask in self.masks for name in mask.values)
        only = self.structures_labelled or shown
        return [name for name in shown if name in only]


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
      is_cut: see `frames.Storage`.
      structures: that its masks can show, in order.
      readers: who outlined them, in order.
    """

    splits: Splits = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    notes: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    is_cut: bool = False
    structures: list[str] = dataclasses.field(default_factory=lambda: [NERVE])
    readers: list[str] = dataclasses.field(default_factory=lambda: [READER])


def describe(listing: Listing) -> list[str]:
    """What a user should know at every load: files read and left out, a line each."""
    frames = [f for split in listing.splits.values() for f in split]
    masks = sum(len(f.masks) for f in frames)
    read = f"read {count_of(len(frames) + masks, 'file')} ({masks} of them masks)"
    if len(listing.splits) > 1:
        read += f" for splits {', '.join(listing.splits)}"
    left_out = describe_left_out(listing.left_out)
    return ["; ".join(filter(None, [read, left_out])), *listing.notes]
