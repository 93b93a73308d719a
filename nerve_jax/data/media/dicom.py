"""DICOM objects off a scanner: ultrasound images, single and multi-frame.

Read by pydicom, frame by frame. What a header says of the picture is taken from it
(DICOM PS3.3, C.8.5.5 for the regions of ultrasound); what it says of people is kept
apart, to be hashed or looked for.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nerve_jax.data.frames import MAX_PIXELS, Grey, in_words
from nerve_jax.data.media.medium import UNKNOWN_SPACING, Box, Medium
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import explain_missing, require

PREAMBLE_BYTES = 128  # before the letters DICM
DIRECTORY = b"1.2.840.10008.1.3.10"  # the class of a DICOMDIR
# Images that a scanner exports: ultrasound, its retired classes, and copies of a screen.
CLASSES = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(3|6|3\.1|6\.1|7|7\.[1-4])")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
    "PALETTE COLOR",
)
NEEDS_ALL = re.compile(  # JPEG-LS, and JPEG lossless or of 12 bits
    r"1\.2\.840\.10008\.1\.2\.4\.(51|57|70|80|81)"
)
TISSUE, COLOUR_FLOW, TWO_DIMENSIONAL, CENTIMETRES = 1, 2, 1, 3
SMALLEST_MM, LARGEST_MM = 0.005, 2.0  # height or width of a pixel of any scanner
NAMING = (  # beside all names of people
    "PatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "AccessionNumber",
    "InstitutionName",
    "InstitutionAddress",
    "StudyID",
    "StationName",
    "DeviceSerialNumber",
)
SHORTEST_WORD = 3


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM; its name says nothing."""
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"


def is_directory(head: bytes) -> bool:
    """Whether it is a DICOMDIR, which lists other files."""
    return is_dicom(head) and DIRECTORY in head


def describe(path: Path) -> Medium:
    """What a header says; no pixel is decoded.

    Raises:
      ValueError: no ultrasound image, without pixels, of a kind or compression that is
        not read, of more pixels or frames than it can hold.
      InputError: a package is missing (see `extras`).
    """
    pydicom = require("pydicom", "dicom", "DICOM files")
    with in_words():
        header = pydicom.dcmread(path, defer_size=1024)
        _check(header, path.stat().st_size)
        scanner = " ".join(
            f"{header.get('Manufacturer', '')} "
            f"{header.get('ManufacturerModelName', '')}".split()
        )
        box, spacing, remarks = _find_region(header)
        return Medium(
            path,
            "dicom",
            _count_frames(header),
            scanner,
            spacing,
            box,
            remarks,
            _name_person(header),
            _list_words(header),
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
      ValueError: damaged, frames of two sizes, or fewer than it should have.
    """
    pydicom = require("pydicom", "dicom", "DICOM files")
    from pydicom.pixels import apply_color_lut, iter_pixels

    count = 0
    with in_words():
        header = pydicom.dcmread(medium.path, defer_size=1024)
        size = header.Rows, header.Columns
        interpretation = header.PhotometricInterpretation
        for values in iter_pixels(medium.path):
            if interpretation == "PALETTE COLOR":
                values = _to_8_bit(apply_color_lut(values, header), 8)
            else:
                values = _to_8_bit(values, header.BitsStored)
            if values.shape[:2] != size:
                raise InputError(f"frames of two sizes: {size} and {values.shape[:2]}")
            yield 255 - values if interpretation == "MONOCHROME1" else values
            count += 1
        if count != medium.num_frames:
            raise InputError(f"it ends after {count} of {medium.num_frames} frames")


def _check(header, num_bytes: int) -> None:
    """Raise `InputError` for what cannot be decoded, before memory is taken for it."""
    if not CLASSES.fullmatch(header.get("SOPClassUID", "")):
        kind = getattr(header.get("SOPClassUID", ""), "name", "") or "no class"
        raise InputError(f"no ultrasound image but {kind}")
    if "PixelData" not in header:
        raise InputError("a DICOM file without pixels")
    height, width = header.get("Rows", 0), header.get("Columns", 0)
    frames, samples = _count_frames(header), header.get("SamplesPerPixel", 1)
    if not (height and width and frames > 0):
        raise InputError(f"{width}x{height} px in {frames} frames")
    if height * width > MAX_PIXELS:
        raise InputError(f"{width}x{height} px are too many")
    syntax = header.file_meta.TransferSyntaxUID
    each = height * width * samples * header.BitsAllocated // 8
    # A compressed frame has at least the 8 bytes of its fragment's head.
    least = frames * (8 if syntax.is_encapsulated else each * 2 // 3)
    if least > num_bytes:
        raise InputError(f"{frames} frames of {width}x{height} px in {num_bytes} bytes")
    if header.get("PixelRepresentation", 0):
        raise InputError("signed values; save it without sign")
    if header.PhotometricInterpretation not in (*GREY, *COLOUR):
        read = ", ".join((*GREY, *COLOUR))
        raise InputError(
            f"its colours are {header.PhotometricInterpretation}; read are {read}"
        )
    _check_syntax(syntax)


def _check_syntax(syntax) -> None:
    from pydicom.pixels import get_decoder

    if not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"compressed as {syntax.name} ({syntax}), which is not read; export it as RLE "
            "or uncompressed"
        ) from error
    if not decoder.is_available:
        extra = "dicom-all" if NEEDS_ALL.fullmatch(syntax) else "dicom"
        raise InputError(explain_missing(extra, f"DICOM files in {syntax.name}"))


def _count_frames(header) -> int:
    return int(header.get("NumberOfFrames") or 1)


def _to_8_bit(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale so that the largest value that so many bits hold becomes 255."""
    if values.dtype == np.uint8 and bits == 8:
        return values
    if values.dtype == np.uint16 and bits == 8 and values.max(initial=0) > 255:
        return (values >> 8).astype(np.uint8)  # a palette of 16 bits
    white = 2**bits - 1
    scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    return np.minimum(scaled, 255).astype(np.uint8)


def _find_region(header) -> tuple[Box | None, tuple[float, float], tuple[str, ...]]:
    """Box, spacing and what is doubtful, by the regions of ultrasound or Pixel Spacing."""
    regions = [r for r in header.get("SequenceOfUltrasoundRegions") or [] if _is_2d(r)]
    if not regions:
        spacing = header.get("PixelSpacing")
        return None, _check_spacing(*map(float, spacing or UNKNOWN_SPACING)), ()
    boxes = [_read_box(region) for region in regions]
    areas = [(b - t) * (r - x) for t, x, b, r in boxes]
    largest = int(np.argmax(areas))
    if areas.count(areas[largest]) > 1:
        raise InputError(
            f"{areas.count(areas[largest])} regions of one size, "
            f"{' and '.join(map(str, boxes))} (top, left, bottom, right): which one is "
            "meant? Export each as a frame of its own"
        )
    top, left, bottom, right = boxes[largest]
    box = (
        max(top, 0),
        max(left, 0),
        min(bottom, header.Rows),
        min(right, header.Columns),
    )
    if box[0] >= box[2] or box[1] >= box[3]:
        return None, UNKNOWN_SPACING, ("its region lies outside the image: not used",)
    region = regions[largest]
    deltas = float(region.PhysicalDeltaY), float(region.PhysicalDeltaX)
    spacing = _check_spacing(*(abs(delta) * 10 for delta in deltas))  # cm to mm
    beyond = max(abs(a - b) for a, b in zip(box, boxes[largest], strict=True))
    if beyond > 1:  # some makers write a maximum that no longer belongs to the region
        return (
            box,
            UNKNOWN_SPACING,
            ("its region lies in part outside the image: spacing not believed",),
        )
    return box, spacing, ()


def _is_2d(region) -> bool:
    units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
    return (
        region.get("RegionSpatialFormat") == TWO_DIMENSIONAL
        and region.get("RegionDataType") in (TISSUE, COLOUR_FLOW)
        and units == (CENTIMETRES, CENTIMETRES)
    )


def _read_box(region) -> Box:
    """Half open; in the header the last row and column belong to a region."""
    return (
        region.RegionLocationMinY0,
        region.RegionLocationMinX0,
        region.RegionLocationMaxY1 + 1,
        region.RegionLocationMaxX1 + 1,
    )


def _check_spacing(y: float, x: float) -> tuple[float, float]:
    likely = SMALLEST_MM <= min(y, x) and max(y, x) <= LARGEST_MM
    return (y, x) if likely else UNKNOWN_SPACING


def _name_person(header) -> str:
    """What distinguishes people: the ID, else name and birth date, else the study."""
    number = str(header.get("PatientID") or "").strip()
    if number:
        return f"{header.get('IssuerOfPatientID') or ''}/{number}"
    name = str(header.get("PatientName") or "").strip("^ ")
    if name:
        return f"{name}/{header.get('PatientBirthDate') or ''}"
    return str(header.get("StudyInstanceUID") or "")


def _list_words(header) -> frozenset[str]:
    """Words of the header that name somebody, in small letters."""
    texts = [str(header.get(tag) or "") for tag in NAMING]
    texts += [str(element.value) for element in header if element.VR == "PN"]
    words = {word for text in texts for word in re.split(r"[\W_]+", text.casefold())}
    return frozenset(word for word in words if len(word) >= SHORTEST_WORD)
