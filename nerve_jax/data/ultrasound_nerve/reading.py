"""Raw frames decoded: image and mask, upright, of one size, cut to what shows tissue."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from nerve_jax.data import media, rle
from nerve_jax.data.frames import Grey, read_grey
from nerve_jax.data.labels import Label, read_label, turn_with_frame
from nerve_jax.data.ultrasound_nerve.sources import (
    UNREADABLE,
    SourceFile,
    SourceFrame,
)
from nerve_jax.system.errors import InputError


class Stored(NamedTuple):
    """The files of a frame, decoded.

    Attributes:
      grey: of the image, cut to the box of its medium.
      label: of the mask's file, None where the frame is unlabelled.
      mask: the label turned as the frame is, of its size; None where unlabelled.
    """

    grey: Grey
    label: Label | None
    mask: Bool[np.ndarray, "height width"] | None


def part_by_file(frames: Sequence[SourceFrame]) -> list[list[SourceFrame]]:
    """Frames that follow each other and are of one file, together."""
    return [list(f) for _, f in itertools.groupby(frames, lambda frame: frame.image)]


def read_frames(frames: Sequence[SourceFrame]) -> Iterator[tuple[SourceFrame, Stored]]:
    """Decode frames, those of one file in one go; memory holds one at a time.

    Args:
      frames: those of one file follow each other, by rising number.

    Raises:
      InputError: names what is wrong with an image, a mask, or both.
    """
    for of_file in part_by_file(frames):
        if of_file[0].medium is None:
            grey, problem = _attempt(of_file[0].image, read_grey)
            yield of_file[0], _add_mask(of_file[0], grey, problem)
        else:
            yield from _read_medium(of_file)


def _read_medium(frames: list[SourceFrame]) -> Iterator[tuple[SourceFrame, Stored]]:
    """Go through a whole file, whose end may be damaged, for some of its frames."""
    wanted = {frame.number: frame for frame in frames}
    for number, grey in enumerate(_decode(frames[0])):
        if number in wanted:
            yield wanted[number], _add_mask(wanted[number], grey, "")


def _decode(frame: SourceFrame) -> Iterator[Grey]:
    try:
        yield from media.read(frame.medium)
    except UNREADABLE as error:
        raise InputError(f"{frame.image}: {error}") from error


def _add_mask(frame: SourceFrame, grey: Grey | None, problem: str) -> Stored:
    """Decode the mask of a frame that is decoded, and cut out what shows tissue.

    Args:
      frame: is unlabelled, or has a mask of the size of the whole image or of the cut.
      grey: of the whole frame, None where that has the problem.
      problem: of the frame.
    """
    label, mask, mask_problem = None, None, ""
    if frame.mask is not None:
        label, mask_problem = _attempt(
            frame.mask, lambda content: read_label(content, frame.classes)
        )
    problems = [p for p in (problem, mask_problem) if p]
    if grey and label:
        mask, problems = _fit(frame, grey, label)
    if problems:
        raise InputError("\n  - ".join(problems))
    top, left, bottom, right = _find_box(frame, grey)
    cut = grey._replace(values=grey.values[top:bottom, left:right])
    return Stored(cut, label, mask)


def _find_box(frame: SourceFrame, grey: Grey) -> media.Box:
    """Top, left, bottom, right of the part that is used: all of it by default."""
    return (frame.medium and frame.medium.box) or (0, 0, *grey.values.shape)


def _fit(
    frame: SourceFrame, grey: Grey, label: Label
) -> tuple[Bool[np.ndarray, "height width"] | None, list[str]]:
    """The mask that fits the cut frame, and what is wrong with it."""
    size = grey.values.shape
    top, left, bottom, right = _find_box(frame, grey)
    try:
        mask = turn_with_frame(label, grey.orientation, size)
    except ValueError as error:
        return None, [f"{frame.mask}: {error}"]
    if mask.shape == size:
        mask = mask[top:bottom, left:right]
    elif mask.shape != (bottom - top, right - left):
        of_mask, of_image = (f"{w}x{h} px" for h, w in (mask.shape, size))
        return None, [f"{frame.mask}: mask is {of_mask}, its image {of_image}"]
    if frame.runs is not None and rle.encode(mask) != " ".join(frame.runs.split()):
        mend = "download both again, or take the one that is wrong away"
        return None, [f"{frame.mask}: differs from its row in train_masks.csv; {mend}"]
    return mask, []


def _attempt(file: SourceFile, decode):
    """Return what `decode` makes of a file, and what is wrong with it or ""."""
    try:
        return decode(file.read()), ""
    except UNREADABLE as error:
        return None, f"{file}: {error}"
