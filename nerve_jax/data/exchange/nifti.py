"""NIfTI label maps (.nii, .nii.gz) beside pictures, by nibabel; see `volumes`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nerve_jax.data.exchange.names import LABELLED, select
from nerve_jax.data.exchange.pictures import Labelled, copy_pictures
from nerve_jax.data.exchange.planes import (
    ENDINGS,
    check_axes,
    read_head,
    read_plane,
)
from nerve_jax.data.exchange.volumes import (
    TABLE,
    Part,
    Volume,
    merge_masks,
    read_volumes,
)
from nerve_jax.data.frames import in_words
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.extras import require
from nerve_jax.system.files import write_table

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # of a PNG picture in ITK
LOOKED_FOR = f"{LABELLED}: "  # begins a comment where some were not looked for
COMMENT = 6  # the code of one


def read(folder: Path) -> Iterator[Labelled]:
    """Read all label maps in and below a folder.

    Raises:
      InputError: see `volumes.read_volumes`.
      MissingExtraError: nibabel is not installed.
    """
    require("nibabel", "labels", "NIfTI files")
    return read_volumes(folder, ENDINGS, open_volume)


def open_volume(path: Path, table: Sequence[Part]) -> Volume:
    """Read a header; see `volumes.read_volumes`."""
    head = read_head(path)
    with in_words():
        comments = [e.text for e in head.header.extensions if e.get_code() == COMMENT]
    found = next((c for c in comments if c.startswith(LOOKED_FOR)), "")
    labels = select([part.label for part in table], found.removeprefix(LOOKED_FOR))
    parts = [part for part in table if part.label in labels]
    return Volume(check_axes(head.shape), None, parts, lambda: read_plane(path)[None])


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/, labels/NAME.nii.gz of 8 bits, and structures.csv.

    Raises:
      InputError: structures overlap, which a label map cannot say, or are too many.
    """
    library = require("nibabel", "labels", "NIfTI files")
    (folder / "labels").mkdir()
    write_table(folder / TABLE, ("value", "name"), list(enumerate(structures, 1)))
    problems: list[str] = []
    for one, _ in copy_pictures(labelled, folder / "images"):
        if not one.masks:
            continue
        values = merge_masks(one, structures, problems)
        image = library.Nifti1Image(values.T[..., None], AFFINE)
        image.header.set_xyzt_units("mm")
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
