"""DICOM objects off a scanner: ultrasound images, single and multi-frame.

Read by pydicom, frame by frame. `header` says what is taken from an object beside its
pixels.
"""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nerve_jax.data.frames import Grey, in_words
from nerve_jax.data.media.header import (
    find_region,
    list_words,
    name_person,
    name_scanner,
)
from nerve_jax.data.media.medium import Medium
from nerve_jax.data.media.readable import (
    BIG_ENDIAN,
    check_kind,
    check_length,
    choose_decoder,
    count_frames,
)
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import require

PREAMBLE_BYTES = 128  # before the letters DICM
CLASS_TAG = b"\x02\0\x02\0UI"  # of the file, in its first part
DIRECTORY = b"1.2.840.10008.1.3.10"  # the class of a DICOMDIR
PIXELS = 0x7FE00010  # their tag
DEFERRED_BYTES = 2**20  # from which an element is only read if it is asked for


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM; its name says nothing."""
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"


def is_directory(head: bytes) -> bool:
    """Whether it is a DICOMDIR, which lists other files."""
    start = head.find(CLASS_TAG) + len(CLASS_TAG) + 2  # behind its length
    return is_dicom(head) and CLASS_TAG in head and head.startswith(DIRECTORY, start)


def describe(path: Path) -> Medium:
    """What a header says; no pixel is read.

    Raises:
      ValueError: no ultrasound image, without pixels, of a kind or compression that is
        not read, of more pixels or frames than it can hold.
      InputError: a package is missing (see `extras`).
    """
    pydicom = _load_pydicom()
    with in_words():
        header, num_bytes = _read_header(pydicom, path)
        check_kind(header)
        check_length(header, num_bytes)
        region = find_region(header, (header.Rows, header.Columns))
        return Medium(
            path,
            "dicom",
            count_frames(header),
            name_scanner(header),
            region.spacing_mm,
            region.box,
            region.remarks,
            name_person(header),
            list_words(header),
        )


def read_grey(medium: Medium) -> Iterator[Grey]:
    """Decode the luminance (ITU-R BT.601) of frame after frame; see `_decode`."""
    for values in _decode(medium):
        if values.ndim == 3:
            values = np.asarray(Image.fromarray(values).convert("L"))
        yield Grey(values, 0)


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the colours of frame after frame; see `_decode`."""
    for values in _decode(medium):
        yield np.repeat(values[..., None], 3, -1) if values.ndim == 2 else values


def _decode(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width ..."]]:
    """Decode frame by frame: [height, width] of grey, or [height, width, 3] in RGB.

    Raises:
      ValueError: damaged, a frame of another size than the header says, or not as many
        as it says.
    """
    pydicom = _load_pydicom()
    count = 0
    with in_words():
        header, _ = _read_header(pydicom, medium.path)
        shown = _find_shown(header)
        for values in _iterate(header, medium.path):
            count += 1
            if count > medium.num_frames:
                raise InputError(
                    f"it has more than the {medium.num_frames} frames that "
                    "its header counts"
                )
            yield shown[values]
        if count < medium.num_frames:
            raise InputError(f"it ends after {count} of {medium.num_frames} frames")


def _iterate(header, path: Path) -> Iterator[np.ndarray]:
    """Frames as they are stored, but for YBR, which becomes RGB."""
    frames, count = _open_pixels(header, path), 0
    size = header.Rows, header.Columns
    while True:
        try:
            values = next(frames, None)
        except Exception as error:  # each decoder raises its own
            raise InputError(
                f"frame {count} cannot be decoded: damaged, or not of the "
                f"{size[1]}x{size[0]} px that the header says"
            ) from error
        if values is None:
            return
        if values.shape[:2] != size:
            raise InputError(f"frames of two sizes: {size} and {values.shape[:2]}")
        yield values
        count += 1


def _open_pixels(header, path: Path) -> Iterator[np.ndarray]:
    from pydicom.pixels import iter_pixels, pixel_array

    decoder = choose_decoder(header.file_meta)
    halved = header.PhotometricInterpretation == "YBR_FULL_422"
    if halved and not decoder:  # pydicom 3.0 mistakes the size of all but the first
        numbers = range(count_frames(header))
        return (pixel_array(path, index=number) for number in numbers)
    return iter_pixels(path, decoding_plugin=decoder)


def _load_pydicom() -> ModuleType:
    """Import pydicom; what it finds odd in a file is not printed but raised in words."""
    pydicom = require("pydicom", "dicom", "DICOM files")
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    return pydicom


def _read_header(pydicom: ModuleType, path: Path):
    """All before the pixels, and how many bytes of these there are; None without any.

    Raises:
      ValueError: no DICOM file, or stored as is not read.
    """
    ends: list[int] = []
    num_bytes = path.stat().st_size
    with path.open("rb") as file:

        def is_pixels(tag, _, length) -> bool:
            if tag == PIXELS:  # of compressed ones the length is not given
                ends.append(min(num_bytes - file.tell(), length))
            return tag == PIXELS

        try:
            choose_decoder(pydicom.filereader.read_file_meta_info(path))
            header = pydicom.filereader.read_partial(file, is_pixels, DEFERRED_BYTES)
        except pydicom.errors.InvalidDicomError as error:
            raise InputError("no DICOM file by its content, or damaged") from error
    return header, ends[0] if ends else None


def _find_shown(header) -> UInt8[np.ndarray, "values ..."]:
    """What a screen shows of each value that may be stored: grey, or [values, 3] of RGB.

    Grey is scaled so that the largest value that the used bits hold becomes 255.
    """
    bits = header.BitsAllocated
    values = np.arange(2**bits, dtype=f"u{bits // 8}")
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return _read_palette(header, values)
    white = 2**header.BitsStored - 1
    scaled = (np.minimum(values, white).astype(np.uint32) * 255 + white // 2) // white
    grey = scaled.astype(np.uint8)
    return 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def _read_palette(header, values: np.ndarray) -> UInt8[np.ndarray, "values 3"]:
    from pydicom.pixels import apply_color_lut

    if header.file_meta.TransferSyntaxUID == BIG_ENDIAN:
        for colour in ("Red", "Green", "Blue"):  # pydicom leaves words as they lie
            element = header[f"{colour}PaletteColorLookupTableData"]
            element.value = np.frombuffer(element.value, "u2").byteswap().tobytes()
    palette = apply_color_lut(values, header)[:, :3]
    # Some makers write 8 bits into the lower half of 16.
    return (palette >> 8 * (palette.max() > 255)).astype(np.uint8)
