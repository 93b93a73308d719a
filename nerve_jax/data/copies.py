"""Files that show what a DICOM file beside them shows: exports of the same frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt

from nerve_jax.data import media
from nerve_jax.data.frames import to_8_bit
from nerve_jax.data.media import Medium
from nerve_jax.data.resize import resize_image

SIZE = (48, 64)  # at which frames are compared
# Correlation from which a frame is the other's copy: JPEG at quality 30, H.264 at CRF 23
# and scaling leave 0.9996, the next frame of a clip is seldom alike by 0.9989.
ALIKE = 0.999
FRAMES_APART = 2  # of a clip, that its export may lack


def find_copies(found: Sequence[Medium]) -> dict[Path, Path]:
    """Find pictures and clips that are exports of DICOM files.

    A copy has the first frame of the other, equal or, for lossy compression, alike by
    `ALIKE`, and as many frames, but for `FRAMES_APART`. Only files of other kinds are
    copies of DICOM files: two of these are two recordings. Files that cannot be read are
    none.

    Args:
      found: files that lie together.

    Returns:
      Of each copy, the file that it is a copy of.
    """
    originals = [medium for medium in found if medium.kind == "dicom"]
    others = [medium for medium in found if medium.kind != "dicom"]
    if not originals or not others:
        return {}
    shown = [(medium, _look_at(medium)) for medium in originals]
    copies = {}
    for medium in others:
        look = _look_at(medium)
        alike = [
            (float(look @ other), original.path)
            for original, other in shown
            if _have_as_many(original, medium)
        ]
        likeness, path = max(alike, default=(0.0, None))
        if likeness >= ALIKE:
            copies[medium.path] = path
    return copies


def _have_as_many(first: Medium, second: Medium) -> bool:
    counts = first.num_frames, second.num_frames
    return abs(counts[0] - counts[1]) <= FRAMES_APART * (min(counts) > 1)


def _look_at(medium: Medium) -> Float[np.ndarray, " pixels"]:
    """The first frame, small, of mean 0 and length 1; zeros where there is none."""
    try:
        values: UInt[np.ndarray, "h w"] = next(media.read(medium)).values
    except (OSError, ValueError, StopIteration):
        return np.zeros(SIZE[0] * SIZE[1])
    small = resize_image(to_8_bit(values), SIZE).astype(float).ravel()
    small -= small.mean()
    length = np.linalg.norm(small)
    return small / length if length else small
