"""Folders of frames and of masks: which mask is that of which frame, from names alone."""

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from nerve_jax.data.frames import IMAGE_SUFFIXES
from nerve_jax.data.labels import Values
from nerve_jax.data.listing import (
    Contents,
    compose,
    count_of,
    describe_left_out,
    is_image,
    is_litter,
    list_some,
    loosen,
    scan,
)
from nerve_jax.data.media import name_of
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.data.ultrasound_nerve.clip_masks import add_mask, add_masks
from nerve_jax.data.ultrasound_nerve.clips import take_media
from nerve_jax.data.ultrasound_nerve.mask_folders import (
    MaskFolder,
    has_files,
    list_mask_folders,
    list_readers,
)
from nerve_jax.data.ultrasound_nerve.sources import (
    Listing,
    SourceFile,
    SourceFrame,
)
from nerve_jax.system.files import show

# What people call these folders elsewhere.
OTHER_NAMES = {
    "images": "image img imgs frame frames picture pictures imagestr input inputs",
    "masks": "mask label labels labelstr segmentation segmentations seg segs annotation "
    "annotations gt truth groundtruth ground_truth outlines contours",
}
MASK_ENDS = re.compile(
    r"[_\- .](mask|seg|label|gt|segmentation|annotation)s?\d*$", re.IGNORECASE
)
PATTERNS_SHOWN = 4
SAMPLED = 20  # masks from which a pattern is guessed


class Images(NamedTuple):
    """A folder of frames.

    Attributes:
      path: of the folder.
      contents: without what is a clip.
      files: of the frames that are no frame of a clip, by name.
      clips: names of the clips.
    """

    path: Path
    contents: Contents
    files: dict[str, SourceFile]
    clips: set[str]


def pair_folders(
    folder: Path,
    listing: Listing,
    table: Values | None = None,
    where: str = "images",
    readers: bool = False,
) -> list[SourceFrame]:
    """List the frames of images/ with the masks of the same names.

    Args:
      folder: holds images/ and, unless all frames are unlabelled, masks/.
      listing: structures, readers, and what is wrong, left out or worth saying are added
        to it.
      table: the values of label maps, where there are such.
      where: what the folder of the frames is called.
      readers: whether the folders in masks/ are readers.

    Returns:
      Frames without a subject, in order of name; then those of clips.
    """
    of_reader = list_readers(folder, listing, readers)
    masked = {name for path in of_reader.values() for name in _list_masked(path)}
    contents, found = take_media(folder / where, scan(folder / where), masked, listing)
    files = _by_name(contents, listing)
    images = Images(folder / where, contents, files, {f.clip for f in found.clips})
    if not found.clips:
        _note_no_frames(images.path, contents, listing)
    _note_contents(images.path, contents, listing)
    if strays := [n for n in files if MASK_ENDS.sub("", n) in files.keys() - {n}]:
        listing.problems.append(
            f"{images.path}: {count_of(len(strays), 'file')} named as masks of "
            f"other frames there, e.g. {show(strays[0])}; put masks into masks/, under "
            "the names of their frames"
        )
    frames = [
        *(found.stills.get(n, SourceFrame(n, "", file)) for n, file in files.items()),
        *found.clips,
    ]
    if not any(has_files(path) for path in of_reader.values()):
        _note_no_masks(folder, listing)
    for masks in list_mask_folders(
        of_reader, files.keys(), images.clips, table or {}, listing
    ):
        frames = _add_masks(frames, masks, images, listing)
    return frames


def _list_masked(folder: Path) -> set[str]:
    """Names of frames and of clips that have masks in a folder, at any depth."""
    paths = [path for path in folder.rglob("*") if not is_litter(path)]
    folders = {compose(path.name) for path in paths if path.is_dir()}
    return folders | {compose(path.stem) for path in paths if is_image(path)}


def _add_masks(
    frames: list[SourceFrame], masks: MaskFolder, images: Images, listing: Listing
) -> list[SourceFrame]:
    """Give frames the masks of a folder; what does not fit is added to the listing."""
    contents = scan(masks.path)
    lone = [
        n for n in contents.without(images.clips).deeper if _is_clip(masks.path / n)
    ]
    listing.problems += [
        f"{show(str(masks.path / name))}: masks of a clip that is not in "
        f"{images.path.name}/; add it, give the masks its name, or take them away"
        for name in lone
    ]
    contents = contents.without(images.clips | set(lone))
    _note_contents(masks.path, contents, listing)
    mask_of = _by_name(contents, listing)
    listing.problems += [
        f"{mask_of[name]}: {name} is a clip; put its masks into {masks.path / name}/, under "
        "the numbers of their frames, as 00012.png"
        for name in sorted(mask_of.keys() & images.clips)
    ]
    unpaired = sorted(mask_of.keys() - images.files.keys() - images.clips)
    listing.problems += _list_unread(images.contents, unpaired)
    listing.problems += _list_unread(contents, images.files.keys() - mask_of.keys())
    if unpaired:
        listing.problems += _explain_orphans(unpaired, mask_of, images, masks.path)
    stills, of_clips = [f for f in frames if not f.clip], [f for f in frames if f.clip]
    return [
        *(
            add_mask(f, mask_of[f.frame], masks) if f.frame in mask_of else f
            for f in stills
        ),
        *add_masks(of_clips, masks, listing),
    ]


def _is_clip(folder: Path) -> bool:
    return bool(list_numbered(folder))


def _by_name(contents: Contents, listing: Listing) -> dict[str, SourceFile]:
    """Files by name without its ending; names that cannot be ids are problems."""
    files = [SourceFile(path) for path in contents.images]
    listing.problems += find_duplicates(files) + find_odd(files)
    return {compose(name_of(f.name)): f for f in files}


def _note_no_frames(folder: Path, images: Contents, listing: Listing) -> None:
    """Add that there are no frames, and what is there."""
    if not images.images and not images.deeper_images:
        there = describe_left_out(images.left_out) or "it is empty"
        listing.problems.append(
            f"{folder}: no {', '.join(IMAGE_SUFFIXES)}, DICOM file or clip there; "
            f"{show(there)}. Save frames as PNG"
        )


def _note_contents(folder: Path, contents: Contents, listing: Listing) -> None:
    """Add what lies beside and below the files of a folder."""
    listing.left_out += contents.left_out
    if deeper := contents.describe_deeper():
        listing.problems.append(
            f"{folder}: {show(deeper)}; put all into {folder.name}/ itself, named "
            "PERSON_FRAME where folders are people, number them from 0 on where a "
            "folder is a clip, or take them away"
        )


def _note_no_masks(folder: Path, listing: Listing) -> None:
    """Add that there are no masks, or where they may be."""
    if near := find_near(folder, "masks"):
        listing.problems.append(
            f"{folder}: no masks/ there, but {show(list_some(near))}; name the folder of "
            "the masks masks/, unpacked"
        )
    else:
        listing.notes.append(f"no masks in {folder / 'masks'}: frames are unlabelled")


def find_near(folder: Path, name: str) -> list[str]:
    """Files and folders that stand for `name`, which is not there under that name."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    known = [name, *OTHER_NAMES[name].split()]
    stems = {path: path.name.lower().split(".")[0] for path in found}
    return [
        path.name + "/" * path.is_dir()
        for path, stem in stems.items()
        if path.name != name
        and (stem in known or difflib.get_close_matches(stem, [name], cutoff=0.8))
    ]


def find_duplicates(files: list[SourceFile]) -> list[str]:
    """Names that two files share, apart from their endings."""
    counts = Counter(compose(name_of(f.name)) for f in files)
    return [
        f"{f}: its name stands for two files; take one away, or rename it"
        for f in files
        if counts[compose(name_of(f.name))] > 1
    ]


def find_odd(files: list[SourceFile]) -> list[str]:
    """Names with bytes that are no text, which records cannot hold."""
    return [
        f"{f}: its name is not UTF-8; rename it"
        for f in files
        if any("\ud800" <= letter <= "\udfff" for letter in f.name.name)
    ]


def _list_unread(contents: Contents, wanted: Iterable[str]) -> list[str]:
    """Files that would be a wanted frame or mask if their format were read."""
    wanted = set(wanted)
    return [
        f"{show(str(path))}: of a kind that is not read; save it as PNG"
        for path in contents.others
        if {compose(path.stem), compose(PurePath(path.stem).stem)} & wanted
    ]


def _explain_orphans(
    orphans: list[str], mask_of: dict[str, SourceFile], images: Images, folder: Path
) -> list[str]:
    """Masks without a frame: the patterns of their names, then those of none."""
    image_of = images.files
    rest, explained = set(orphans), []
    loose = {loosen(name) for name in image_of}
    if spelt := sorted(name for name in rest if loosen(name) in loose):
        rest -= set(spelt)
        explained.append((spelt, "names differ in capitals, blanks or zeros"))
    while rest and len(explained) < PATTERNS_SHOWN:
        pattern, matched = _find_pattern(sorted(rest), image_of.keys())
        if len(matched) < 2 and len(rest) > 1:
            break
        if not matched:
            break
        rest -= set(matched)
        explained.append((matched, _describe_pattern(*pattern)))
    lines = [
        f"{folder}: {count_of(len(names), 'mask')} without an image of the same "
        f"name, e.g. {show(names[0])}: {text}. Give a mask the name of its frame"
        for names, text in explained
    ]
    if len(explained) > 1:
        lines.append(f"{folder}: a frame has one mask; unite several of one structure")
    return lines + [
        f"{mask_of[name]}: mask without an image; add its image, or take it away"
        for name in sorted(rest)
    ]


Pattern = tuple[str, str, str]  # "end in" or "begin with", of frames, of masks


def _find_pattern(masks: list[str], frames) -> tuple[Pattern, list[str]]:
    """The change of ends or beginnings that gives most masks the name of a frame."""
    step = max(1, len(masks) // SAMPLED)
    pairs = ((f, m) for m in masks[::step][:SAMPLED] for f in frames)
    patterns = {pattern for f, m in pairs for pattern in _compare_names(f, m)}
    best: tuple[Pattern, list[str]] = (("", "", ""), [])
    for pattern in sorted(patterns):
        matched = [m for m in masks if _rename(m, pattern) in frames]
        if len(matched) > len(best[1]):
            best = pattern, matched
    return best


def _compare_names(frame: str, mask: str) -> list[Pattern]:
    """How the ends or the beginnings of two names differ, if the rest is a number."""
    same = len(os.path.commonprefix([frame, mask]))
    ends = frame[same:], mask[same:]
    same = len(os.path.commonprefix([frame[::-1], mask[::-1]]))
    starts = frame[: len(frame) - same], mask[: len(mask) - same]
    found = []
    if frame[0] == mask[0] and _are_affixes(*ends):
        found.append(("end in", *ends))
    if frame[-1] == mask[-1] and _are_affixes(*(text[::-1] for text in starts)):
        found.append(("begin with", *starts))
    return found


def _are_affixes(of_frame: str, of_mask: str) -> bool:
    """Whether texts may be what a program adds to names: no digit where they begin."""
    one = not of_frame or not of_mask
    plain = not re.search(r"\d", of_frame + of_mask)
    return (one or plain) and not re.match(r"\d", of_frame + of_mask)


def _rename(mask: str, pattern: Pattern) -> str | None:
    """The name of the frame to which a pattern assigns a mask."""
    place, of_frame, of_mask = pattern
    if place == "end in":
        base = mask.removesuffix(of_mask)
        return base + of_frame if mask.endswith(of_mask) else None
    base = mask.removeprefix(of_mask)
    return of_frame + base if mask.startswith(of_mask) else None


def _describe_pattern(place: str, of_frame: str, of_mask: str) -> str:
    if of_frame and of_mask:
        return f"frames {place} {show(of_frame)}, masks {place} {show(of_mask)}"
    if of_frame:
        return f"frames {place} {show(of_frame)}, masks do not"
    return f"masks {place} {show(of_mask)}, frames do not"
