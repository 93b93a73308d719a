"""nnU-Net's raw layout: imagesTr/CASE_0000.png, labelsTr/CASE.png, dataset.json."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from nerve_jax.data.exchange.entries import Gathered, Size
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.names import SHOWN, find_clashes
from nerve_jax.data.exchange.nnunet_dataset import (
    BACKGROUND,
    FILE,
    Dataset,
    read_dataset,
)
from nerve_jax.data.exchange.pictures import copy_pictures, measure
from nerve_jax.data.exchange.planes import is_plane, measure_plane, read_plane
from nerve_jax.data.frames import decode, read_file, read_grey
from nerve_jax.data.listing import compose, count_of, is_litter, list_some
from nerve_jax.system.errors import InputError, raise_if_any
from nerve_jax.system.files import show, write_json, write_png

OF_IMAGE = re.compile(r"(.+)_([0-9]{4})")  # the case and its channel
PLAIN_MODES = ("L", "I;16")  # of a PNG that nnU-Net reads as one channel
MOST = 255  # structures that 8 bits hold


def read(folder: Path) -> Iterator[Labelled]:
    """Read imagesTr/ and labelsTr/; frames of imagesTs/ are unlabelled.

    A region, a label that is a list of values, is a structure that overlaps others.

    Raises:
      InputError: lists all that is wrong: several channels, cases without an image or a
        label, values without a name, labels of another size than their image.
      MissingExtraError: the files are NIfTI, and nibabel is not installed.
    """
    gathered = Gathered()
    dataset = read_dataset(folder, gathered)
    gathered.raise_if_any(folder)
    training = _list_cases(folder, "imagesTr", dataset, gathered)
    unlabelled = _list_cases(folder, "imagesTs", dataset, gathered)
    labels = _list_files(folder / "labelsTr", dataset.ending)
    gathered.problems += _compare(training.keys(), labels.keys(), dataset.num_training)
    gathered.problems += find_clashes([*training, *unlabelled])
    sizes = {
        case: _check_case(path, labels.get(case), dataset, gathered)
        for case, path in [*training.items(), *unlabelled.items()]
    }
    gathered.raise_if_any(folder)
    cases = [(c, p, labels[c]) for c, p in training.items()]
    cases += [(c, p, None) for c, p in unlabelled.items()]
    return (_draw(c, p, label, sizes[c], dataset.values) for c, p, label in cases)


def _compare(
    training: Collection[str], labels: Collection[str], stated: int | None
) -> list[str]:
    """Problems of cases that have an image or a label alone, and of their number."""
    problems = []
    for where, names, mend in (
        (
            "imagesTr",
            sorted(set(training) - set(labels)),
            "a file in labelsTr; move images without labels to imagesTs",
        ),
        (
            "labelsTr",
            sorted(set(labels) - set(training)),
            "an image in imagesTr; add it, or take the label away",
        ),
    ):
        if names:
            shown = show(list_some(names, SHOWN))
            count = count_of(len(names), "case")
            problems.append(f"{where}: {count} without {mend}: {shown}")
    if stated not in (None, len(training)):
        count = count_of(len(training), "case")
        problems.append(f"{FILE}: numTraining is {stated}, but imagesTr has {count}")
    return problems


def _list_files(folder: Path, ending: str) -> dict[str, Path]:
    """Files of an ending by their names without it."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        compose(path.name[: -len(ending)]): path
        for path in paths
        if path.name.endswith(ending) and not is_litter(path)
    }


def _list_cases(
    folder: Path, where: str, dataset: Dataset, gathered: Gathered
) -> dict[str, Path]:
    """Images by case."""
    cases = {}
    for name, path in _list_files(folder / where, dataset.ending).items():
        matched = OF_IMAGE.fullmatch(name)
        if not matched or matched[2] != "0000":
            channel = (
                f"channel {matched[2]}; export _0000 alone" if matched else "no _0000"
            )
            gathered.problems.append(f"{where}/{show(path.name)}: {channel}")
        else:
            cases[matched[1]] = path
    if not cases and where == "imagesTr":
        gathered.problems.append(f"no CASE_0000{dataset.ending} in {where}/")
    return cases


def _check_case(
    path: Path, label: Path | None, dataset: Dataset, gathered: Gathered
) -> Size:
    """The size of an image; what is wrong with it or its label is gathered."""
    size = (0, 0)
    try:
        if is_plane(path):
            values = read_plane(path)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("values that are no grey of 16 bits; save it as PNG")
            size = measure_plane(path)
        else:
            size = measure(path)
    except (OSError, ValueError) as error:
        gathered.problems.append(f"{show(str(path))}: {error}")
    if label is None or size == (0, 0):
        return size
    try:
        values = _read_values(label)
        if values.shape != size:
            of_label, of_image = (f"{w}x{h} px" for h, w in (values.shape, size))
            raise ValueError(f"label is {of_label}, its image {of_image}")
        known = {0, *(v for of_one in dataset.values.values() for v in of_one)}
        if unknown := sorted(set(np.unique(values).tolist()) - known):
            raise ValueError(
                f"values {list_some(map(str, unknown))} are of no structure in {FILE}"
            )
    except (OSError, ValueError) as error:
        gathered.problems.append(f"{show(str(label))}: {error}")
    return size


def _read_values(path: Path) -> Int[np.ndarray, "height width"]:
    """The values of a label map, as they are stored."""
    if is_plane(path):
        return read_plane(path)
    values = np.asarray(decode(read_file(path)).image)
    if values.ndim != 2 or values.dtype.kind == "f":
        raise ValueError("a label map has one whole number a pixel; save it so")
    return values.astype(np.int64)


def _draw(
    case: str,
    path: Path,
    label: Path | None,
    size: Size,
    values: Mapping[str, tuple[int, ...]],
) -> Labelled:
    """A case with the masks of its structures."""
    if label is None:
        return Labelled(case, path, None, size, {})
    found = _read_values(label)
    masks = {name: np.isin(found, of_one) for name, of_one in values.items()}
    return Labelled(case, path, None, size, masks)


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write PNG files of 8 bits, exact; frames without labels go to imagesTs/.

    Raises:
      InputError: frames in which structures overlap, or that are not labelled for all;
        names them.
    """
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir()
    if len(structures) > MOST:
        raise InputError(f"{len(structures)} structures are more than {MOST}")
    problems, count = [], 0
    for one, file_name in copy_pictures(labelled, folder / "imagesTs"):
        copied = folder / "imagesTs" / file_name
        where = "imagesTr" if one.masks else "imagesTs"
        _put_image(copied, folder / where / f"{one.name}_0000.png")
        if not one.masks:
            continue
        count += 1
        if missing := [name for name in structures if name not in one.masks]:
            problems.append(f"{one.name}: not labelled for {list_some(missing)}")
            continue
        marked = np.stack([one.masks[name] for name in structures])
        if (marked.sum(axis=0) > 1).any():
            problems.append(f"{one.name}: structures overlap")
            continue
        values = np.zeros(one.size, np.uint8)
        for value, mask in enumerate(marked, start=1):
            values[mask] = value
        write_png(folder / "labelsTr" / f"{one.name}.png", values)
    raise_if_any(
        problems,
        "a label map of nnU-Net holds one structure for each pixel of every frame",
        "Nothing was written. Write --labels=coco, which can hold these, or a folder with "
        "the masks of one structure alone",
    )
    labels = {BACKGROUND: 0} | {name: n for n, name in enumerate(structures, start=1)}
    content = {"channel_names": {"0": "ultrasound"}, "labels": labels}
    content |= {"numTraining": count, "file_ending": ".png"}
    write_json(folder / FILE, content)


def _put_image(copied: Path, place: Path) -> None:
    """Move a picture to its place, as a PNG of one channel."""
    with Image.open(copied) as image:
        is_plain = image.format == "PNG" and image.mode in PLAIN_MODES
    if is_plain:
        copied.rename(place)
        return
    content = copied.read_bytes()
    copied.unlink()
    write_png(place, read_grey(content).values)
