"""Every format of labels by the name that --labels takes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nerve_jax.data.exchange import (
    coco,
    cvat,
    labelme,
    labelstudio,
    nifti,
    nnunet,
    nrrd,
)
from nerve_jax.data.exchange.pictures import Labelled


class Format(NamedTuple):
    """How labels of a format are read and written.

    Attributes:
      read: the frames of a folder, each when it is asked for. Raises `InputError` with
        all that is wrong before it gives the first.
      write: makes the content of an empty folder: pictures and labels. The structures are
        all that frames may have, in order. Raises `InputError` where the format cannot
        express what they hold.
    """

    read: Callable[[Path], Iterable[Labelled]]
    write: Callable[[Path, Iterable[Labelled], Sequence[str]], None]


FORMATS = {
    "coco": Format(coco.read, coco.write),
    "cvat": Format(cvat.read, cvat.write),
    "nnunet": Format(nnunet.read, nnunet.write),
    "labelstudio": Format(labelstudio.read, labelstudio.write),
    "labelme": Format(labelme.read, labelme.write),
    "nifti": Format(nifti.read, nifti.write),
    "nrrd": Format(nrrd.read, nrrd.write),
}
