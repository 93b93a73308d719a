"""What the header of a DICOM object says of the picture, of the scanner and of people.

Regions of ultrasound: DICOM PS3.3, C.8.5.5. What a header says of people is kept apart,
to be hashed or looked for. A value that cannot be read counts as missing.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from numbers import Real
from typing import NamedTuple

from nerve_jax.data.media.medium import (
    LARGEST_MM,
    SMALLEST_MM,
    UNKNOWN_SPACING,
    Box,
)
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

TISSUE, COLOUR_FLOW, TWO_DIMENSIONAL, CENTIMETRES = 1, 2, 1, 3
SIDES = ("MinY0", "MinX0", "MaxY1", "MaxX1")
NAMING = {  # beside all names of people
    "PatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientAddress",
    "AccessionNumber",
    "InstitutionName",
    "InstitutionAddress",
    "StudyID",
    "StationName",
    "DeviceSerialNumber",
}
SHORTEST_NAME, SHORTEST_WORD = 2, 3  # "Li" is a name, "01" may be any number


class Region(NamedTuple):
    """Where a picture shows tissue; see `Medium` for the attributes."""

    box: Box | None
    spacing_mm: tuple[float, float]
    remarks: tuple[str, ...] = ()


def get(dataset, keyword: str):
    """A value of a header; None where it is missing, empty or cannot be read."""
    with contextlib.suppress(Exception):  # whatever a converter of pydicom raises
        value = dataset.get(keyword)
        return None if value == "" else value
    return None


def find_region(header, size: tuple[int, int]) -> Region:
    """The largest region of two-dimensional tissue or colour flow, else Pixel Spacing.

    Args:
      header: of the object.
      size: height and width of its frames, to which a region is clipped.

    Raises:
      InputError: two regions are the largest.
    """
    regions = list(dict.fromkeys(_list_regions(header)))
    if not regions:
        spacing = get(header, "PixelSpacing")
        pair = list(spacing) if isinstance(spacing, Sequence) else [spacing]
        return _judge_spacing(None, pair, 1)
    clipped = [(_clip(box, size), box, deltas) for box, deltas in regions]
    areas = [(b - t) * (r - x) for (t, x, b, r), _, _ in clipped]
    largest = max(areas)
    if not largest:
        return Region(
            None, UNKNOWN_SPACING, ("its region lies outside the image: not used",)
        )
    if areas.count(largest) > 1:
        boxes = [box for box, *_ in clipped]
        raise InputError(
            f"{areas.count(largest)} regions of one size, "
            f"{' and '.join(map(str, boxes))} (top, left, bottom, right): which one is "
            "meant? Export each as a frame of its own"
        )
    box, whole, deltas = clipped[areas.index(largest)]
    # Some makers write the maximum as one that no longer belongs to the region.
    if max(abs(a - b) for a, b in zip(box, whole, strict=True)) > 1:
        remark = "its region lies in part outside the image: spacing not believed"
        return Region(box, UNKNOWN_SPACING, (remark,))
    return _judge_spacing(box, deltas, 10)


def _list_regions(header) -> Iterator[tuple[Box, tuple]]:
    """Half open box, and deltas in cm, of each region that shows tissue."""
    for item in get(header, "SequenceOfUltrasoundRegions") or ():
        kind = get(item, "RegionSpatialFormat"), get(item, "RegionDataType")
        units = [get(item, f"PhysicalUnits{axis}Direction") for axis in "YX"]
        sides = [get(item, f"RegionLocation{side}") for side in SIDES]
        if (
            kind in ((TWO_DIMENSIONAL, TISSUE), (TWO_DIMENSIONAL, COLOUR_FLOW))
            and units == [CENTIMETRES, CENTIMETRES]
            and all(isinstance(side, int) for side in sides)
            and sides[0] <= sides[2]
            and sides[1] <= sides[3]
        ):
            top, left, bottom, right = sides
            deltas = get(item, "PhysicalDeltaY"), get(item, "PhysicalDeltaX")
            yield (top, left, bottom + 1, right + 1), deltas


def _clip(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in the image; of no area where none does."""
    (top, left, bottom, right), (height, width) = box, size
    return min(top, height), min(left, width), min(bottom, height), min(right, width)


def _judge_spacing(box: Box | None, pair: Sequence, factor: int) -> Region:
    """A region of this spacing times `factor` in mm, if it can be a pixel's.

    A delta may be negative, where an axis points up or to the left.
    """
    if all(value is None for value in pair):
        return Region(box, UNKNOWN_SPACING)
    if len(pair) == 2 and all(isinstance(value, Real) for value in pair):
        y, x = (abs(float(value)) * factor for value in pair)
        if all(SMALLEST_MM <= value <= LARGEST_MM for value in (y, x)):
            return Region(box, (y, x))
    return Region(
        box, UNKNOWN_SPACING, ("its spacing is none of a pixel: not believed",)
    )


def name_scanner(header) -> str:
    """Maker and model on one line, blanks as one; "" where neither is given."""
    names = [
        str(get(header, k) or "") for k in ("Manufacturer", "ManufacturerModelName")
    ]
    return show(" ".join(" ".join(names).split()))


def name_person(header) -> str:
    """What distinguishes people: the ID, else name and birth date, else the study."""
    if number := str(get(header, "PatientID") or "").strip():
        return f"{get(header, 'IssuerOfPatientID') or ''}/{number}"
    if name := str(get(header, "PatientName") or "").strip("^= "):
        return f"{name}/{get(header, 'PatientBirthDate') or ''}"
    return str(get(header, "StudyInstanceUID") or "")


def list_words(header) -> frozenset[str]:
    """Words of the header, in whatever depth, that name somebody; in small letters."""
    return frozenset(_iterate_words(header))


def _iterate_words(dataset) -> Iterator[str]:
    """Only elements that name people are looked at, for others may be large."""
    from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR

    for tag in filter(dictionary_has_tag, list(dataset.keys())):
        keyword, kind = dictionary_keyword(tag), dictionary_VR(tag)
        if kind == "SQ":
            for item in get(dataset, keyword) or ():
                yield from _iterate_words(item)
        elif kind == "PN" or keyword in NAMING:
            shortest = SHORTEST_NAME if kind == "PN" else SHORTEST_WORD
            text = str(get(dataset, keyword) or "").casefold()
            yield from (w for w in re.split(r"[\W_]+", text) if len(w) >= shortest)
