"""Whether a DICOM object holds a picture that can be decoded, by its header alone."""

import re

from nerve_jax.data.frames import MAX_PIXELS
from nerve_jax.data.media.header import get
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import MissingExtraError
from nerve_jax.system.files import show

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
NATIVE, PILLOW = ("dicom", ()), ("dicom", ("pillow",))
JPEG_LS, JPEG_LOSSLESS = ("dicom-all", ("gdcm", "pyjpegls")), ("dicom-all", ("gdcm",))
# For each transfer syntax its extra and the first of these decoders that is installed,
# so that two machines seldom decode by different ones.
DECODERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "1.2.840.10008.1.2": NATIVE,  # implicit VR, little endian
    "1.2.840.10008.1.2.1": NATIVE,
    BIG_ENDIAN: NATIVE,
    "1.2.840.10008.1.2.5": ("dicom", ("pydicom",)),  # RLE
    "1.2.840.10008.1.2.4.50": PILLOW,  # JPEG baseline
    JPEG_EXTENDED: PILLOW,
    "1.2.840.10008.1.2.4.90": PILLOW,  # JPEG 2000
    "1.2.840.10008.1.2.4.91": PILLOW,
    "1.2.840.10008.1.2.4.57": JPEG_LOSSLESS,
    "1.2.840.10008.1.2.4.70": JPEG_LOSSLESS,
    "1.2.840.10008.1.2.4.80": JPEG_LS,
    "1.2.840.10008.1.2.4.81": JPEG_LS,
}
FRAGMENT_BYTES = 8  # of the head of each, of which a frame has one at least


def check_kind(header) -> None:
    """Raise `InputError` for an object of a kind that is not read."""
    if not CLASSES.fullmatch(str(get(header, "SOPClassUID") or "")):
        kind = get(header, "SOPClassUID")
        name = show(kind.name) if kind else "no class"
        raise InputError(f"no ultrasound image but {name}")
    for keyword in NUMBERS:
        if not isinstance(get(header, keyword), int):
            raise InputError(f"its header has no {keyword}; export it again")
    colours, samples = get(header, "PhotometricInterpretation"), header.SamplesPerPixel
    if colours not in SAMPLES:
        named = f"are {show(str(colours))}" if colours else "are not named"
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


def choose_decoder(meta) -> str:
    """The name of the decoder of a transfer syntax in pydicom; "" for uncompressed ones.

    Args:
      meta: the first part of a file. Objects that are deflated as a whole are not read,
        for they may be of any size; no scanner writes them.

    Raises:
      InputError: the syntax is not read, or not without an extra.
    """
    from pydicom.pixels import get_decoder

    syntax = get(meta, "TransferSyntaxUID")
    if syntax is None:
        raise InputError("it does not say how it is stored (Transfer Syntax UID)")
    if syntax not in DECODERS:
        raise InputError(_explain_unread(syntax))
    extra, plugins = DECODERS[syntax]
    if not plugins:
        return ""
    installed = get_decoder(syntax).available_plugins
    if found := [plugin for plugin in plugins if plugin in installed]:
        return found[0]
    raise MissingExtraError(extra, f"DICOM files in {syntax.name}")


def _explain_unread(syntax) -> str:
    name = show(f"{syntax.name} ({syntax})")
    return f"stored as {name}, which is not read; export it as RLE or uncompressed"


def count_frames(header) -> int:
    count = get(header, "NumberOfFrames")
    return 1 if count is None else int(count)
