"""Raw frames before they are prepared: what they are, and whether they can be used.

`layouts` lists them from names alone; `check_frames` here opens every file and gathers
all that is wrong before it raises.
"""

import concurrent.futures
import csv
import dataclasses
import functools
import hashlib
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from nerve_jax.data import rle
from nerve_jax.data.frames import MAX_BYTES, read_file, read_image, read_mask
from nerve_jax.system.errors import InputError, raise_if_any
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
FILES_AT_A_TIME = 4  # bounds the memory that many large ones take
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


@dataclasses.dataclass(frozen=True)
class SourceFrame:
    """One frame before it is decoded.

    Attributes:
      frame: id, unique in the data set.
      subject: the person; "" where unknown, to be filled in by `name_subjects`.
      image: the frame.
      mask: its truth, None where the frame is unlabelled.
      spacing_mm: height and width of a pixel, NaN where unknown.
      classes: values of the mask, as `read_mask` takes them.
      runs: the mask once more as run lengths, to be checked against; None without.
    """

    frame: str
    subject: str
    image: SourceFile
    mask: SourceFile | None
    spacing_mm: tuple[float, float] = UNKNOWN_SPACING
    classes: tuple[int, ...] = ()
    runs: str | None = None

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return image uint8 and mask bool, both [height, width].

        Raises:
          InputError: names what is wrong with the image, the mask, or both.
        """
        image, image_problem = _attempt(self.image, read_image)
        if self.mask is None:
            mask, mask_problem = None, ""
        else:
            mask, mask_problem = _attempt(
                self.mask, lambda content: read_mask(content, self.classes)
            )
        problems = [p for p in (image_problem, mask_problem) if p]
        if not problems and mask is not None:
            problems = self._compare(image, mask)
        if problems:
            raise InputError("\n  - ".join(problems))
        return image, np.zeros(image.shape, bool) if mask is None else mask

    def _compare(self, image: np.ndarray, mask: np.ndarray) -> list[str]:
        if mask.shape != image.shape:
            of_mask, of_image = (f"{a.shape[1]}x{a.shape[0]} px" for a in (mask, image))
            return [f"{self.mask}: mask is {of_mask}, its image {of_image}"]
        if self.runs is not None and rle.encode(mask) != " ".join(self.runs.split()):
            return [f"{self.mask}: differs from its row in train_masks.csv"]
        return []


Splits = dict[str, list[SourceFrame]]


def check_frames(splits: Splits, problems: Sequence[str] = ()) -> None:
    """Decode every frame and mask.

    Args:
      splits: the frames.
      problems: what was already found wrong with their names.

    Raises:
      InputError: one, that names everything that is wrong.
    """
    frames = [f for split in splits.values() for f in split]
    with concurrent.futures.ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        found = [p for p in pool.map(_find_problem, frames) if p]
    raise_if_any([*problems, *found], "frames cannot be used", "Nothing was written.")


def fingerprint(splits: Splits) -> str:
    """Digest names, subjects, spacing and content of all files, 12 hex digits."""
    frames = [(split, f) for split, listed in sorted(splits.items()) for f in listed]
    with concurrent.futures.ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        images = list(pool.map(lambda item: compute_file_digest(item[1].image), frames))
        masks = list(pool.map(lambda item: compute_file_digest(item[1].mask), frames))
    total = hashlib.blake2b(digest_size=6)
    for (split, f), image, mask in sorted(
        zip(frames, images, masks, strict=True),
        key=lambda row: (row[0][0], row[0][1].frame),
    ):
        total.update(repr((split, f.frame, f.subject, f.spacing_mm, f.runs)).encode())
        total.update(image + mask)
    return total.hexdigest()


def _find_problem(frame: SourceFrame) -> str:
    try:
        frame.read()
    except InputError as error:
        return str(error)
    return ""


def _attempt(file: SourceFile, decode):
    """Return what `decode` makes of a file, and what is wrong with it or ""."""
    try:
        return decode(file.read()), ""
    except UNREADABLE as error:
        return None, f"{file}: {error}"


def compute_file_digest(file: SourceFile | None) -> bytes:
    """Hash a file's content; a file that cannot be read is found by `check_frames`."""
    try:
        return (
            b"-"
            if file is None
            else hashlib.blake2b(file.read(), digest_size=16).digest()
        )
    except UNREADABLE:
        return b"?"


@functools.lru_cache
def open_zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
