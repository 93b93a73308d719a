"""A folder of frames to be predicted: which they are, and their content, chunk by chunk.

Pictures, DICOM files and clips need no masks, subjects or table here, and no records are
made of them: they keep their own sizes. What cannot be read is noted, and the rest is
read.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data import media
from nerve_jax.data.cleaning import Sector, find_clean_part
from nerve_jax.data.copies import find_copies
from nerve_jax.data.frames import IMAGE_SUFFIXES, Storage, to_8_bit
from nerve_jax.data.listing import Contents, describe_left_out, name_kind, scan
from nerve_jax.data.media import Medium
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.data.sector import blacken
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

FRAMES_IN_MEMORY, PIXELS_IN_MEMORY = 64, 64_000_000


class Frame(NamedTuple):
    """A frame to be predicted.

    Attributes:
      medium: that it is of.
      number: in its clip; 0 of a still.
      image: the whole frame; black outside the sector where frames are to be cut to it.
      box: top, left, bottom, right of the part that is predicted, half open.
      sector: what it was found to show; None of a plain picture that is not cut.
    """

    medium: Medium
    number: int
    image: UInt8[np.ndarray, "height width"]
    box: media.Box
    sector: Sector | None

    @property
    def cut(self) -> UInt8[np.ndarray, "rows columns"]:
        """That part of the frame."""
        top, left, bottom, right = self.box
        return self.image[top:bottom, left:right]


def name_frame(medium: Medium, number: int) -> str:
    """A frame's id: `name`, or `name#12` of a clip."""
    name = media.name_of(medium.path)
    return f"{name}#{number}" if medium.is_clip else name


def name_mask(medium: Medium, number: int) -> str:
    """The file of a frame's mask: `name.png`, or `name/00012.png` of a clip."""
    name = media.name_of(medium.path)
    return f"{name}/{number:05d}.png" if medium.is_clip else f"{name}.png"


class Listed(NamedTuple):
    """What a folder holds for prediction.

    Attributes:
      media: in order of name, numbers by value.
      errors: name and problem of files that are not read.
      left_out: how many files are left out, by kind.
    """

    media: list[Medium]
    errors: list[tuple[str, str]]
    left_out: Counter[str]


def find_frames_folder(input_dir: Path) -> Path:
    """The folder in which frames lie: images/ if there is one, else `input_dir`."""
    return input_dir / "images" if (input_dir / "images").is_dir() else input_dir


def list_media(input_dir: Path) -> Listed:
    """List the files of a folder, or of its images/ if it has one.

    Raises:
      InputError: no such folder, or no frames in it.
    """
    folder = find_frames_folder(input_dir)
    if not folder.is_dir():
        mend = "name the folder it lies in" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {mend} (--input)")
    contents = scan(folder)
    deeper = [folder / name for name in contents.deeper_images]
    numbered = [path for path in deeper if list_numbered(path)]
    contents = contents.without({path.name for path in numbered})
    kinds = {path: media.find_kind(path) for path in contents.others}
    wanted = [path for path, kind in kinds.items() if kind]
    indices = [path for path in wanted if kinds[path] == "dicomdir"]
    paths = [*contents.images, *(p for p in wanted if p not in indices), *numbered]
    left_out = contents.left_out - Counter(map(name_kind, wanted))
    left_out += Counter(DICOMDIR=len(indices))
    if folder != input_dir:
        beside = Counter(map(name_kind, scan(input_dir).images))
        left_out += Counter(
            {f"{n} beside images/": count for n, count in beside.items()}
        )
    if not paths:
        raise InputError(_explain_no_frames(folder, contents, left_out))
    found, errors = describe_all(sorted(paths, key=_order))
    copies = find_copies(found)
    left_out += Counter(f"copies of {show(p.name)}" for p in copies.values())
    return Listed([m for m in found if m.path not in copies], errors, left_out)


def _order(path: Path):
    name = media.name_of(path)
    digits = name if name.isdecimal() and len(name) < 100 else ""
    return (not digits, int(digits or 0), path.name)


def describe_all(
    paths: Iterable[Path],
) -> tuple[list[Medium], list[tuple[str, str]]]:
    """Describe files; name and problem of those that are not read are listed apart."""
    found, errors = [], []
    for path in paths:
        try:
            found.append(media.describe(path))
        except (OSError, ValueError) as error:
            errors.append((show(path.name), name_problem(error)))
    return found, errors


def name_problem(error: Exception) -> str:
    """What is wrong, on one line, without the file's name."""
    return show(getattr(error, "strerror", None) or str(error))


def _explain_no_frames(folder: Path, contents: Contents, left_out: Counter) -> str:
    """Say what a folder holds instead of frames, and what to do about it."""
    found = []
    if deeper := contents.describe_deeper():
        left_out = left_out - Counter(
            {f"in {n}/": contents.deeper[n] for n in contents.deeper_images}
        )
        first = show(str(folder / next(iter(contents.deeper_images))))
        found.append(
            f"{show(deeper)}. Name one of those folders, e.g. --input={first}, or put all "
            "frames into one folder, under names of their own"
        )
    if left_out:
        found.append(describe_left_out(left_out))
    return (
        f"{folder}: no frames ({', '.join(IMAGE_SUFFIXES)}, DICOM, clips) there "
        f"(--input); {'. Also '.join(found) or 'it is empty'}"
    )


def find_brightest(found: Iterable[Medium]) -> int:
    """The largest `Grey.brightest` of frames; those that cannot be read do not count."""
    brightest = 0
    for medium in found:
        with contextlib.suppress(OSError, ValueError):  # reported when it is read
            brightest = max(brightest, media.read_brightest(medium))
    return brightest


def read_frames(
    found: Iterable[Medium], storage: Storage, errors: list[tuple[str, str]]
) -> Iterator[Frame]:
    """Read frame after frame.

    Args:
      found: to be read.
      storage: as which they are read: the bits of 16-bit frames (of `choose_bits`), and
        whether frames are cut to the sector.
      errors: gains name and problem of each file that cannot be read, or whose masks
        would have the name of another's: the same but for the ending.
    """
    done: dict[str, str] = {}
    for medium in found:
        name = name_mask(medium, 0)
        try:
            if name in done:
                raise ValueError(f"would share one mask file with {done[name]}")
            done[name] = medium.path.name
            # Goes through the whole file, so no clip is damaged behind frames given.
            as_is = medium.kind == "picture" and not storage.is_cut
            sector = None if as_is else find_clean_part(medium)
            greys = media.read(medium)
            for number, grey in zip(medium.frame_numbers, greys, strict=True):
                image = to_8_bit(grey.values, storage.bits)
                box = medium.box or (0, 0, *image.shape)
                if storage.is_cut and sector.inside.any():
                    image, box = blacken(image, sector.inside), sector.box
                yield Frame(medium, number, image, box, sector)
        except (OSError, ValueError) as error:
            errors.append((show(medium.path.name), name_problem(error)))


def in_chunks(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """As many frames at a time as memory should hold.

    A chunk ends at `FRAMES_IN_MEMORY` frames, or with the frame that exceeds
    `PIXELS_IN_MEMORY`.
    """
    chunk: list[Frame] = []
    pixels = 0
    for frame in frames:
        chunk.append(frame)
        pixels += frame.image.size
        if len(chunk) == FRAMES_IN_MEMORY or pixels > PIXELS_IN_MEMORY:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk
