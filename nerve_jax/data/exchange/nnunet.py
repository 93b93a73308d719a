"""nnU-Net's raw layout: imagesTr/CASE_0000.png, labelsTr/CASE.png, dataset.json."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image

from nerve_jax.data.exchange.entries import (
    SHOWN,
    Entry,
    Frame,
    Problems,
    draw_all,
    make_frame,
)
from nerve_jax.data.exchange.names import name_structures, read_json
from nerve_jax.data.exchange.pictures import Labelled, copy_pictures, measure
from nerve_jax.data.exchange.planes import is_plane, read_plane, to_integers
from nerve_jax.data.exchange.volumes import (
    BACKGROUND,
    DATASET,
    Part,
    Volume,
    list_labels,
    make_entry,
    merge_masks,
)
from nerve_jax.data.frames import decode, read_file, read_grey
from nerve_jax.data.listing import compose, count_of, is_litter, list_some
from nerve_jax.system.errors import raise_if_any
from nerve_jax.system.files import show, write_json, write_png

ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".nii.gz", ".nii")
OF_IMAGE = re.compile(r"(.+)_([0-9]{4})")  # the case and its channel
PLAIN_MODES = ("L", "I;16")  # of a PNG that nnU-Net reads as one channel


def read(folder: Path) -> Iterator[Labelled]:
    """Read imagesTr/ and labelsTr/; frames of imagesTs/ are unlabelled.

    A region, a label that is a list of values, is a structure that overlaps others.

    Raises:
      InputError: lists all that is wrong: several channels, cases without an image or a
        label, values without a name, labels of another size than their image.
      MissingExtraError: the files are NIfTI, and nibabel is not installed.
    """
    problems = Problems()
    parts: list[Part] = []
    with problems.at(DATASET) as found:
        content = read_json(folder / DATASET)
        ending = _check_dataset(content)
        parts = list_labels(content["labels"], found)
    names = name_structures([part.label for part in parts], problems)
    parts = [part._replace(label=names[part.label]) for part in parts]
    problems.raise_if_any(folder)  # without it no file can be read
    images, unlabelled = (
        _list_images(folder / name, ending, problems)
        for name in ("imagesTr", "imagesTs")
    )
    labels = _list_files(folder / "labelsTr", ending)
    problems += _find_unpaired(images, labels, content.get("numTraining"))
    frames = []
    for where, cases in (("imagesTr", images), ("imagesTs", unlabelled)):
        for case, image in cases.items():
            entry = Entry(where, f"{case}.png")
            if where == "imagesTr" and case in labels:
                with problems.at(f"labelsTr/{show(labels[case].name)}"):
                    volume = _open_label(labels[case], parts)
                    entry = make_entry(where, entry.file_name, volume)
            with problems.at(f"{where}/{show(image.name)}"):
                frames.append(_open_image(image, entry))
    return draw_all(frames, folder, problems, "no label of a case")


def _check_dataset(content: Any) -> str:
    """The ending of all files; raise `ValueError` for what is not read."""
    if type(content) is not dict or type(content.get("labels")) is not dict:
        raise ValueError("no labels in it")
    channels = content.get("channel_names", content.get("modality"))
    if not isinstance(channels, dict | list) or len(channels) != 1:
        raise ValueError(
            f"channel_names {show(str(channels))}: frames of one channel, of grey, are "
            "read; export that one alone"
        )
    if "dataset" in content:
        raise ValueError("paths under dataset are not followed")
    ending = content.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        allowed = ", ".join(ENDINGS)
        raise ValueError(f"file_ending {show(str(ending))} is not one of {allowed}")
    return ending


def _find_unpaired(
    images: Collection[str], labels: Collection[str], stated: Any
) -> list[str]:
    """Problems of cases that have an image or a label alone, and of their number."""
    problems = []
    for where, names, mend in (
        (
            "imagesTr",
            sorted(set(images) - set(labels)),
            "a file in labelsTr; move images without labels to imagesTs",
        ),
        (
            "labelsTr",
            sorted(set(labels) - set(images)),
            "an image in imagesTr; add it, or take the label away",
        ),
    ):
        if names:
            count, shown = count_of(len(names), "case"), show(list_some(names, SHOWN))
            problems.append(f"{where}: {count} without {mend}: {shown}")
    if type(stated) is int and stated != len(images):
        count = count_of(len(images), "case")
        problems.append(f"{DATASET}: numTraining is {stated}, but imagesTr has {count}")
    return problems


def _list_files(folder: Path, ending: str) -> dict[str, Path]:
    """Files of an ending by their names without it."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        compose(path.name.removesuffix(ending)): path
        for path in paths
        if path.name.endswith(ending) and not is_litter(path)
    }


def _list_images(folder: Path, ending: str, problems: Problems) -> dict[str, Path]:
    """Images by case."""
    cases = {}
    for name, path in _list_files(folder, ending).items():
        with problems.at(f"{folder.name}/{show(path.name)}"):
            matched = OF_IMAGE.fullmatch(name)
            if not matched:
                raise ValueError("no _0000 behind the case")
            if matched[2] != "0000":
                raise ValueError(f"channel {matched[2]}; export _0000 alone")
            cases[matched[1]] = path
    return cases


def _open_image(path: Path, entry: Entry) -> Frame:
    """An image with its entry; raise `ValueError` where they do not fit."""
    frame = make_frame(entry, path)
    if is_plane(path):
        values = read_plane(path)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("values that are no grey of 16 bits; save it as PNG")
    return frame


def _open_label(path: Path, parts: Sequence[Part]) -> Volume:
    """Read the header of a label map."""
    return Volume(measure(path), None, parts, partial(_read_values, path))


def _read_values(path: Path) -> Int64[np.ndarray, "1 height width"]:
    """The values of a label map, as they are stored."""
    if is_plane(path):
        return read_plane(path)[None]
    values = np.asarray(decode(read_file(path)).image)
    if values.ndim != 2:
        raise ValueError("a label map has one whole number a pixel; save it so")
    return to_integers(values)[None]


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write PNG files of 8 bits, exact; frames without labels go to imagesTs/.

    Raises:
      InputError: frames in which structures overlap, or that are not labelled for all;
        names them.
    """
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    problems: list[str] = []
    count = 0
    for one, file_name in copy_pictures(labelled, folder / "imagesTs"):
        copied = folder / "imagesTs" / file_name
        where = "imagesTr" if one.masks else "imagesTs"
        _put_image(copied, folder / where / f"{one.name}_0000.png")
        if not one.masks:
            continue
        count += 1
        if missing := [name for name in structures if name not in one.masks]:
            problems.append(f"{one.name}: not labelled for {list_some(missing)}")
        values = merge_masks(one, structures, problems)
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
    write_json(folder / DATASET, content)


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
