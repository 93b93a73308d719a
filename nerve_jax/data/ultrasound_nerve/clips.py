"""Clips among a folder's files, and their masks: masks/<clip>/<number of a frame>.png."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from nerve_jax.data import media
from nerve_jax.data.copies import find_copies
from nerve_jax.data.listing import Contents, compose, count_of, list_some, scan
from nerve_jax.data.media.numbered import list_numbered, read_number
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
            None,
            medium.spacing_mm,
            scanner=medium.scanner,
            clip=name if medium.is_clip else "",
            medium=medium,
            number=number,
        )
        for number in range(medium.num_frames)
    ]


def _list_numbered_frames(name: str, paths: dict[int, Path]) -> list[SourceFrame]:
    return [
        SourceFrame(
            f"{name}#{number}", "", SourceFile(path), None, clip=name, number=number
        )
        for number, path in paths.items()
    ]


def add_masks(
    frames: Sequence[SourceFrame], masks_dir: Path, listing: Listing
) -> list[SourceFrame]:
    """Give the frames of clips their masks; those of a clip without any are unlabelled.

    Args:
      frames: of clips, all that are there.
      masks_dir: masks/, with a folder for each clip that is labelled.
      listing: gains masks of frames that are not there.
    """
    of_clip: dict[str, list[SourceFrame]] = defaultdict(list)
    for frame in frames:
        of_clip[frame.clip].append(frame)
    masked = []
    for clip, own in of_clip.items():
        files = {read_number(p.stem): p for p in scan(masks_dir / clip).images}
        numbers = {frame.number for frame in own}
        if strays := sorted(map(str, files.keys() - numbers)):
            listing.problems.append(
                f"{show(str(masks_dir / clip))}: {count_of(len(strays), 'mask')} of frames "
                f"that the clip does not have, e.g. {list_some(strays, 3)}: its "
                f"{len(own)} frames are numbered {min(numbers)} to {max(numbers)}. Name a "
                "mask by the number of its frame, as 00012.png"
            )
        masked += [
            dataclasses.replace(f, mask=SourceFile(files[f.number]))
            if f.number in files
            else f
            for f in own
        ]
    return masked


def check_masks(frames: Sequence[SourceFrame], masks_dir: Path) -> list[str]:
    """Problems of clips of which some frames have a mask and others none.

    Args:
      frames: of clips, those that are taken (`take_every`).
      masks_dir: masks/.
    """
    missing: dict[str, list[int]] = defaultdict(list)
    labelled: dict[str, int] = defaultdict(int)
    for frame in frames:
        labelled[frame.clip] += frame.mask is not None
        if frame.mask is None:
            missing[frame.clip].append(frame.number)
    return [
        f"{show(str(masks_dir / clip))}: masks of {labelled[clip]} of "
        f"{labelled[clip] + len(numbers)} frames; none of {list_some(map(str, numbers), 3)}. "
        "Add them, all black where no nerve is seen; take only frames that have one, "
        "--config.data.frame_stride=N; or take the clip's folder of masks away"
        for clip, numbers in missing.items()
        if labelled[clip]
    ]


def take_every(frames: Sequence[SourceFrame], stride: int) -> list[SourceFrame]:
    """Every so many frames of each clip, its first included; stills are all taken."""
    if stride == 1:
        return list(frames)
    taken: list[SourceFrame] = []
    seen: dict[str, int] = defaultdict(int)
    for frame in sorted(frames, key=lambda f: (f.clip, f.number)):
        if not frame.clip or seen[frame.clip] % stride == 0:
            taken.append(frame)
        seen[frame.clip] += 1
    return taken
