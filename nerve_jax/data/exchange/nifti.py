"""NIfTI label maps (.nii, .nii.gz) beside pictures, by nibabel; see `volumes`."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Int, UInt8

from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.pictures import copy_pictures
from nerve_jax.data.exchange.volumes import (
    Part,
    Volume,
    read_plane,
    read_volumes,
    to_labels,
    write_labels,
)
from nerve_jax.data.frames import MAX_BYTES, in_words
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.extras import require

ENDINGS = (".nii.gz", ".nii")
HEAD_BYTES = 540  # of the longer header, that of NIfTI 2
GZIP = b"\x1f\x8b"
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # of a PNG picture in ITK
# Begins a comment in the header of a picture for which some were not looked for.
LOOKED_FOR = "structures_labelled: "
MOST = 255  # structures that 8 bits hold


def _get_library() -> ModuleType:
    return require("nibabel", "labels", "NIfTI files")


def read(folder: Path) -> Iterator[Labelled]:
    """Read all label maps in and below a folder; slope and intercept are applied.

    Raises:
      InputError: see `volumes.read_volumes`.
      MissingExtraError: nibabel is not installed.
    """
    _get_library()
    return read_volumes(folder, ENDINGS, open_volume)


def open_volume(content: bytes, path: Path, table: Mapping[int, str]) -> Volume:
    """Read a header; see `volumes.read_volumes`. No more is unpacked than it counts."""
    del path
    library = _get_library()
    with in_words():
        head = unpack(content, HEAD_BYTES)
        kinds = (library.Nifti1Image, library.Nifti2Image)
        fitting = [k for k in kinds if k.header_class.may_contain_header(head)]
        if not fitting:
            raise ValueError("no NIfTI file")
        kind = fitting[0].header_class
        header = kind(head[: kind.template_dtype.itemsize])
        shape, offset = header.get_data_shape(), int(header["vox_offset"])
        num_bytes = offset + header.get_data_dtype().itemsize * int(
            np.prod(shape, dtype=object)
        )
    size = read_plane(shape)
    if num_bytes > MAX_BYTES or offset < 0:
        raise ValueError(f"{num_bytes} bytes by its header are too many")
    with in_words():
        image = fitting[0].from_bytes(unpack(content, num_bytes))
        comments = [_read_comment(e) for e in image.header.extensions]
    wanted = next((c for c in comments if c.startswith(LOOKED_FOR)), None)
    names = wanted and wanted.removeprefix(LOOKED_FOR).split()
    parts = [
        Part(label, 0, value)
        for value, label in table.items()
        if names is None or label in names
    ]
    return Volume(size, None, parts, partial(_load, image, size))


def _read_comment(extension) -> str:
    content = extension.get_content() if extension.get_code() == 6 else ""
    text = content.decode(errors="replace") if isinstance(content, bytes) else content
    return text.rstrip("\0 ")


def _load(image, size: tuple[int, int]) -> Int[np.ndarray, "1 height width"]:
    with in_words():
        values = np.asanyarray(image.dataobj)
    return to_labels(values).reshape(size[::-1]).T[None]


def unpack(content: bytes, most: int) -> bytes:
    """The first bytes of content, which may be packed by gzip."""
    if not content.startswith(GZIP):
        return content[:most]
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(content, most)


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/, labels/NAME.nii.gz of 8 bits, and structures.csv.

    Raises:
      InputError: structures overlap, which a label map cannot say, or are too many.
    """
    library = _get_library()
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    values = write_labels(folder, structures)
    problems = [f"{len(values)} structures, more than {MOST}"][: len(values) > MOST]
    for one, _ in copy_pictures(labelled, folder / "images"):
        if not one.masks:
            continue
        if sum(mask.astype(int) for mask in one.masks.values()).max() > 1:
            problems.append(f"{one.name}: structures overlap")
        elif not problems:
            volume = np.zeros(one.size, np.uint8)
            for structure, mask in one.masks.items():
                volume[mask] = values[structure]
            image = _make_image(library, volume)
            if set(one.masks) != set(structures):
                text = (LOOKED_FOR + " ".join(one.masks)).encode()
                comment = library.nifti1.Nifti1Extension("comment", text)
                image.header.extensions.append(comment)
            image.to_filename(folder / "labels" / f"{one.name}.nii.gz")
    raise_if_any(
        problems,
        "a label map holds one structure per pixel",
        "Write --labels=nrrd, coco or labelstudio instead, which hold several",
    )


def _make_image(library: ModuleType, volume: UInt8[np.ndarray, "height width"]):
    image = library.Nifti1Image(volume.T[..., None], AFFINE)
    image.header.set_xyzt_units("mm")
    return image
