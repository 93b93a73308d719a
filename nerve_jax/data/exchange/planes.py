"""NIfTI files of one plane: pictures and label maps (nibabel).

The axes of the stored array are x, y and, of length 1, others; it is taken as it is
stored, whatever directions the header gives its axes. No more is unpacked than a header
of `MOST_HEAD` bytes and the values that it counts.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from nerve_jax.data.exchange.shapes import Size
from nerve_jax.data.frames import MAX_PIXELS, in_words, open_file
from nerve_jax.system.extras import require

ENDINGS = (".nii.gz", ".nii")
MOST_HEAD = 2**20  # bytes of a header with its extensions


def is_plane(path: Path) -> bool:
    """Whether a path ends as one of NIfTI."""
    return path.name.lower().endswith(ENDINGS)


def measure_plane(path: Path) -> Size:
    """Height and width of a plane, in px, from its head alone.

    Raises:
      OSError: it cannot be opened.
      ValueError: no NIfTI file, or not one plane; too large.
      MissingExtraError: nibabel is not installed.
    """
    return check_axes(read_head(path).shape)


def read_plane(path: Path) -> Int64[np.ndarray, "height width"]:
    """The values of a plane, which are whole numbers; slope and intercept are applied.

    Raises:
      OSError: it cannot be opened.
      ValueError: as `measure_plane`, or it ends too early or has other values.
      MissingExtraError: nibabel is not installed.
    """
    head = read_head(path)
    height, width = check_axes(head.shape)
    dtype, start = head.get_data_dtype(), head.dataobj.offset
    if dtype.kind not in "uif" or start > MOST_HEAD:
        raise ValueError(f"values of type {dtype} from byte {start} on; save it as PNG")
    with in_words():
        content = _unpack(path, start + height * width * dtype.itemsize)
        values = np.asanyarray(type(head).from_bytes(content).dataobj)
    return to_integers(values.reshape(values.shape[:2]).T)


def read_head(path: Path) -> Any:
    """The image of nibabel, of which only the header is there."""
    nibabel = require("nibabel", "labels", "NIfTI files")
    with in_words():
        content = _unpack(path, MOST_HEAD)
        kinds = nibabel.Nifti1Image, nibabel.Nifti2Image
        found = [k for k in kinds if k.header_class.may_contain_header(content)]
        if not found:
            raise ValueError("no header of NIfTI")
        return found[0].from_bytes(content)


def _unpack(path: Path, most: int) -> bytes:
    with open_file(path) as file:
        packed = path.name.lower().endswith(".gz")
        return (gzip.GzipFile(fileobj=file) if packed else file).read(most)


def check_axes(shape: Sequence[int]) -> Size:
    """Height and width of axes x, y and more of length 1; raise `ValueError` for others."""
    if len(shape) < 2 or any(length != 1 for length in shape[2:]):
        axes = ", ".join(map(str, shape))
        raise ValueError(f"axes of {axes}: not one plane; save a file for each frame")
    if min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        raise ValueError(f"{shape[0]}x{shape[1]} px are none or too many")
    return int(shape[1]), int(shape[0])


def to_integers(values: Shaped[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
    """Values as integers; raise `ValueError` where some are none."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"values of type {values.dtype}; save whole numbers")
    if values.dtype.kind == "f":
        is_whole = np.isfinite(values) & (np.abs(values) < 2**31)
        if not is_whole.all() or (values != np.rint(values)).any():
            raise ValueError(
                "values that are no whole numbers, as probabilities are not"
            )
    return values.astype(np.int64)
