"""Clips and DICOM files among a folder's files, and which of their frames are taken."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from nerve_jax.data import media
from nerve_jax.data.copies import find_copies
from nerve_jax.data.listing import (
    Contents,
    compose,
    list_some,
)
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.data.ultrasound_nerve.sources import Listing, SourceFile, SourceFrame
from nerve_jax.system.files import show


class Found(NamedTuple):
    """What a folder of images holds beside plain pictures, without masks and subjects.

    Attributes:
      clips: frames of files of several frames and of folders of numbered pictures.
      stills: frames of files of one frame that are no plain picture, by name.
    """

    clips: list[SourceFrame]
    stills: dict[str, SourceFrame]


def take_media(
    folder: Path, contents: Contents, masked: Collection[str], listing: Listing
) -> tuple[Contents, Found]:
    """Find clips and DICOM files among a folder's files, by their content.

    Args:
      folder: that was looked into.
      contents: of it.
      masked: names of the frames and clips that have masks.
      listing: gains what is wrong with a file, and what is doubtful.

    Returns:
      The rest of the contents, in which DICOM files of one frame are images, and what was
      found.
    """
    found = Found([], {})
    described, others = [], []
    for path in [*contents.images, *contents.others]:
        if media.find_kind(path) in ("", "dicomdir"):
            others.append(path)
        elif medium := _describe(path, listing):
            described.append(medium)
    pictures = []
    for medium in _drop_copies(described, masked, listing):
        frames = list_frames_of(medium)
        if medium.is_clip:
            found.clips.extend(frames)
        else:
            pictures.append(medium.path)
            if medium.kind != "picture":
                found.stills[frames[0].frame] = frames[0]
    numbered = {n: list_numbered(folder / n) for n in contents.deeper_images}
    for name, paths in numbered.items():
        found.clips.extend(_list_numbered_frames(compose(name), paths))
    rest = contents.without({name for name, paths in numbered.items() if paths})
    listing.problems += _find_same_names(found.clips, pictures)
    return dataclasses.replace(rest, images=sorted(pictures), others=others), found


def _drop_copies(
    found: Sequence[media.Medium], masked: Collection[str], listing: Listing
) -> list[media.Medium]:
    """All but what shows what another shows (`find_copies`): the one without a mask."""
    dropped = {}
    for copy, original in find_copies(found).items():
        names = [compose(media.name_of(path)) for path in (copy, original)]
        if names[0] == names[1] or names[0] not in masked:
            dropped[copy] = original
        elif names[1] not in masked:
            dropped[original] = copy
    listing.left_out += Counter(
        f"copies of {show(path.name)}" for path in dropped.values()
    )
    return [medium for medium in found if medium.path not in dropped]


def _find_same_names(
    clips: Sequence[SourceFrame], pictures: Sequence[Path]
) -> list[str]:
    """Problems of clips that have the name of another clip or of a picture."""
    paths_of: dict[str, dict[Path, None]] = defaultdict(dict)
    for f in clips:
        path = f.image.path
        paths_of[f.clip][path if f.medium else path.parent] = None
    for path in pictures:
        name = compose(media.name_of(path))
        if name in paths_of:
            paths_of[name][path] = None
    return [
        f"{list_some([show(str(path)) for path in paths])}: they share one name, that of "
        "the frames in them; rename one"
        for paths in paths_of.values()
        if len(paths) > 1
    ]


def _describe(path: Path, listing: Listing) -> media.Medium | None:
    where = show(str(path))
    try:
        medium = media.describe(path)
    except (OSError, ValueError) as error:
        listing.problems.append(f"{where}: {error}")
        return None
    listing.notes += [f"{where}: {remark}" for remark in medium.remarks]
    return medium


def list_frames_of(medium: media.Medium) -> list[SourceFrame]:
    """The frames of a file, named `name#number`; a still has no number."""
    name = compose(media.name_of(medium.path))
    return [
        SourceFrame(
            f"{name}#{number}" if medium.is_clip else name,
            "",
            SourceFile(medium.path),
            spacing_mm=medium.spacing_mm,
            scanner=medium.scanner,
            clip=name if medium.is_clip else "",
            medium=medium,
            number=number,
        )
        for number in range(medium.num_frames)
    ]


def _list_numbered_frames(name: str, paths: dict[int, Path]) -> list[SourceFrame]:
    return [
        SourceFrame(f"{name}#{number}", "", SourceFile(path), clip=name, number=number)
        for number, path in paths.items()
    ]


def take_every(frames: Sequence[SourceFrame], stride: int) -> list[SourceFrame]:
    """Every so many frames of each clip, its first included; stills are all taken.

    Returns:
      Frames in order of clip, file and number: those of one file follow each other.
    """
    if stride == 1:
        return list(frames)
    taken: list[SourceFrame] = []
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for frame in sorted(frames, key=lambda f: (*_name_sweep(f), f.number)):
        sweep = _name_sweep(frame)
        if not frame.clip or seen[sweep] % stride == 0:
            taken.append(frame)
        seen[sweep] += 1
    return taken


def _name_sweep(frame: SourceFrame) -> tuple[str, str]:
    """The clip and, of a file of several frames, the file: a table may unite clips."""
    is_clip = frame.medium is not None and frame.medium.is_clip
    return frame.clip, str(frame.image.path) if is_clip else ""
