"""DICOM objects made up, in every way that a scanner may store them."""

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

ULTRASOUND, MULTI_FRAME = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("6.1", "3.1"))
SIZE = (40, 56)


def speckle(count=1, channels=(), seed=0):
    """Smooth uint8 frames [count, 40, 56, *channels] that differ from each other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (count, 5, 7, *channels))
    return coarse.repeat(8, 1).repeat(8, 2).astype(np.uint8)


def region(left, top, right, bottom, delta=0.01, **more):
    """A region of tissue; the last column and row belong to it, `delta` is in cm."""
    item = Dataset()
    item.RegionSpatialFormat = item.RegionDataType = 1
    item.RegionFlags = 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = delta
    return change(item, more)


def change(dataset, more):
    """Set elements by keyword; None takes one away."""
    for keyword, value in more.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def palette(entries, bits):
    """Elements of a palette [256, 3], with entries of 8 or 16 bits."""
    more = {}
    for colour, values in zip(("Red", "Green", "Blue"), entries.T, strict=True):
        more[f"{colour}PaletteColorLookupTableDescriptor"] = [len(values), 0, bits]
        content = values.astype(f"u{bits // 8}").tobytes()
        more[f"{colour}PaletteColorLookupTableData"] = content
    return more


def write_dicom(
    path, frames, colours="MONOCHROME2", syntax=ExplicitVRLittleEndian, bits=8, **more
):
    """Write frames [count, height, width(, 3)] as they are to be stored, and a header.

    `more` sets elements of the header by keyword, or takes them away by None.
    """
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = MULTI_FRAME if len(frames) > 1 else ULTRASOUND
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.PatientName, header.PatientID = "Doelle^Janina", "MRN-4711"
    header.NumberOfFrames, header.Rows, header.Columns = frames.shape[:3]
    header.PhotometricInterpretation, header.PixelRepresentation = colours, 0
    header.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    if frames.ndim == 4:
        header.PlanarConfiguration = 0
    header.BitsAllocated = 8 * frames.dtype.itemsize
    header.BitsStored, header.HighBit = bits, bits - 1
    store(header, frames, syntax)
    change(header, more)
    header.save_as(path, enforce_file_format=True)
    return path


def store(header, frames, syntax):
    """Put frames into a header, in a transfer syntax."""
    header.PixelData = frames.tobytes() + b"\0" * (frames.size % 2)
    if syntax in (RLELossless, JPEGLSLossless):
        whole = frames if len(frames) > 1 else frames[0]
        header.compress(syntax, whole, generate_instance_uid=False)
    elif syntax in (JPEGBaseline8Bit, JPEG2000Lossless):
        header.PixelData = encapsulate([encode(frame, syntax) for frame in frames])
        header["PixelData"].is_undefined_length = True
    elif syntax == ExplicitVRBigEndian:
        header.PixelData = frames.astype(frames.dtype.newbyteorder(">")).tobytes()
    header["PixelData"].VR = "OB" if frames.dtype == np.uint8 else "OW"
    header.file_meta.TransferSyntaxUID = syntax


def encode(frame, syntax):
    """One frame as JPEG or as a codestream of JPEG 2000."""
    buffer = io.BytesIO()
    if syntax == JPEGBaseline8Bit:
        Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, mct=0)
    return buffer.getvalue()
