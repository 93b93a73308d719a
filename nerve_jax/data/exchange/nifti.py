"""NIfTI label maps (.nii, .nii.gz) beside pictures, by nibabel; see `volumes`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.pictures import copy_pictures
from nerve_jax.data.exchange.planes import ENDINGS, measure_plane, read_plane
from nerve_jax.data.exchange.volumes import Part, Volume, read_volumes, write_values
from nerve_jax.data.frames import in_words
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.extras import require

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # of a PNG picture in ITK
# Begins a comment in the header of a picture for which some were not looked for.
LOOKED_FOR = "structures_labelled: "
COMMENT = 6  # the code of one
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


def open_volume(path: Path, table: Sequence[Part]) -> Volume:
    """Read a header; see `volumes.read_volumes`."""
    size = measure_plane(path)
    with in_words():
        extensions = _get_library().load(path).header.extensions
        comments = [e.text for e in extensions if e.get_code() == COMMENT]
    wanted = next((c for c in comments if c.startswith(LOOKED_FOR)), "")
    names = wanted.removeprefix(LOOKED_FOR).split()
    parts = [part for part in table if not wanted or part.label in names]
    return Volume(size, None, parts, lambda: read_plane(path)[None])


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
    values = write_values(folder, structures)
    too_many = len(values) > MOST
    problems = [f"{len(values)} structures, more than {MOST}"] if too_many else []
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
        "Write --labels=nrrd, coco or labelstudio instead",
    )


def _make_image(library: ModuleType, volume: UInt8[np.ndarray, "height width"]):
    image = library.Nifti1Image(volume.T[..., None], AFFINE)
    image.header.set_xyzt_units("mm")
    return image
