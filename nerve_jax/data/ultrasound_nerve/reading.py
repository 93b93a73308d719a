"""Raw frames decoded: image and outlines, upright, of one size, cut to what shows tissue."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from nerve_jax.data import media, rle
from nerve_jax.data.frames import Grey, read_grey
from nerve_jax.data.labels import Label, read_label, turn_with_frame
from nerve_jax.data.outlines import Outlines
from nerve_jax.data.ultrasound_nerve.sources import (
    UNREADABLE,
    MaskFile,
    SourceFile,
    SourceFrame,
)
from nerve_jax.system.errors import InputError


class Stored(NamedTuple):
    """The files of a frame, decoded.

    Attributes:
      grey: of the image, cut to the box of its medium.
      labels: of the files of masks, in their order.
      outlines: where each structure is, by its name and by reader, turned as the frame is
        and of its size; empty where the frame is unlabelled.
    """

    grey: Grey
    labels: list[Label]
    outlines: Outlines


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
            yield of_file[0], _add_masks(of_file[0], grey, problem)
        else:
            yield from _read_medium(of_file)


def _read_medium(frames: list[SourceFrame]) -> Iterator[tuple[SourceFrame, Stored]]:
    """Go through a whole file, whose end may be damaged, for some of its frames."""
    wanted = {frame.number: frame for frame in frames}
    for number, grey in enumerate(_decode(frames[0])):
        if number in wanted:
            yield wanted[number], _add_masks(wanted[number], grey, "")


def _decode(frame: SourceFrame) -> Iterator[Grey]:
    try:
        yield from media.read(frame.medium)
    except UNREADABLE as error:
        raise InputError(f"{frame.image}: {error}") from error


def _add_masks(frame: SourceFrame, grey: Grey | None, problem: str) -> Stored:
    """Decode the masks of a frame that is decoded, and cut out what shows tissue.

    Args:
      frame: its masks have the size of the whole image or of the cut.
      grey: of the whole frame, None where that has the problem.
      problem: of the frame.
    """
    problems = [problem] if problem else []
    labels: list[Label] = []
    outlines: Outlines = {name: {} for name in frame.structures}
    for file in frame.masks:
        label, masks, wrong = _read_masks(frame, file, grey)
        problems += [wrong] if wrong else []
        labels += [label] if label else []
        for name, mask in masks.items():
            if name in outlines:
                outlines[name][file.reader] = mask
    if problems:
        raise InputError("\n  - ".join(problems))
    top, left, bottom, right = _find_box(frame, grey)
    cut = grey._replace(values=grey.values[top:bottom, left:right])
    return Stored(cut, labels, outlines)


def _read_masks(
    frame: SourceFrame, file: MaskFile, grey: Grey | None
) -> tuple[Label | None, dict[str, Bool[np.ndarray, "height width"]], str]:
    """What a file of masks shows, the masks that fit the cut frame, and what is wrong."""
    label, problem = _attempt(
        file.file, lambda content: read_label(content, file.values)
    )
    if problem or grey is None:
        return None, {}, problem
    try:
        return label, _fit(frame, grey, label), ""
    except ValueError as error:
        return None, {}, f"{file.file}: {error}"


def _find_box(frame: SourceFrame, grey: Grey) -> media.Box:
    """Top, left, bottom, right of the part that is used: all of it by default."""
    return (frame.medium and frame.medium.box) or (0, 0, *grey.values.shape)


def _fit(
    frame: SourceFrame, grey: Grey, label: Label
) -> dict[str, Bool[np.ndarray, "height width"]]:
    """The masks that fit the cut frame; raise `ValueError` where they do not."""
    size = grey.values.shape
    top, left, bottom, right = _find_box(frame, grey)
    masks = turn_with_frame(label, grey.orientation, size)
    shape = next(iter(masks.values())).shape
    if shape == size:
        masks = {name: m[top:bottom, left:right] for name, m in masks.items()}
    elif shape != (bottom - top, right - left):
        of_mask, of_image = (f"{w}x{h} px" for h, w in (shape, size))
        raise ValueError(f"mask is {of_mask}, its image {of_image}")
    runs = frame.runs
    if runs is not None and " ".join(runs.split()) != rle.encode(*masks.values()):
        raise ValueError(
            "differs from its row in train_masks.csv; download both again, or take the "
            "one that is wrong away"
        )
    return masks


def _attempt(file: SourceFile, decode):
    """Return what `decode` makes of a file, and what is wrong with it or ""."""
    try:
        return decode(file.read()), ""
    except UNREADABLE as error:
        return None, f"{file}: {error}"
