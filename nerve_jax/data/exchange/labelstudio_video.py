"""Boxes that Label Studio carries through a clip, between keyframes.

Frames are counted from 1 there. A keyframe that is not enabled is the last one that shows
its box, until another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nerve_jax.data.exchange.clips import Clip, Position, describe_clip, draw_clip
from nerve_jax.data.exchange.entries import Gathered, Size
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.labelstudio_tasks import Task
from nerve_jax.data.exchange.names import describe_missing, find_clashes, name_picture
from nerve_jax.data.exchange.references import MALFORMED, describe
from nerve_jax.system.files import show

PERCENT = ("x", "y", "width", "height")


def read_clips(
    tasks: Sequence[Task],
    structures: Mapping[str, str],
    clips: Mapping[str, Path],
    find: Callable[[str], str],
    folder: Path,
    gathered: Gathered,
) -> list[Clip]:
    """The clips of a folder with what tasks say of them; what is wrong is gathered.

    Args:
      tasks: of clips.
      structures: by label.
      clips: see `tracks.find_clips`.
      find: from a URL to a key of `clips`, or to a name that is missing.
      folder: for errors.
      gathered: gains problems.
    """
    read, missing = [], []
    for task in tasks:
        try:
            place = find(task.reference)
            if place not in clips:
                missing.append(place)
                continue
            clip = describe_clip(name_picture(place), clips[place], gathered)
            read += [_add_boxes(clip, task, structures, gathered)] if clip else []
        except ValueError as error:
            gathered.problems.append(f"{task.where}: {error}")
    gathered.problems += describe_missing(missing, folder)
    labelled = {clip.medium.path for clip in read}
    for place, path in clips.items():
        if path not in labelled:
            clip = describe_clip(name_picture(place), path, gathered)
            read += [clip] if clip else []
    gathered.problems += find_clashes([clip.name for clip in read])
    return read


def draw_all(clips: Sequence[Clip]) -> Iterator[Labelled]:
    """Frame after frame of clip after clip."""
    return (frame for clip in clips for frame in draw_clip(clip))


def _add_boxes(
    clip: Clip, task: Task, structures: Mapping[str, str], gathered: Gathered
) -> Clip:
    """A clip with the boxes of a task."""
    if task.regions is None:
        return clip
    boxes = []
    for region in task.regions:
        where = f"{task.where}, region {show(region.number)}"
        try:
            positions = _read_positions(region.value, clip)
            for position in positions:
                corners = position.box[:4].reshape(2, 2)
                at = f"{where}, frame {position.frame + 1}"
                gathered.check_points(at, corners, clip.size)
            known = [structures[x] for x in region.labels if x in structures]
            boxes += [(structure, positions) for structure in known]
        except MALFORMED as error:
            gathered.problems.append(f"{where}: {describe(error)}")
    wanted = structures if task.looked_for is None else task.looked_for
    found = [structures[x] for x in wanted if x in structures]
    found += [structure for structure, _ in boxes]
    return clip._replace(structures=list(dict.fromkeys(found)), boxes=boxes)


def _read_positions(value: dict[str, Any], clip: Clip) -> list[Position]:
    """The positions of a box by rising frame, one more where it is gone.

    Raises:
      ValueError: no sequence, of a clip of another length, or a box that is turned.
    """
    if "sequence" not in value:
        raise ValueError(
            "of a picture, but its task is of a clip; outline a VideoRectangle"
        )
    count, num_frames = value.get("framesCount"), clip.medium.num_frames
    if count is not None and abs(count - num_frames) > 1:  # a browser guesses it
        raise ValueError(
            f"of a clip of {count} frames, but the clip has {num_frames}: Label Studio "
            "counted by a frame rate; give that of the clip as frameRate of <Video>"
        )
    frames = sorted(value["sequence"], key=lambda key: key["frame"])
    numbers = [key["frame"] for key in frames]
    if len(set(numbers)) < len(numbers) or any(type(n) is not int for n in numbers):
        raise ValueError("two keyframes of one frame, or of no whole number")
    if numbers and not 1 <= numbers[0] <= numbers[-1] <= num_frames + 1:
        raise ValueError(
            f"keyframes {numbers[0]} to {numbers[-1]} of frames 1 to {num_frames}"
        )
    positions = []
    for key, after in zip(frames, [*numbers[1:], num_frames + 1], strict=True):
        if key.get("rotation"):
            raise ValueError(f"frame {key['frame']}: a box that is turned is not read")
        box = _to_box(key, clip.size)
        positions.append(Position(key["frame"] - 1, box, False))
        if not key.get("enabled", True) and after > key["frame"] + 1:
            positions.append(Position(key["frame"], box, True))
    return positions


def _to_box(key: dict[str, Any], size: Size) -> np.ndarray:
    """Left, top, right, bottom in px and 0 degrees; see `cvat_shapes.read_box`."""
    left, top, width, height = (float(key[name]) for name in PERCENT)
    box = np.array([left, top, left + width, top + height, 0])
    return box * np.array([size[1], size[0], size[1], size[0], 0]) / 100
