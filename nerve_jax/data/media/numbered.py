"""A clip as a folder of numbered pictures."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data import frames
from nerve_jax.data.frames import Grey
from nerve_jax.data.listing import scan
from nerve_jax.data.media.medium import Medium
from nerve_jax.system.errors import InputError

NUMBER = re.compile(r"([0-9]+)$")  # at the end of a name
FEWEST = 2
OF_MASKS = ("mask", "masks", "label", "labels")  # folders that hold no frames


def list_numbered(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by their numbers, if each has one of its own.

    Returns:
      Paths by rising number; empty where a folder is no clip: it holds fewer than two
      pictures, other folders, or names that differ in more than a number at the end,
      or is named as one of masks.
    """
    if folder.name.lower() in OF_MASKS:
        return {}
    contents = scan(folder)
    names = {NUMBER.sub("", path.stem) for path in contents.images}
    numbers = {read_number(path.stem): path for path in contents.images}
    is_clip = len(names) == 1 and None not in numbers and not contents.deeper
    if not is_clip or len(numbers) < max(FEWEST, len(contents.images)):
        return {}
    return dict(sorted(numbers.items()))


def read_number(name: str) -> int | None:
    """The number at the end of a name, None without one."""
    found = NUMBER.search(name)
    return int(found[1]) if found else None


def describe(folder: Path) -> Medium:
    """Count the pictures; raise `InputError` where they are not those of a clip."""
    numbers = tuple(list_numbered(folder))
    if not numbers:
        raise InputError("a folder, but not of pictures named by a number each")
    return Medium(folder, "folder", len(numbers), numbers=numbers)


def read_grey(medium: Medium) -> Iterator[Grey]:
    """Decode picture after picture.

    Raises:
      ValueError: one cannot be read (see `frames.read_grey`), or is of another size.
    """
    size = None
    for path in list_numbered(medium.path).values():
        grey = frames.read_grey(frames.read_file(path))
        size = _check_size(path, grey.values.shape, size)
        yield grey


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the colours of picture after picture, 8 bits each; see `read_grey`."""
    size = None
    for path in list_numbered(medium.path).values():
        colour = frames.read_colour(frames.read_file(path))
        size = _check_size(path, colour.shape[:2], size)
        yield colour


def _check_size(path: Path, shape: tuple[int, ...], size: tuple[int, ...] | None):
    if size not in (None, shape):
        raise InputError(f"pictures of two sizes: {size} and, {path.name}, {shape}")
    return shape
