"""Which reader a file has, by its content, and what all readers give."""

from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data.frames import (
    IMAGE_SUFFIXES,
    Grey,
    decode,
    read_file,
    read_grey,
    show_on_black,
)
from nerve_jax.data.media import dicom, stack, video
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
    if path.is_file():
        with path.open("rb") as file:
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
        return False  # said when it is read


def describe(path: Path) -> Medium:
    """What a file says of its frames; see the readers for errors.

    Raises:
      OSError: it cannot be opened.
      ValueError: it cannot be read; says why, and what to do, without the file's name.
    """
    kind = find_kind(path)
    if kind == "dicomdir":
        raise InputError("a DICOMDIR, which lists other files; name their folder")
    describe_kind = {
        "dicom": dicom.describe,
        "video": video.describe,
        "stack": stack.describe,
    }.get(kind)
    return describe_kind(path) if describe_kind else Medium(path, "picture", 1)


def read(medium: Medium) -> Iterator[Grey]:
    """Decode the grey of frame after frame, whole: a box is not cut out.

    Raises:
      OSError: it cannot be read.
      ValueError: damaged, frames of two sizes, or not as many as `describe` counted.
    """
    if medium.kind == "picture":
        yield read_grey(read_file(medium.path))
    elif medium.kind == "stack":
        yield from stack.read_grey(medium)
    else:
        of_kind = {"dicom": _read_dicom, "video": video.read_grey}
        for values in of_kind[medium.kind](medium):
            yield Grey(values, 0)


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width ..."]]:
    """Decode frame after frame as shown, 8 bits: grey, or [height, width, 3] in RGB.

    See `read` for errors.
    """
    if medium.kind == "picture":
        yield np.asarray(show_on_black(decode(read_file(medium.path)).image))
        return
    of_kind = {
        "dicom": dicom.read_colour,
        "video": video.read_colour,
        "stack": stack.read_colour,
    }
    yield from of_kind[medium.kind](medium)


def _read_dicom(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width"]]:
    for values in dicom.read_colour(medium):
        yield values if values.ndim == 2 else to_luminance(values)


def to_luminance(
    colour: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "height width"]:
    """ITU-R 601, as Pillow converts pictures."""
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 2**16
    return ((colour @ weights + 32768) >> 16).astype(np.uint8)
