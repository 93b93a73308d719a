"""Masks of clips: masks/<clip>/<number of a frame>.png."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from nerve_jax.data.listing import count_of, list_some, name_kind, scan
from nerve_jax.data.media.numbered import read_number
from nerve_jax.data.ultrasound_nerve.mask_folders import MaskFolder
from nerve_jax.data.ultrasound_nerve.sources import (
    Listing,
    MaskFile,
    SourceFile,
    SourceFrame,
)
from nerve_jax.system.files import show

NAMING = "name a mask by the number of its frame, as 00012.png"


def add_mask(frame: SourceFrame, file: SourceFile, masks: MaskFolder) -> SourceFrame:
    """The frame with one mask more, of those of a folder."""
    mask = MaskFile(file, masks.values, masks.reader)
    return dataclasses.replace(frame, masks=(*frame.masks, mask))


def add_masks(
    frames: Sequence[SourceFrame], masks: MaskFolder, listing: Listing
) -> list[SourceFrame]:
    """Give the frames of clips the masks of a folder.

    Args:
      frames: of clips, all that are there.
      masks: has a folder for each clip that is labelled.
      listing: gains masks of frames that are not there.
    """
    of_clip: dict[str, list[SourceFrame]] = defaultdict(list)
    for frame in frames:
        of_clip[frame.clip].append(frame)
    masked = []
    for clip, own in of_clip.items():
        files = _list_masks(masks.path / clip, own, listing)
        masked += [
            add_mask(f, SourceFile(files[f.number]), masks) if f.number in files else f
            for f in own
        ]
    return masked


def _list_masks(
    folder: Path, own: Sequence[SourceFrame], listing: Listing
) -> dict[int, Path]:
    """Masks of a clip by the number of their frame; what does not fit is a problem."""
    where, contents = show(str(folder)), scan(folder)
    paths: dict[int | None, list[Path]] = defaultdict(list)
    for path in contents.images:
        paths[read_number(path.stem)].append(path)
    listing.left_out += Counter(map(name_kind, contents.others))
    if deeper := contents.describe_deeper():
        listing.problems.append(f"{where}: {show(deeper)}; put all into {where} itself")
    listing.problems += [
        f"{show(str(path))}: no number at the end of its name; {NAMING}"
        for path in paths.pop(None, [])
    ]
    listing.problems += [
        f"{where}: {list_some([show(p.name) for p in same])} are all masks of frame "
        f"{number}; keep one"
        for number, same in paths.items()
        if len(same) > 1
    ]
    numbers = {frame.number for frame in own}
    if strays := sorted(paths.keys() - numbers):
        first, last = min(numbers), max(numbers)
        shifted = strays == [last + 1] and first not in paths
        hint = " They seem to be numbered from 1." if shifted else ""
        listing.problems.append(
            f"{where}: {count_of(len(strays), 'mask')} of frames that the clip does not "
            f"have, e.g. {list_some(map(str, strays), 3)}: its {len(own)} frames are "
            f"numbered {first} to {last}.{hint} N{NAMING[1:]}"
        )
    return {number: same[0] for number, same in paths.items()}


def check_masks(frames: Sequence[SourceFrame], reader: str) -> list[str]:
    """Problems of clips of which some frames have a mask in a folder and others none.

    Args:
      frames: of clips in files and folders, those that are taken (`take_every`).
      reader: the first, whose masks are looked at: others may outline some frames.
    """
    of_clip: dict[str, list[SourceFrame]] = defaultdict(list)
    for frame in frames:  # a table may call the clip otherwise
        of_clip[frame.frame.rpartition("#")[0]].append(frame)
    return [
        problem
        for own in of_clip.values()
        for problem in _find_unlabelled_parts(own, reader)
    ]


def _find_unlabelled_parts(frames: Sequence[SourceFrame], reader: str) -> list[str]:
    """Problems of one clip: see `check_masks`."""
    labelled: dict[Path, set[int]] = defaultdict(set)
    for frame in frames:
        for mask in frame.masks:
            if mask.reader == reader:
                labelled[mask.file.path.parent].add(frame.number)
    numbers = [frame.number for frame in frames]
    return [
        f"{show(str(folder))}: masks of {len(own)} of {len(numbers)} frames; none of "
        f"{list_some([str(n) for n in numbers if n not in own], 3)}. Add them, all black "
        "where no nerve is seen; take only frames that have one, "
        "--config.data.frame_stride=N; or take the clip's folder of masks away"
        for folder, own in labelled.items()
        if len(own) < len(numbers)
    ]
