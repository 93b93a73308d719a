"""CVAT for video 1.1: boxes and other shapes that a tracker carries through a clip."""

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from nerve_jax.data import media
from nerve_jax.data.exchange.cvat_shapes import (
    IGNORED,
    Box,
    read_area,
    read_box,
    read_labels,
)
from nerve_jax.data.exchange.entries import Entry, Frame, Problems, Shape, draw_all
from nerve_jax.data.exchange.names import check_name, name_picture
from nerve_jax.data.exchange.pictures import Labelled, find_pictures, list_files
from nerve_jax.data.exchange.shapes import Size, make_box
from nerve_jax.data.listing import count_of, is_image, list_some
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.system.console import say
from nerve_jax.system.files import show


class Position(NamedTuple):
    """Where a track of boxes is known to be.

    Attributes:
      frame: of the clip, from 0.
      box: there.
      is_gone: from this frame on, until its next position.
      where: names it in errors.
    """

    frame: int
    box: Box
    is_gone: bool
    where: str


def read(
    folder: Path, roots: Mapping[Path, ElementTree.Element], problems: Problems
) -> Iterator[Labelled]:
    """Draw the tracks of clips, frame after frame; other clips are unlabelled.

    Each frame of a clip that a file lists was looked at for all labels of that file.

    Args:
      folder: holds the clips, in itself or in images/.
      roots: of label files.
      problems: gains what is wrong.

    Raises:
      InputError: lists all that is wrong.
    """
    clips = _find_clips(folder)
    frames: list[Frame] = []
    for path, root in roots.items():
        with problems.at(show(path.name)) as found:
            frames += _read_clip(root, clips, show(path.name), found)
    labelled = {frame.image for frame in frames}
    for place, path in clips.items():
        if path not in labelled:
            with problems.at(show(str(path))):
                medium, size = _open_clip(path)
                entry = Entry("", name_picture(place), size)
                frames += _list_frames(medium, entry, {})
    inside = clips.values()
    if beside := [p for p in find_pictures(folder).values() if p.parent not in inside]:
        say(f"left out: {count_of(len(beside), 'picture')} beside the clips")
    return draw_all(frames, folder, problems, "no label of a clip in a *.xml there")


def _find_clips(folder: Path) -> dict[str, Path]:
    """Clips, files and folders, by their path from a folder or from its images/."""
    found = {}
    for path, inside in [(folder, Path()), *list_files(folder)]:
        is_numbered = path.is_dir() and bool(list_numbered(path))
        is_file = path.is_file() and not is_image(path)
        if is_numbered or (is_file and media.find_kind(path) in ("video", "stack")):
            name = inside.as_posix().removeprefix("images/")
            found[name if inside.parts else folder.name] = path
    return found


def _open_clip(path: Path) -> tuple[media.Medium, Size]:
    """A clip and the size of its frames; raise an error where it cannot be read."""
    medium = media.describe(path)
    return medium, next(iter(media.read(medium))).values.shape


def _list_frames(
    medium: media.Medium, entry: Entry, shapes: Mapping[int, Sequence[Shape]]
) -> list[Frame]:
    """The frames of a clip, named after its entry, with their shapes by index."""
    name, path, size = entry.file_name, medium.path, entry.size
    return [
        Frame(
            f"{name}#{n}", path, n, size, entry._replace(shapes=shapes.get(index, ()))
        )
        for index, n in enumerate(medium.frame_numbers)
    ]


def _read_clip(
    root: ElementTree.Element,
    clips: Mapping[str, Path],
    where: str,
    problems: Problems,
) -> list[Frame]:
    """The frames of the clip that a file labels, with the shapes of its tracks."""
    source = root.findtext("meta/task/source") or root.findtext("meta/source") or ""
    if source:
        check_name(source)
    structures = read_labels(root, problems)
    place = _find_clip(source, clips)
    medium, size = _open_clip(clips[place])
    _check_extent(root, medium.num_frames, size)
    shapes: dict[int, list[Shape]] = defaultdict(list)
    for number, track in enumerate(root.iterfind("track")):
        title, label = f"track {track.get('id', number)}", track.get("label", "")
        with problems.at(title) as found:
            if label not in structures:
                raise ValueError(f"label {show(label)!r} is not declared")
            at, structure = f"{where}: {title}", structures[label]
            of_track = _read_track(track, structure, medium.num_frames, at, found)
            for frame, shape in of_track.items():
                shapes[frame].append(shape)
    name, looked_for = name_picture(source or place), list(structures.values())
    entry = Entry(where, name, size, looked_for)
    return _list_frames(medium, entry, shapes)


def _find_clip(source: str, clips: Mapping[str, Path]) -> str:
    """Which clip a file labels; raise `ValueError` where that is not certain."""
    same = [place for place in clips if f"/{place}".endswith(f"/{source}")]
    found = same or list(clips)
    if len(found) == 1:
        return found[0]
    raise ValueError(
        f"{show(source) or 'a file without <source>'}: "
        f"{'several clips of that name' if same else 'that clip is not there'}; "
        f"there: {show(list_some(clips)) or 'none'}"
    )


def _check_extent(root: ElementTree.Element, num_frames: int, size: Size) -> None:
    """Raise `ValueError` where the clip is not the one that was labelled, or a part."""

    def read_number(name: str, default: int) -> int:
        return _parse_number(root.findtext(f"meta//{name}", ""), default)

    height, width = size
    stated = [
        read_number(f"original_size/{name}", length)
        for name, length in (("height", height), ("width", width))
    ]
    if stated != [height, width]:
        raise ValueError(
            f"labels of {stated[1]}x{stated[0]} px, but the clip is {width}x{height} px; "
            "give the clip that was labelled"
        )
    last, step = num_frames - 1, max(1, read_number("frame_filter", 1))
    start, stop = read_number("start_frame", 0), read_number("stop_frame", last)
    if start != 0 or not last - step < stop <= last:
        raise ValueError(
            f"labels of frames {start} to {stop}, but the clip has frames 0 to {last}; "
            "cut the clip to the frames that were looked at"
        )


def _parse_number(text: str, default: int) -> int:
    """The number in a text such as "step=5", or a default."""
    digits = text.removeprefix("step=")
    return int(digits) if re.fullmatch("[0-9]{1,9}", digits) else default


def _read_track(
    track: ElementTree.Element,
    structure: str,
    num_frames: int,
    where: str,
    problems: Problems,
) -> dict[int, Shape]:
    """The shape of a track in each frame in which it is."""
    elements = [element for element in track if element.tag not in IGNORED]
    frames = [_parse_number(element.get("frame", ""), -1) for element in elements]
    if -1 in frames or sorted(set(frames)) != frames:
        raise ValueError("frames without a number, or out of order")
    is_gone = [element.get("outside") == "1" for element in elements]
    if frames and frames[-1] >= num_frames + is_gone[-1]:  # may end behind the last
        count = count_of(num_frames, "frame")
        raise ValueError(f"frame {frames[-1]}, but the clip has {count}")
    places = [f"frame {n}, {e.tag}" for n, e in zip(frames, elements, strict=True)]
    if all(element.tag == "box" for element in elements):
        boxes = [read_box(element.attrib) for element in elements]
        named = [f"{where}, {place}" for place in places]
        return _carry_all(
            structure, list(map(Position, frames, boxes, is_gone, named)), num_frames
        )
    shapes = {}
    ends = [*frames[1:], num_frames]
    for element, frame, end, gone, place in zip(
        elements, frames, ends, is_gone, places, strict=True
    ):
        if gone:
            continue
        with problems.at(place):
            shapes[frame] = Shape(structure, read_area(element), f"{where}, {place}")
        if end > frame + 1:
            raise ValueError(
                f"no {element.tag} of its own from frame {frame + 1} on; boxes alone are "
                "carried on. Export every frame of the task, or give each frame a shape"
            )
    return shapes


def _carry_all(
    structure: str, positions: Sequence[Position], num_frames: int
) -> dict[int, Shape]:
    """A track of boxes, by frame."""
    carried = {frame: carry(positions, frame) for frame in range(num_frames)}
    return {
        frame: Shape(structure, make_box(p.box[:4].tolist(), float(p.box[4])), p.where)
        for frame, p in carried.items()
        if p is not None
    }


def carry(positions: Sequence[Position], frame: int) -> Position | None:
    """A track in a frame, linear between positions; None where it is gone.

    Before the first position there is none; after the last it stays. It is turned the
    shorter way.
    """
    before = bisect.bisect_right(positions, frame, key=lambda p: p.frame) - 1
    if before < 0 or positions[before].is_gone:
        return None
    here = positions[before]
    if before + 1 == len(positions):
        return here
    after = positions[before + 1]
    change = after.box - here.box
    change[4] = (change[4] + 180) % 360 - 180
    share = (frame - here.frame) / (after.frame - here.frame)
    return here._replace(frame=frame, box=here.box + change * share)
