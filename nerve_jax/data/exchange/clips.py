"""Clips with boxes and shapes, which trackers and people put into their frames."""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nerve_jax.data import media
from nerve_jax.data.exchange.cvat_shapes import fill_box
from nerve_jax.data.exchange.entries import Gathered, Shape, Size
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.listing import is_image, is_litter
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.system.files import show


class Position(NamedTuple):
    """Where a track is known to be.

    Attributes:
      frame: of the clip, from 0.
      box: see `cvat_shapes.read_box`.
      is_gone: from this frame on, until its next position.
    """

    frame: int
    box: Float[np.ndarray, " 5"]
    is_gone: bool


class Clip(NamedTuple):
    """A clip with what its tracks show.

    Attributes:
      name: without its ending.
      medium: the file, or the folder of numbered pictures.
      size: height and width in px.
      structures: that were looked for.
      boxes: of each track of boxes, its structure and its positions by rising frame.
      shapes: other shapes, by frame.
    """

    name: str
    medium: media.Medium
    size: Size
    structures: Sequence[str]
    boxes: Sequence[tuple[str, Sequence[Position]]]
    shapes: Mapping[int, Sequence[Shape]]


def find_clips(folder: Path) -> dict[str, Path]:
    """Clips in files and folders by their path from a folder, or from its images/."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        inside = path.relative_to(folder)
        if any(is_litter(Path(part)) for part in inside.parts):
            continue
        is_numbered = path.is_dir() and bool(list_numbered(path))
        is_file = path.is_file() and not is_image(path)
        if is_numbered or (is_file and media.find_kind(path) in ("video", "stack")):
            name = inside.as_posix().removeprefix("images/")
            found[name if inside.parts else folder.name] = path
    return found


def describe_clip(name: str, path: Path, gathered: Gathered) -> Clip | None:
    """A clip without labels; None where it cannot be read."""
    try:
        medium = media.describe(path)
        size = next(iter(media.read(medium))).values.shape
    except (OSError, ValueError) as error:
        gathered.problems.append(f"{show(str(path))}: {error}")
        return None
    return Clip(name, medium, size, (), (), {})


def carry(positions: Sequence[Position], frame: int) -> Float[np.ndarray, " 5"] | None:
    """The box of a track in a frame, linear between positions; None where it is gone.

    Before the first position there is none; after the last it stays. It is turned the
    shorter way.
    """
    before = bisect.bisect_right(positions, frame, key=lambda p: p.frame) - 1
    if before < 0 or positions[before].is_gone:
        return None
    here = positions[before]
    if before + 1 == len(positions):
        return here.box
    after = positions[before + 1]
    change = after.box - here.box
    change[4] = (change[4] + 180) % 360 - 180
    return here.box + change * ((frame - here.frame) / (after.frame - here.frame))


def draw_clip(clip: Clip) -> Iterator[Labelled]:
    """Unite the shapes of each structure, frame after frame."""
    for index, number in enumerate(clip.medium.frame_numbers):
        masks = {structure: np.zeros(clip.size, bool) for structure in clip.structures}
        for structure, positions in clip.boxes:
            box = carry(positions, index)
            if box is not None:
                masks[structure] |= fill_box(box, clip.size)
        for shape in clip.shapes.get(index, ()):
            masks[shape.structure] |= shape.draw(clip.size)
        name = f"{clip.name}#{number}"
        yield Labelled(name, clip.medium.path, number, clip.size, masks)
