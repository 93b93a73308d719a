"""Folders of frames and of masks: which mask is that of which frame, from names alone."""

import difflib
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
from nerve_jax.data.ultrasound_nerve.orphans import explain_orphans
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
        listing.problems += explain_orphans(unpaired, mask_of, images.files, masks.path)
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
