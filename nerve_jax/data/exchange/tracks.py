"""Boxes and polygons that a tracker carries through a clip: CVAT for video 1.1."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from nerve_jax.data.exchange.clips import (
    Clip,
    Position,
    describe_clip,
    draw_clip,
    find_clips,
)
from nerve_jax.data.exchange.cvat_shapes import (
    IGNORED,
    read_box,
    read_labels,
    read_shape,
)
from nerve_jax.data.exchange.entries import Gathered
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import find_clashes, find_name_problem, name_picture
from nerve_jax.data.exchange.pictures import find_pictures
from nerve_jax.data.listing import count_of, list_some
from nerve_jax.system.console import say
from nerve_jax.system.files import show


def read(folder: Path, roots: Mapping[Path, ElementTree.Element]) -> Iterator[Labelled]:
    """Draw the tracks of clips, frame after frame; other clips are unlabelled.

    The clip of a file is named by its <source>; without one it is the only clip there.
    Each frame of a clip that a file lists was looked at for all of its labels.

    Args:
      folder: holds the clips, in itself or in images/.
      roots: of label files.

    Raises:
      InputError: lists all that is wrong.
    """
    gathered = Gathered()
    found = find_clips(folder)
    clips = []
    for path, root in roots.items():
        of_file = Gathered()
        clip = _read_clip(root, found, of_file)
        gathered.include(show(path.name), of_file)
        clips += [clip] if clip else []
    labelled = {clip.medium.path for clip in clips}
    for place, path in found.items():
        if path not in labelled:
            clip = describe_clip(name_picture(place), path, gathered)
            clips += [clip] if clip else []
    gathered.problems += find_clashes([clip.name for clip in clips])
    gathered.raise_if_any(folder)
    left_out = [
        p for p in find_pictures(folder).values() if p.parent not in found.values()
    ]
    if left_out:
        say(f"left out: {count_of(len(left_out), 'picture')} beside the clips")
    return (frame for clip in clips for frame in draw_clip(clip))


def _read_clip(
    root: ElementTree.Element, found: Mapping[str, Path], gathered: Gathered
) -> Clip | None:
    """The clip that a file labels, with its tracks; None where that has a problem."""
    source = root.findtext("meta/task/source") or root.findtext("meta/source") or ""
    place = _find_clip(source, found, gathered)
    structures = read_labels(root, gathered)
    if place is None:
        return None
    is_named = source and not find_name_problem(source)
    name = name_picture(source if is_named else place)
    clip = describe_clip(name, found[place], gathered)
    if clip is None or not _fits(root, clip, gathered):
        return None
    boxes, shapes = [], {}
    for number, track in enumerate(root.iterfind("track")):
        label, where = track.get("label", ""), f"track {track.get('id', number)}"
        elements = [element for element in track if element.tag not in IGNORED]
        if label not in structures:
            gathered.problems.append(f"{where}: label {show(label)!r} is not declared")
            continue
        frames = _read_frames(elements, clip, where, gathered)
        if len(frames) < len(elements):
            continue
        if all(element.tag == "box" for element in elements):
            positions = _read_boxes(elements, frames, clip, where, gathered)
            boxes.append((structures[label], positions))
            continue
        _check_gaps(elements, frames, clip, where, gathered)
        for element, frame in zip(elements, frames, strict=True):
            if not _is_gone(element):
                at = f"{where}, frame {frame}"
                shape = read_shape(element, structures[label], clip.size, at, gathered)
                shapes.setdefault(frame, []).extend([shape] if shape else [])
    names = list(structures.values())
    return clip._replace(structures=names, boxes=boxes, shapes=shapes)


def _find_clip(
    source: str, found: Mapping[str, Path], gathered: Gathered
) -> str | None:
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


def _fits(root: ElementTree.Element, clip: Clip, gathered: Gathered) -> bool:
    """Whether the clip is the one that was labelled, and the whole of it."""
    height, width = clip.size
    stated = (
        _read_number(root.findtext("meta//original_size/height", ""), height),
        _read_number(root.findtext("meta//original_size/width", ""), width),
    )
    if stated != clip.size:
        gathered.problems.append(
            f"labels of {stated[1]}x{stated[0]} px, but the clip is {width}x{height} px; "
            "give the clip that was labelled"
        )
        return False
    last = clip.medium.num_frames - 1
    start, stop, step = (
        _read_number(root.findtext(f"meta//{name}", ""), default)
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


def _read_number(text: str, default: int) -> int:
    """The number in a text such as "step=5", or a default."""
    digits = text.removeprefix("step=")
    return int(digits) if re.fullmatch("[0-9]{1,9}", digits) else default


def _read_frames(
    elements: Sequence[ElementTree.Element], clip: Clip, where: str, gathered: Gathered
) -> list[int]:
    """The frames of the positions of a track, rising; fewer where there is a problem."""
    frames = [_read_number(element.get("frame", ""), -1) for element in elements]
    count = clip.medium.num_frames
    if -1 in frames or sorted(set(frames)) != frames:
        gathered.problems.append(f"{where}: frames without a number, or out of order")
        return []
    beyond = [f for f, e in zip(frames, elements, strict=True) if f >= count]
    gone = [e for f, e in zip(frames, elements, strict=True) if f == count]
    if beyond and not (beyond == [count] and _is_gone(gone[0])):  # ends after the last
        gathered.problems.append(
            f"{where}: frame {beyond[-1]}, but the clip has {count_of(count, 'frame')}"
        )
        return []
    return frames


def _is_gone(element: ElementTree.Element) -> bool:
    return element.get("outside") == "1"


def _read_boxes(
    elements: Sequence[ElementTree.Element],
    frames: Sequence[int],
    clip: Clip,
    where: str,
    gathered: Gathered,
) -> list[Position]:
    """The positions of a track of boxes."""
    positions = []
    for element, frame in zip(elements, frames, strict=True):
        if read_shape(element, "", clip.size, f"{where}, frame {frame}", gathered):
            box = read_box(element.attrib)
            positions.append(Position(frame, box, _is_gone(element)))
    return positions


def _check_gaps(
    elements: Sequence[ElementTree.Element],
    frames: Sequence[int],
    clip: Clip,
    where: str,
    gathered: Gathered,
) -> None:
    """Note frames in which a track that is no box has no shape of its own."""
    ends = [*frames[1:], clip.medium.num_frames]
    missing = [
        frame + 1
        for element, frame, end in zip(elements, frames, ends, strict=True)
        if not _is_gone(element) and end > frame + 1
    ]
    if missing:
        gathered.problems.append(
            f"{where}: no {elements[0].tag} of its own from frame "
            f"{list_some(map(str, missing), 3)} on; boxes alone are carried on. Export "
            "every frame of the task, or give each frame a shape"
        )
