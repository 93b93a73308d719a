"""Clips that CVAT for video labels: which they are, and whether they fit."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from nerve_jax.data import media
from nerve_jax.data.exchange.entries import Gathered, Shape, Size
from nerve_jax.data.listing import is_image, is_litter, list_some
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


def describe(name: str, path: Path, gathered: Gathered) -> Clip | None:
    """A clip without labels; None where it cannot be read."""
    try:
        medium = media.describe(path)
        size = next(iter(media.read(medium))).values.shape
    except (OSError, ValueError) as error:
        gathered.problems.append(f"{show(str(path))}: {error}")
        return None
    return Clip(name, medium, size, (), (), {})


def find_clip(source: str, found: Mapping[str, Path], gathered: Gathered) -> str | None:
    """Which clip a file labels; None, and a problem, where that is not certain."""
    same = [place for place in found if place == source or place.endswith(f"/{source}")]
    if len(same) == 1 or (len(found) == 1 and not same):
        return same[0] if same else next(iter(found))
    wanted = show(source) or "a file without <source>"
    there = show(list_some(found)) or "none"
    gathered.problems.append(
        f"{wanted}: {'several clips of that name' if same else 'that clip is not there'}; "
        f"there: {there}"
    )
    return None


def fits(root: ElementTree.Element, clip: Clip, gathered: Gathered) -> bool:
    """Whether the clip is the one that was labelled, and the whole of it."""
    height, width = clip.size
    stated = (
        read_number(root.findtext("meta//original_size/height", ""), height),
        read_number(root.findtext("meta//original_size/width", ""), width),
    )
    if stated != clip.size:
        gathered.problems.append(
            f"labels of {stated[1]}x{stated[0]} px, but the clip is {width}x{height} px; "
            "give the clip that was labelled"
        )
        return False
    last = clip.medium.num_frames - 1
    start, stop, step = (
        read_number(root.findtext(f"meta//{name}", ""), default)
        for name, default in (
            ("start_frame", 0),
            ("stop_frame", last),
            ("frame_filter", 1),
        )
    )
    if start == 0 and last - max(1, step) < stop <= last:
        return True
    gathered.problems.append(
        f"labels of frames {start} to {stop}, but the clip has frames 0 to {last}; cut "
        "the clip to the frames that were looked at"
    )
    return False


def read_number(text: str, default: int) -> int:
    """The number in a text such as "step=5", or a default."""
    digits = text.removeprefix("step=")
    return int(digits) if re.fullmatch("[0-9]{1,9}", digits) else default
