"""NRRD label maps and segmentations of 3D Slicer beside pictures; see `volumes`.

A segmentation (.seg.nrrd) says in its header which value in which layer is which
segment; it may hold the part of the picture that has labels, from an offset on.
"""

import bz2
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Int64

from nerve_jax.data.exchange.pictures import Labelled, copy_pictures
from nerve_jax.data.exchange.planes import check_axes, to_integers
from nerve_jax.data.exchange.shapes import Mask
from nerve_jax.data.exchange.volumes import Part, Volume, read_volumes
from nerve_jax.data.frames import MAX_BYTES, in_words, read_file
from nerve_jax.system.extras import require

ENDINGS = (".seg.nrrd", ".nrrd")
LISTS = ("list", "vector")  # kinds of an axis of layers
OFFSET = "Segmentation_ReferenceImageExtentOffset"
FRACTIONAL = "Fractional labelmap"
SOURCES = ("Segmentation_SourceRepresentation", "Segmentation_MasterRepresentation")
SEGMENT = re.compile(r"Segment([0-9]{1,4})_(?:ID|Name)")
ELSEWHERE = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")


def _get_library() -> ModuleType:
    return require("nrrd", "labels", "NRRD files")


def read(folder: Path) -> Iterator[Labelled]:
    """Read all label maps and segmentations in and below a folder.

    Raises:
      InputError: see `volumes.read_volumes`.
      MissingExtraError: pynrrd is not installed.
    """
    _get_library()
    return read_volumes(folder, ENDINGS, open_volume)


def open_volume(path: Path, table: Sequence[Part]) -> Volume:
    """Read a header; see `volumes.read_volumes`."""
    file = io.BytesIO(read_file(path))
    with in_words():
        header = _get_library().read_header(file)
        shape = [int(n) for n in header["sizes"]]
        has_list = (header.get("kinds") or [""])[0] in LISTS
    if any(header.get(key) for key in ELSEWHERE):
        raise ValueError(
            "its values are in another file or place; save it as one .nrrd"
        )
    if any(header.get(key) == FRACTIONAL for key in SOURCES):
        raise ValueError("a fractional segmentation; save it as binary labels")
    size = check_axes(shape[1:] if has_list else shape)
    num_layers = shape[0] if has_list else 1
    segments = sorted({int(m[1]) for m in map(SEGMENT.fullmatch, header) if m})
    parts = [_read_segment(header, n, has_list) for n in segments]
    if bad := [part.label for part in parts if not 0 <= part.layer < num_layers]:
        raise ValueError(f"segment {bad[0]} is in a layer that is not there")
    load = partial(_load, path, (num_layers, *size))
    if not segments:
        return Volume(size, None, table, load)
    left, top, *_ = map(int, str(header.get(OFFSET, "0 0 0")).split())
    return Volume(size, (left, top), parts, load)


def _read_segment(header: Mapping, number: int, has_list: bool) -> Part:
    """A segment; before Slicer 4.11 each had a layer of its own, and the value 1."""
    start = f"Segment{number}_"
    label = header.get(f"{start}Name") or header[f"{start}ID"]
    layer = int(header.get(f"{start}Layer", number if has_list else 0))
    return Part(str(label), layer, (int(header.get(f"{start}LabelValue", 1)),))


def _load(
    path: Path, shape: tuple[int, int, int]
) -> Int64[np.ndarray, "layers height width"]:
    """Read the values of a file; no more is unpacked than its header counts."""
    library, file = _get_library(), io.BytesIO(read_file(path))
    num_layers, height, width = shape
    with in_words():
        header = library.read_header(file)
        _check_length(header, file.getvalue()[file.tell() :], math.prod(shape))
        values = library.read_data(header, file, index_order="F")
    labels = to_integers(values).reshape((num_layers, width, height), order="F")
    return labels.transpose(0, 2, 1)


def _check_length(header: Mapping, body: bytes, count: int) -> None:
    """Raise `ValueError` for packed values that are more than the header counts."""
    most = 8 * count  # bytes, of the widest type
    if most > MAX_BYTES:
        raise ValueError(f"{count} values by its header are too many")
    encoding = header["encoding"]
    if encoding in ("gzip", "gz"):
        found = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, most + 1)
    elif encoding in ("bzip2", "bz2"):
        found = bz2.BZ2Decompressor().decompress(body, most + 1)
    else:
        return
    if len(found) > most:
        raise ValueError("it holds more values than its header counts")


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/ and labels/NAME.seg.nrrd, in as many layers as overlaps need.

    A structure that is not there is a segment without a voxel; one that was not looked
    for is no segment.
    """
    library = _get_library()
    (folder / "labels").mkdir()
    for one, _ in copy_pictures(labelled, folder / "images"):
        if one.masks:
            layers, header = _arrange(one.masks, structures)
            path = folder / "labels" / f"{one.name}.seg.nrrd"
            library.write(str(path), layers, header, index_order="F")


def _arrange(
    masks: Mapping[str, Mask], structures: Sequence[str]
) -> tuple[np.ndarray, dict]:
    """Axes (x, y, z), with one of layers in front where there are several; the header."""
    layers: list[np.ndarray] = []
    header = {"Segmentation_ContainedRepresentationNames": "Binary labelmap|"}
    header |= {"Segmentation_SourceRepresentation": "Binary labelmap", OFFSET: "0 0 0"}
    for number, (structure, mask) in enumerate(masks.items()):
        free = (i for i, layer in enumerate(layers) if not layer[mask].any())
        index = next(free, len(layers))
        if index == len(layers):
            layers.append(
                np.zeros(mask.shape, np.uint8 if len(masks) < 256 else np.uint16)
            )
        value = list(structures).index(structure) + 1
        layers[index][mask] = value
        fields = {
            "ID": structure,
            "Name": structure,
            "Layer": index,
            "LabelValue": value,
        }
        header |= {f"Segment{number}_{key}": str(v) for key, v in fields.items()}
    volume = np.stack(layers).transpose(0, 2, 1)[..., None]
    directions = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    kinds = ["domain"] * 3
    if len(layers) == 1:
        volume = volume[0]
    else:
        directions, kinds = [[np.nan] * 3, *directions], ["list", *kinds]
    return volume, header | {
        "space": "left-posterior-superior",
        "space directions": np.array(directions, float),
        "space origin": np.zeros(3),
        "kinds": kinds,
        "encoding": "gzip",
    }
