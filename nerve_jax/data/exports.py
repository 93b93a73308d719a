"""All that a scanner has exported into a folder: which files hold frames, named safely."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nerve_jax.data import media
from nerve_jax.data.copies import find_copies
from nerve_jax.data.frames_folder import name_problem
from nerve_jax.data.listing import compose, is_litter
from nerve_jax.data.media import Medium
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import MissingExtraError
from nerve_jax.system.files import show

LONG_WORD = 4
HIDDEN = "source"  # in place of a name that holds a word of a header


class Source(NamedTuple):
    """A file that may be imported, or why it is not.

    Attributes:
      shown: its path from the input folder, without what names somebody.
      medium: what it says of its frames; None where it cannot be read.
      name: of its frames, unique and without what names somebody.
      place: the folder that it lies in, below the input folder; "" for that itself.
      reason: why it is not imported; "" for one that is.
      is_broken: whether that is an error.
    """

    shown: str
    medium: Medium | None
    name: str
    place: str
    reason: str = ""
    is_broken: bool = False


def list_exports(input_dir: Path) -> list[Source]:
    """Look at all files in and below a folder.

    A folder of numbered pictures is one clip. Pictures and clips that show what a DICOM
    file shows are its exports, and are not imported. What is no frame is not listed.

    Raises:
      InputError: no such folder, no frames there, or files that need an extra.
    """
    if not input_dir.is_dir():
        mend = "name the folder it lies in" if input_dir.exists() else "no such folder"
        raise InputError(f"{input_dir}: {mend} (--input)")
    found, reasons = {}, {}
    for path in _list_files(input_dir):
        try:
            found[path] = media.describe(path)
        except MissingExtraError:
            raise  # what is not read may be what other files are copies of
        except (OSError, ValueError) as error:
            reasons[path] = name_problem(error), True
    if not found and not reasons:
        raise InputError(f"{input_dir}: no picture, DICOM file or clip there (--input)")
    copies = find_copies(list(found.values()))
    found = _join_numbered(found, copies)
    words = {word for medium in found.values() for word in medium.words}

    def hide(path: Path) -> str:
        parts = path.relative_to(input_dir).parts
        return "/".join(_hide(part, words) for part in parts)

    for path, other in copies.items():
        reasons[path] = f"shows what {hide(other)} shows", False
    paths = sorted(found.keys() | reasons.keys())
    return [
        Source(
            hide(path),
            found.get(path),
            name,
            path.relative_to(input_dir).parent.as_posix().removeprefix("."),
            *reasons.get(path, ("", False)),
        )
        for path, name in zip(paths, _name_all(paths, words), strict=True)
    ]


def name_frames(source: Source) -> list[tuple[int, str]]:
    """Number and id of each frame; none of a source that is not imported."""
    if source.reason or not source.medium:
        return []
    if not source.medium.is_clip:
        return [(0, source.name)]
    return [(n, f"{source.name}#{n}") for n in source.medium.frame_numbers]


def _name_all(paths: Sequence[Path], words: Collection[str]) -> Iterator[str]:
    """A name for each file, its own but for what names somebody, unlike all others."""
    taken: set[str] = set()
    for path in paths:
        own = _hide(media.name_of(Path(compose(path.name))), words)
        name, number = own, 1
        while name.casefold() in taken:
            number += 1
            name = f"{own}-{number}"
        taken.add(name.casefold())
        yield name


def _list_files(folder: Path) -> Iterator[Path]:
    """Files of frames in order of name; indices of DICOM media are none."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_dir() or any(is_litter(Path(part)) for part in inside.parts):
            continue
        if media.find_kind(path) not in ("", "dicomdir"):
            yield path


def _join_numbered(
    found: dict[Path, Medium], copies: dict[Path, Path]
) -> dict[Path, Medium]:
    """The same with one clip in place of the pictures of a folder, if it is one."""
    joined = dict(found)
    for folder in {p.parent for p, m in found.items() if m.kind == "picture"}:
        paths = list_numbered(folder).values()
        if paths and not copies.keys() & set(paths) and all(p in found for p in paths):
            joined[folder] = media.describe(folder)
            for path in paths:
                del joined[path]
    return joined


def _hide(name: str, words: Collection[str]) -> str:
    """A name, or `HIDDEN` where one of these words is one of its own, or a part of one.

    Only words of `LONG_WORD` letters are looked for as parts: short ones are everywhere.
    """
    text = name.casefold()
    own = {*re.split(r"[\W_]+", text), *re.findall(r"[^\W\d_]+|\d+", text)}
    parts = (word for word in words if len(word) >= LONG_WORD)
    is_private = not own.isdisjoint(words) or any(part in text for part in parts)
    return HIDDEN if is_private else show(name)
