"""A folder of frames to be predicted: which they are, and their content, chunk by chunk.

Frames here need no masks, subjects or table, and no records are made of them: they keep
their own sizes. A frame that cannot be read is noted, and the others are read.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from nerve_jax.data.frames import (
    IMAGE_SUFFIXES,
    read_brightest,
    read_file,
    read_image,
)
from nerve_jax.data.listing import Contents, describe_left_out, name_kind, scan
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

FRAMES_IN_MEMORY, PIXELS_IN_MEMORY = 64, 64_000_000


def find_frames_folder(input_dir: Path) -> Path:
    """The folder in which frames lie: images/ if there is one, else `input_dir`."""
    return input_dir / "images" if (input_dir / "images").is_dir() else input_dir


def list_frames(input_dir: Path) -> tuple[list[Path], Counter[str]]:
    """List the frames of a folder, or of its images/ if it has one.

    Returns:
      Paths in order of name, numbers by value; and how many files are left out, by kind.

    Raises:
      InputError: no such folder, or no frames in it.
    """
    folder = find_frames_folder(input_dir)
    if not folder.is_dir():
        mend = "name the folder it lies in" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {mend} (--input)")
    contents = scan(folder)
    left_out = contents.left_out
    if folder != input_dir:
        beside = Counter(map(name_kind, scan(input_dir).images))
        left_out += Counter(
            {f"{n} beside images/": count for n, count in beside.items()}
        )
    if not contents.images:
        raise InputError(_explain_no_frames(folder, contents, left_out))

    def order(path: Path):
        digits = path.stem if path.stem.isdecimal() and len(path.stem) < 100 else ""
        return (not digits, int(digits or 0), path.name)

    return sorted(contents.images, key=order), left_out


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
        f"{folder}: no frames ({', '.join(IMAGE_SUFFIXES)}) there (--input); "
        f"{'. Also '.join(found) or 'it is empty'}"
    )


def find_brightest(paths: Iterable[Path]) -> int:
    """The largest `Grey.brightest` of frames; those that cannot be read do not count."""
    brightest = 0
    for path in paths:
        with contextlib.suppress(OSError, ValueError):  # reported when it is read
            brightest = max(brightest, read_brightest(read_file(path)))
    return brightest


def read_in_chunks(
    paths: Iterable[Path], bits: int, errors: list[tuple[str, str]]
) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Read frames, as many at a time as memory should hold.

    Args:
      paths: of the frames.
      bits: that 16-bit frames use: of `choose_bits`.
      errors: gains name and problem of each frame that cannot be read, or whose mask
        would have the name of another's: the same but for the ending.

    Yields:
      One or more paths with their images, uint8 [height, width]. A chunk ends at
      `FRAMES_IN_MEMORY` frames, or with the frame that exceeds `PIXELS_IN_MEMORY`.
    """
    chunk: list[tuple[Path, np.ndarray]] = []
    done: dict[str, str] = {}
    for path in paths:
        try:
            if path.stem in done:
                raise ValueError(f"would share one mask file with {done[path.stem]}")
            image = read_image(read_file(path), bits)
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            errors.append((show(path.name), show(problem)))
            continue
        done[path.stem] = path.name
        chunk.append((path, image))
        pixels = sum(image.size for _, image in chunk)
        if len(chunk) == FRAMES_IN_MEMORY or pixels > PIXELS_IN_MEMORY:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
