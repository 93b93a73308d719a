"""All files of a data set, read before any record is written.

`check_frames` decodes every frame and mask and gathers all that is wrong before it
raises, so that a user mends a folder once. It also finds what no file says alone: how
many bits the whole set uses, and whether all masks mark a structure alike. `fingerprint`
digests the same files, so that records are prepared again when one of them changes.
"""

import concurrent.futures
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nerve_jax.data.frames import (
    DECODER_VERSION,
    describe_bits,
    find_bits,
    open_file,
)
from nerve_jax.data.labels import Label
from nerve_jax.data.listing import count_of, list_some
from nerve_jax.data.mask_values import FULL, Colour, show_value
from nerve_jax.data.structures import NERVE, READER
from nerve_jax.data.ultrasound_nerve.reading import part_by_file, read_frames
from nerve_jax.data.ultrasound_nerve.sources import (
    UNREADABLE,
    MaskFile,
    SourceFile,
    SourceFrame,
    Splits,
)
from nerve_jax.system.errors import InputError, raise_if_any

ALIKE = 16  # grey values that differ by less are one mark, e.g. after compression
FILES_LISTED = 20  # of masks that differ
FILES_AT_A_TIME = 4  # bounds the memory that many large ones take


class Checked(NamedTuple):
    """What all frames of a data set have in common.

    Attributes:
      bits: how many 16-bit frames use: see `find_bits`.
      remarks: what a user should know at every load.
    """

    bits: int
    remarks: list[str]


def check_frames(splits: Splits, problems: Sequence[str] = ()) -> Checked:
    """Decode every frame and mask.

    Args:
      splits: the frames.
      problems: what was already found wrong with their names.

    Raises:
      InputError: one, that names everything that is wrong.
    """
    files = [f for split in splits.values() for f in part_by_file(split)]
    with concurrent.futures.ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        found = [look for looks in pool.map(_look_at, files) for look in looks]
    wrong = [f.problem for f in found if f.problem]
    seen = [mask for look in found for mask in look.masks]
    wrong = [*problems, *wrong, *_compare_marks(seen)]
    raise_if_any(wrong, "frames cannot be used", "Nothing was written.")
    brightest = max((f.brightest for f in found), default=0)
    bits = find_bits(brightest)
    remarks = describe_bits(brightest, bits)
    if num_cut := sum(mask.is_cut for mask in seen):
        counted = count_of(num_cut, "mask")
        remarks.append(f"cut at half, for values near 0 and one other: {counted}")
    if partial := sum(mask.is_partial for mask in seen):
        counted = count_of(partial, "mask")
        remarks.append(
            f"show structures that structures_labelled leaves out: {counted}"
        )
    remarks += _find_never_shown(splits, seen)
    return Checked(bits, remarks)


class SeenMask(NamedTuple):
    """What `check_frames` keeps of a file of masks.

    Attributes:
      file: its path, as it is shown.
      group: the reader and the names of the structures that it may show.
      shown: the structures that it shows.
      is_partial: whether one of these is not among those that were looked for.
      mark, is_cut: see `Label`.
    """

    file: str
    group: tuple[str, ...]
    shown: list[str]
    is_partial: bool
    mark: int | Colour | None
    is_cut: bool


class Look(NamedTuple):
    """What `check_frames` keeps of a frame.

    Attributes:
      problem: "" without one.
      brightest: see `Grey`.
      masks: of each of its files of masks.
    """

    problem: str = ""
    brightest: int = 0
    masks: Sequence[SeenMask] = ()


def _look_at(of_file: list[SourceFrame]) -> list[Look]:
    """Decode the frames of one file, up to the first that has a problem."""
    found = []
    try:
        for frame, (grey, labels, _) in read_frames(of_file):
            pairs = zip(frame.masks, labels, strict=True)
            masks = [_describe(frame, mask, label) for mask, label in pairs]
            found.append(Look("", grey.brightest, masks))
    except InputError as error:
        found.append(Look(problem=str(error)))
    return found


def _describe(frame: SourceFrame, mask: MaskFile, label: Label) -> SeenMask:
    shown = [name for name, where in label.masks.items() if where.any()]
    return SeenMask(
        str(mask.file),
        (mask.reader, *mask.values),
        shown,
        not set(shown) <= set(frame.structures),
        label.mark,
        label.is_cut,
    )


def _compare_marks(seen: Sequence[SeenMask]) -> list[str]:
    """Problems of a set in which one structure is marked one way here, another there.

    Returns:
      A problem for each reader and structure, which lists files of each mark.
    """
    files: dict[tuple[str, ...], dict[int | Colour, list[str]]] = defaultdict(dict)
    for mask in seen:
        if mask.mark is not None:
            files[mask.group].setdefault(mask.mark, []).append(mask.file)
    return [
        f"masks mark different things: {_list_marks(of_mark)}. Save one structure's alone, "
        "as 255 on 0, or name what each value means in structures.csv (value,name)"
        for of_mark in files.values()
        if not _are_alike(list(of_mark))
    ]


def _are_alike(marks: Sequence[int | Colour]) -> bool:
    """Whether marks can all mean one thing: values of FULL are one value."""
    if len({isinstance(mark, tuple) for mark in marks}) > 1:
        return False
    values = np.array([255 if mark in FULL else mark for mark in marks])
    return bool((np.ptp(values, axis=0) < ALIKE).all())


def _list_marks(of_mark: Mapping[int | Colour, Sequence[str]]) -> str:
    """Each mark, in how many masks, and some of these: of few marks more."""
    shown = max(1, FILES_LISTED // len(of_mark))
    ordered = sorted(of_mark.items(), key=lambda item: -len(item[1]))
    counted = [
        f"{show_value(mark)} in {count_of(len(files), 'mask')} ({list_some(files, shown)})"
        for mark, files in ordered
    ]
    return "; ".join(counted[:FILES_LISTED]) + "; …" * (len(counted) > FILES_LISTED)


def _find_never_shown(splits: Splits, seen: Sequence[SeenMask]) -> Iterator[str]:
    """A line for each value that has a name and that no label map has."""
    shown = {name for mask in seen for name in mask.shown}
    masks = [m for split in splits.values() for f in split for m in f.masks]
    named = {n: v for m in masks for n, v in m.values.items() if v is not None}
    for name, value in named.items():
        if name not in shown:
            yield f"no mask shows {name}, {show_value(value)} in structures.csv"


def fingerprint(splits: Splits) -> str:
    """Digest content of all files and what is known of each frame, 12 hex digits."""
    frames = [(split, f) for split, listed in sorted(splits.items()) for f in listed]
    files = {file for _, f in frames for file in _list_files(f)}
    with concurrent.futures.ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        digest_of = dict(zip(files, pool.map(compute_file_digest, files), strict=True))
    total = hashlib.blake2b(b"%d" % DECODER_VERSION, digest_size=6)
    for split, f in sorted(frames, key=lambda row: (row[0], row[1].frame)):
        total.update(repr((split, *_list_known(f))).encode())
        total.update(b"".join(digest_of[file] for file in _list_files(f)))
    return total.hexdigest()


def _list_files(frame: SourceFrame) -> list[SourceFile | None]:
    """The image and the files of masks; None in place of these where there are none."""
    return [frame.image, *([m.file for m in frame.masks] or [None])]


def _list_known(f: SourceFrame) -> tuple:
    """What is known of a frame beside its files.

    What is not known is not among it, so that records made before it could be known keep
    their digest.
    """
    known: tuple = (f.frame, f.subject, f.spacing_mm, f.runs)
    if f.scanner or f.clip:
        known += (f.scanner, f.clip)
    of_masks = [(m.reader, *m.values.items()) for m in f.masks]
    if of_masks not in ([], [(READER, (NERVE, None))]):
        known += (of_masks,)
    if f.structures_labelled:
        known += (f.structures_labelled,)
    return known


def compute_file_digest(file: SourceFile | None) -> bytes:
    """Hash a file's content; a file that cannot be read is found by `check_frames`."""
    if file is None:
        return b"-"
    try:
        if file.member:
            return hashlib.blake2b(file.read(), digest_size=16).digest()
        with open_file(file.path) as stream:  # a clip may be larger than memory
            return hashlib.file_digest(stream, _hash_file).digest()
    except UNREADABLE:
        return b"?"


def _hash_file():
    return hashlib.blake2b(digest_size=16)
