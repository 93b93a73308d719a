"""Whether a DICOM object holds a picture that can be decoded, by its header alone."""

import re

from nerve_jax.data.frames import MAX_PIXELS
from nerve_jax.data.media.header import get
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import explain_missing

# Images that a scanner exports: ultrasound, its retired classes, and copies of a screen.
CLASSES = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(3|6|3\.1|6\.1|7|7\.[1-4])")
SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
NUMBERS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)
BIG_ENDIAN, JPEG_EXTENDED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.51"
EXTRAS = {  # the extra that reads each transfer syntax
    "1.2.840.10008.1.2": "dicom",  # implicit VR, little endian
    "1.2.840.10008.1.2.1": "dicom",
    BIG_ENDIAN: "dicom",
    "1.2.840.10008.1.2.5": "dicom",  # RLE
    "1.2.840.10008.1.2.4.50": "dicom",  # JPEG baseline
    JPEG_EXTENDED: "dicom",
    "1.2.840.10008.1.2.4.90": "dicom",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "dicom",
    "1.2.840.10008.1.2.4.57": "dicom-all",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "dicom-all",
    "1.2.840.10008.1.2.4.80": "dicom-all",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "dicom-all",
}
FRAGMENT_BYTES = 8  # of the head of each, of which a frame has one at least


def check_kind(header) -> None:
    """Raise `InputError` for an object of a kind that is not read."""
    if not CLASSES.fullmatch(str(get(header, "SOPClassUID") or "")):
        kind = get(header, "SOPClassUID")
        raise InputError(f"no ultrasound image but {kind.name if kind else 'no class'}")
    for keyword in NUMBERS:
        if not isinstance(get(header, keyword), int):
            raise InputError(f"its header has no {keyword}; export it again")
    colours, samples = get(header, "PhotometricInterpretation"), header.SamplesPerPixel
    if colours not in SAMPLES:
        named = f"are {colours}" if colours else "are not named"
        raise InputError(f"its colours {named}; read are {', '.join(SAMPLES)}")
    if samples != SAMPLES[colours]:
        raise InputError(f"{colours} in {samples} values for a pixel")
    bits, used = header.BitsAllocated, header.BitsStored
    if bits not in (8, 16) or not 0 < used <= bits:
        raise InputError(f"{used} of {bits} bits for a value; save it in 8 or 16")
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == JPEG_EXTENDED and used != 8:  # of 12 bits
        raise InputError(_explain_unread(syntax))
    if header.PixelRepresentation:
        raise InputError("signed values; save it without sign")
    if samples > 1 and get(header, "PlanarConfiguration") not in (0, 1):
        raise InputError("its header has no PlanarConfiguration; export it again")


def check_length(header, num_bytes: int | None) -> None:
    """Raise `InputError` for more pixels than there can be, before memory is taken."""
    from pydicom.pixels.utils import get_expected_length

    if num_bytes is None:
        raise InputError("a DICOM file without pixels")
    height, width, frames = header.Rows, header.Columns, count_frames(header)
    what = f"{frames} frames of {width}x{height} px"
    if not (height and width and frames > 0):
        raise InputError(what)
    if height * width > MAX_PIXELS:
        raise InputError(f"{width}x{height} px are too many")
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        least = frames * FRAGMENT_BYTES
    else:
        least = get_expected_length(header)
    if least > num_bytes:
        raise InputError(f"{what}, but {num_bytes} bytes of pixels; copy it again")


def check_syntax(meta) -> None:
    """Raise `InputError` for a transfer syntax that is not read, or not without an extra.

    Args:
      meta: the first part of a file. Objects that are deflated as a whole are not read,
        for they have any size; no scanner writes them.
    """
    from pydicom.pixels import get_decoder

    syntax = get(meta, "TransferSyntaxUID")
    if syntax is None:
        raise InputError("it does not say how it is stored (Transfer Syntax UID)")
    if syntax not in EXTRAS:
        raise InputError(_explain_unread(syntax))
    if syntax.is_encapsulated and not get_decoder(syntax).is_available:
        raise InputError(
            explain_missing(EXTRAS[syntax], f"DICOM files in {syntax.name}")
        )


def _explain_unread(syntax) -> str:
    return (
        f"stored as {syntax.name} ({syntax}), which is not read; export it as RLE or "
        "uncompressed"
    )


def count_frames(header) -> int:
    count = get(header, "NumberOfFrames")
    return 1 if count is None else int(count)
