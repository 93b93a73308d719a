"""CVAT for images 1.1, read and written; CVAT for video 1.1, read (`tracks`)."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool

from nerve_jax.data.exchange import tracks
from nerve_jax.data.exchange.cvat_shapes import (
    IGNORED,
    parse,
    read_labels,
    read_shape,
)
from nerve_jax.data.exchange.entries import Entry, Gathered, read_files, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.pictures import copy_pictures
from nerve_jax.data.exchange.shapes import encode_counts
from nerve_jax.system.files import show, write_whole

FILE = "annotations.xml"
# Of an image for which not all labels were looked for; CVAT passes it over.
LABELLED = "structures_labelled"


def read(folder: Path) -> Iterator[Labelled]:
    """Read the XML files of a folder: of images, or of clips with tracks.

    Shapes of one label in one image are united. A label without a shape was looked for
    and is not there; a picture that no file lists is unlabelled.

    Raises:
      InputError: lists all that is wrong; see `entries.settle` and `tracks.read`.
    """
    paths = sorted(folder.glob("*.xml"))
    gathered = Gathered()
    roots = _parse_all(paths, gathered)
    gathered.raise_if_any(folder)
    of_clips = {path: root for path, root in roots.items() if _is_of_clip(root)}
    if of_clips and len(of_clips) == len(roots):
        return tracks.read(folder, of_clips)
    if of_clips:
        gathered.problems.append("files of images and of clips; import each alone")
    if not roots:
        gathered.problems.append(f"no {FILE}, nor another *.xml of CVAT")

    def read_file(path: Path, of_file: Gathered) -> list[Entry]:
        return _read_images(roots[path], of_file)

    entries = read_files(list(roots), read_file, gathered)
    return settle(entries, folder, gathered)


def _parse_all(
    paths: Iterable[Path], gathered: Gathered
) -> dict[Path, ElementTree.Element]:
    """The files of CVAT among XML files."""
    roots = {}
    for path in paths:
        try:
            root = parse(path)
        except (OSError, ValueError) as error:
            gathered.problems.append(f"{show(path.name)}: {error}")
            continue
        if root.tag == "annotations":
            roots[path] = root
    return roots


def _is_of_clip(root: ElementTree.Element) -> bool:
    mode = root.findtext("meta/task/mode") or root.findtext("meta/job/mode")
    return root.find("track") is not None or (
        mode == "interpolation" and root.find("image") is None
    )


def _read_images(root: ElementTree.Element, gathered: Gathered) -> list[Entry]:
    """The pictures that a file lists."""
    structures = read_labels(root, gathered)
    entries = []
    for image in root.iterfind("image"):
        name = image.get("name", "")
        where = show(name)
        try:
            size = int(image.attrib["height"]), int(image.attrib["width"])
        except (KeyError, ValueError):
            gathered.problems.append(f"image {where}: needs height and width in px")
            continue
        wanted = image.get(LABELLED, " ".join(structures.values())).split()
        shapes = []
        for element in image:
            label = element.get("label", "")
            if element.tag in IGNORED:
                continue
            if label not in structures:
                gathered.problems.append(
                    f"{where}, {element.tag}: label {show(label)!r} is not declared"
                )
                continue
            found = read_shape(element, structures[label], size, where, gathered)
            shapes += [found] if found and found.structure in wanted else []
        looked_for = [s for s in structures.values() if s in wanted]
        entries.append(Entry(name, size, looked_for, shapes))
    return entries


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/ and `annotations.xml`, masks as <mask>, exact.

    A structure that is not there has no mask; an unlabelled frame is not listed.
    """
    (folder / "images").mkdir()
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "mode").text = "annotation"
    labels = ElementTree.SubElement(task, "labels")
    for structure in structures:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = structure
        ElementTree.SubElement(label, "type").text = "mask"
    number = 0
    for one, file_name in copy_pictures(labelled, folder / "images"):
        if not one.masks:
            continue
        height, width = map(str, one.size)
        attributes = {"id": str(number), "name": file_name}
        attributes |= {"width": width, "height": height}
        if set(one.masks) != set(structures):
            attributes[LABELLED] = " ".join(one.masks)
        image = ElementTree.SubElement(root, "image", attributes)
        number += 1
        for structure, mask in one.masks.items():
            if mask.any():
                ElementTree.SubElement(image, "mask", _encode(structure, mask))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    write_whole(folder / FILE, text)


def _encode(structure: str, mask: Bool[np.ndarray, "height width"]) -> dict[str, str]:
    """A mask as the attributes of its element: run lengths in the box around it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    height, width = inside.shape
    return {
        "label": structure,
        "source": "manual",
        "occluded": "0",
        "rle": ", ".join(map(str, encode_counts(np.ascontiguousarray(inside)))),
        "left": str(left),
        "top": str(top),
        "width": str(width),
        "height": str(height),
        "z_order": "0",
    }
