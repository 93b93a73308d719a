"""NIfTI files of one plane: pictures and label maps as nnU-Net keeps them (nibabel).

The axes of the stored array are x, y and, of length 1, others; it is taken as it is
stored, whatever directions the header gives its axes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from nerve_jax.data.frames import MAX_PIXELS, in_words
from nerve_jax.system.extras import require

ENDINGS = (".nii", ".nii.gz")


def is_plane(path: Path) -> bool:
    """Whether a path ends as one of NIfTI."""
    return path.name.lower().endswith(ENDINGS)


def measure_plane(path: Path) -> tuple[int, int]:
    """Height and width of a plane, in px, from its head alone.

    Raises:
      OSError: it cannot be opened.
      ValueError: no NIfTI file, or not one plane; too large.
      MissingExtraError: nibabel is not installed.
    """
    width, height = _open(path).shape[:2]
    return height, width


def read_plane(path: Path) -> Int64[np.ndarray, "height width"]:
    """The values of a plane, which are whole numbers.

    Raises:
      OSError: it cannot be opened.
      ValueError: as `measure_plane`, or it ends too early or has other values.
      MissingExtraError: nibabel is not installed.
    """
    image = _open(path)
    with in_words():
        values = np.asanyarray(image.dataobj)
    if values.dtype.kind not in "uif" or not np.isfinite(values).all():
        raise ValueError("values that are no numbers; save whole numbers")
    if not (values == np.rint(values)).all() or np.abs(values).max(initial=0) >= 2**31:
        raise ValueError("values that are no whole numbers; save it as PNG")
    return values.reshape(values.shape[:2]).T.astype(np.int64)


def _open(path: Path) -> Any:
    """Read the head of a file, whose shape is then that of one plane."""
    nibabel = require("nibabel", "labels", "NIfTI files")
    with in_words():
        image = nibabel.load(path)
    shape = image.shape
    if len(shape) < 2 or any(length != 1 for length in shape[2:]):
        raise ValueError(f"of shape {shape}, not one plane; save a file for each frame")
    if not 0 < shape[0] * shape[1] <= MAX_PIXELS:
        raise ValueError(f"{shape[0]}x{shape[1]} px are none or too many")
    return image
