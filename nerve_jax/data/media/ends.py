"""Where files of clips should end, by the sizes that they state of their own parts.

Decoders take a file that was cut off for a shorter clip. What a file states of itself
tells the two apart, unless it was written as an endless stream.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nerve_jax.system.errors import InputError

BOXES = frozenset(  # of which an mp4 or mov file consists
    b"ftyp moov mdat free skip wide uuid moof mfra sidx ssix styp meta pdin prft".split()
)
SEGMENT = 0x18538067  # of Matroska: all after the head of a file
EXTENSION, PICTURE, TRAILER = b"!,;"  # first bytes of the blocks of a GIF


def check_end(path: Path, name: str) -> None:
    """Check that a file is as long as it states.

    Args:
      path: of a clip.
      name: of its format: "mov", "avi", "matroska" or "gif".

    Raises:
      InputError: it is shorter. A longer one is not, for some programs append to files.
    """
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        for end in LISTERS[name](file):
            if end > num_bytes:
                raise InputError(
                    f"it ends after {num_bytes} of {end} bytes; copy it again"
                )


def _list_boxes(file: BinaryIO) -> Iterator[int]:
    """Ends of the boxes of an mp4 or mov file (ISO/IEC 14496-12, 4.2)."""
    start = 0
    while len(head := _read_at(file, start, 16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # the size follows in 64 bits
            size = int.from_bytes(head[8:], "big")
        if size < 8 or head[4:8] not in BOXES:
            return  # reaches to the end of the file, or was appended to it
        start += size
        yield start


def _list_chunks(file: BinaryIO) -> Iterator[int]:
    """Ends of the RIFF chunks of an avi file, of which a large one has several."""
    start = 0
    while (head := _read_at(file, start, 8))[:4] == b"RIFF" and len(head) == 8:
        size = int.from_bytes(head[4:], "little")
        if not size:
            return  # a recorder that was switched off leaves zero
        start += 8 + size
        yield start
        start += size % 2


def _list_segments(file: BinaryIO) -> Iterator[int]:
    """The end of the segment of a Matroska file (RFC 8794), unless it is endless."""
    start = 0
    while len(head := _read_at(file, start, 12)) >= 5:
        length = 9 - head[4].bit_length()  # of the size, whose leading bits tell it
        size = int.from_bytes(head[4 : 4 + length], "big") - (1 << 7 * length)
        if length > 8 or size == (1 << 7 * length) - 1:
            return
        start += 4 + length + size
        yield start
        if int.from_bytes(head[:4], "big") == SEGMENT:
            return


def _list_blocks(file: BinaryIO) -> Iterator[int]:
    """The end of a GIF (GIF89a, sections 17 to 27), at or behind its last byte."""
    start = 13 + _measure_palette(_read_at(file, 10, 1))
    while head := _read_at(file, start, 10):
        if head[0] == TRAILER:
            return
        if head[0] == EXTENSION:
            start += 2
        elif head[0] == PICTURE:
            start += 11 + _measure_palette(head[9:])
        else:
            return  # is read as far as it goes
        while size := _read_at(file, start, 1):  # of the next piece of data
            start += 1 + size[0]
            if not size[0]:
                break
    yield start + 1


def _measure_palette(flags: bytes) -> int:
    """Bytes of the palette that the flags of a GIF or of a picture in it announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _read_at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


LISTERS = {
    "mov": _list_boxes,
    "avi": _list_chunks,
    "matroska": _list_segments,
    "gif": _list_blocks,
}
