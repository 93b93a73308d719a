"""All files of a data set, read before any record is written.

`check_frames` decodes every frame and mask and gathers all that is wrong before it
raises, so that a user mends a folder once. It also finds what no file says alone: how
many bits the whole set uses, and whether all masks mark the nerve alike. `fingerprint`
digests the same files, so that records are prepared again when one of them changes.
"""

import concurrent.futures
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from nerve_jax.data.frames import (
    DECODER_VERSION,
    describe_bits,
    find_bits,
    open_file,
)
from nerve_jax.data.listing import count_of
from nerve_jax.data.ultrasound_nerve.reading import part_by_file, read_frames
from nerve_jax.data.ultrasound_nerve.sources import (
    UNREADABLE,
    SourceFile,
    SourceFrame,
    Splits,
)
from nerve_jax.system.errors import InputError, raise_if_any

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
    wrong = [*problems, *wrong, *_compare_marks(found)]
    raise_if_any(wrong, "frames cannot be used", "Nothing was written.")
    brightest = max((f.brightest for f in found), default=0)
    bits = find_bits(brightest)
    remarks = describe_bits(brightest, bits)
    if num_cut := sum(f.is_cut for f in found):
        counted = count_of(num_cut, "mask")
        remarks.append(f"cut at half, for values near 0 and 255: {counted}")
    return Checked(bits, remarks)


class Look(NamedTuple):
    """What `check_frames` keeps of a frame.

    Attributes:
      problem: "" without one.
      brightest: see `Grey`.
      mask: name of the mask's file.
      nerve, is_cut: see `Label`.
    """

    problem: str = ""
    brightest: int = 0
    mask: str = ""
    nerve: str = ""
    is_cut: bool = False


def _look_at(of_file: list[SourceFrame]) -> list[Look]:
    """Decode the frames of one file, up to the first that has a problem."""
    found = []
    try:
        for frame, (grey, label, _) in read_frames(of_file):
            look = Look(brightest=grey.brightest)
            if label is not None:
                look = look._replace(
                    mask=str(frame.mask), nerve=label.nerve, is_cut=label.is_cut
                )
            found.append(look)
    except InputError as error:
        found.append(Look(problem=str(error)))
    return found


def _compare_marks(found: Sequence[Look]) -> list[str]:
    """Problems of a set in which one colour marks the nerve here, another there."""
    counts = Counter(f.nerve for f in found if f.nerve)
    if len(counts) < 2 or all(nerve.isdigit() for nerve in counts):
        return []
    first = {f.nerve: f.mask for f in reversed(found)}
    shown = "; ".join(
        f"{nerve} in {count} masks, as {first[nerve]}"
        for nerve, count in counts.most_common(5)
    )
    return [
        f"masks mark different things: {shown}. Save the nerve's alone, as 255 on 0"
    ]


def fingerprint(splits: Splits) -> str:
    """Digest content of all files and what is known of each frame, 12 hex digits."""
    frames = [(split, f) for split, listed in sorted(splits.items()) for f in listed]
    files = {file for _, f in frames for file in (f.image, f.mask)}
    with concurrent.futures.ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        digest_of = dict(zip(files, pool.map(compute_file_digest, files), strict=True))
    total = hashlib.blake2b(b"%d" % DECODER_VERSION, digest_size=6)
    for split, f in sorted(frames, key=lambda row: (row[0], row[1].frame)):
        known = (split, f.frame, f.subject, f.spacing_mm, f.runs)
        if f.scanner or f.clip:  # else the digest is that of records without them
            known += (f.scanner, f.clip)
        total.update(repr(known).encode())
        total.update(digest_of[f.image] + digest_of[f.mask])
    return total.hexdigest()


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
