"""Which reader a file has, by its content, and what all readers give."""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data import frames
from nerve_jax.data.frames import IMAGE_SUFFIXES, Grey
from nerve_jax.data.media import dicom, numbered, stack, video
from nerve_jax.data.media.medium import Medium
from nerve_jax.system.errors import InputError

HEAD_BYTES = 1024
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUFFIXES = (*IMAGE_SUFFIXES, *video.SUFFIXES, *DICOM_SUFFIXES, ".gif", ".apng")
STACK_HEADS = (b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def name_of(path: PurePath) -> str:
    """The name of a file without the ending of a kind that is read.

    Other dots belong to the name: "1.2.840.7" is that of a DICOM file.
    """
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def find_kind(path: Path) -> str:
    """What a file is, by its content, and by its ending where that says nothing.

    Returns:
      "picture", "dicom", "video" or "stack" (see `Medium`), "dicomdir", or "" for what is
      not read. An ending alone does for a file that is empty or damaged, so that it is
      named and not passed over.
    """
    head = b""
    # Its reader says what is wrong with it.
    with contextlib.suppress(OSError), frames.open_file(path) as file:
        head = file.read(HEAD_BYTES)
    suffix = path.suffix.lower()
    if dicom.is_directory(head):
        return "dicomdir"
    if dicom.is_dicom(head) or suffix in DICOM_SUFFIXES:
        return "dicom"
    if stack.is_gif(head) or suffix in (".gif", ".apng"):
        return "stack"
    if head.startswith(STACK_HEADS) and _has_pages(path):
        return "stack"
    if suffix in IMAGE_SUFFIXES:
        return "picture"
    return "video" if video.find_format(head) or suffix in video.SUFFIXES else ""


def _has_pages(path: Path) -> bool:
    try:
        return stack.describe(path).num_frames > 1
    except (OSError, ValueError):
        return False  # its reader says so


def describe(path: Path) -> Medium:
    """What a file, or a folder of numbered pictures, says of its frames.

    Raises:
      OSError: it cannot be opened.
      ValueError: it cannot be read; says why, and what to do, without the file's name.
        See the readers.
    """
    if path.is_dir():
        return numbered.describe(path)
    frames.open_file(path).close()
    kind = find_kind(path)
    if kind == "dicomdir":
        raise InputError("a DICOMDIR, which lists other files; name their folder")
    reader = {"dicom": dicom, "video": video, "stack": stack}.get(kind)
    return reader.describe(path) if reader else Medium(path, "picture", 1)


def read(medium: Medium) -> Iterator[Grey]:
    """Decode the grey of frame after frame, whole: a box is not cut out.

    Raises:
      OSError: it cannot be read.
      ValueError: damaged, frames of two sizes, or not as many as `describe` counted.
    """
    if medium.kind == "picture":
        yield frames.read_grey(frames.read_file(medium.path))
    else:
        yield from READERS[medium.kind].read_grey(medium)


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the colours of frame after frame, 8 bits each; see `read` for errors."""
    if medium.kind == "picture":
        yield frames.read_colour(frames.read_file(medium.path))
    else:
        yield from READERS[medium.kind].read_colour(medium)


def read_brightest(medium: Medium) -> int:
    """The largest `Grey.brightest` of its frames; of 8 bits only the first is read."""
    if medium.kind == "picture":
        return frames.read_brightest(frames.read_file(medium.path))
    if medium.kind not in ("stack", "folder"):
        return 0
    greys = read(medium)
    brightest = next(greys).brightest
    return max([brightest, *(grey.brightest for grey in greys)]) if brightest else 0


READERS = {"dicom": dicom, "video": video, "stack": stack, "folder": numbered}
