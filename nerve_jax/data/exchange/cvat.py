"""CVAT for images 1.1, read and written; CVAT for video 1.1, read (`tracks`)."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from nerve_jax.data.exchange import tracks
from nerve_jax.data.exchange.cvat_shapes import IGNORED, parse, read_area, read_labels
from nerve_jax.data.exchange.entries import Entry, Problems, Shape, settle
from nerve_jax.data.exchange.names import LABELLED, select
from nerve_jax.data.exchange.pictures import Labelled, copy_pictures
from nerve_jax.data.exchange.shapes import Mask, cut_out, encode_counts
from nerve_jax.system.files import show, write_whole

FILE = "annotations.xml"


def read(folder: Path) -> Iterator[Labelled]:
    """Read the XML files of a folder: of images, or of clips with tracks.

    A label without a shape was looked for and is not there.

    Raises:
      InputError: lists all that is wrong; see `entries.settle` and `tracks.read`.
    """
    problems = Problems()
    roots = {}
    for path in sorted(folder.glob("*.xml")):
        with problems.at(show(path.name)):
            root = parse(path)
            if root.tag == "annotations":
                roots[path] = root
    of_clips = {path: root for path, root in roots.items() if _is_of_clip(root)}
    if of_clips and len(of_clips) == len(roots):
        return tracks.read(folder, of_clips, problems)
    if of_clips:
        problems.append("files of images and of clips; import each alone")
    entries: list[Entry] = []
    for path, root in roots.items():
        with problems.at(show(path.name)) as found:
            entries += _list_entries(root, show(path.name), found)
    nothing = f"no label of an image in {FILE}, nor in another *.xml of CVAT"
    return settle(entries, folder, problems, nothing)


def _is_of_clip(root: ElementTree.Element) -> bool:
    mode = root.findtext("meta/task/mode") or root.findtext("meta/job/mode")
    return root.find("track") is not None or (
        mode == "interpolation" and root.find("image") is None
    )


def _list_entries(
    root: ElementTree.Element, where: str, problems: Problems
) -> list[Entry]:
    """The pictures that a file lists."""
    structures = read_labels(root, problems)
    entries = []
    for image in root.iterfind("image"):
        name = image.get("name", "")
        looked_for = select(structures.values(), image.get(LABELLED))
        shapes = []
        for number, element in enumerate(image, 1):
            if element.tag in IGNORED:
                continue
            place, label = f"{show(name)}, {element.tag} {number}", element.get("label")
            with problems.at(place):
                if label not in structures:
                    raise ValueError(f"label {show(str(label))!r} is not declared")
                area = read_area(element)
                shapes.append(Shape(structures[label], area, f"{where}: {place}"))
        with problems.at(f"image {show(name)}"):
            size = int(image.attrib["height"]), int(image.attrib["width"])
            entries.append(Entry(where, name, size, looked_for, shapes))
    return entries


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/ and `annotations.xml`, masks as <mask>, exact.

    A structure that is not there has no mask; an unlabelled frame is not listed.
    """
    add = ElementTree.SubElement
    root = ElementTree.Element("annotations")
    add(root, "version").text = "1.1"
    task = add(add(root, "meta"), "task")
    add(task, "mode").text = "annotation"
    labels = add(task, "labels")
    for structure in structures:
        label = add(labels, "label")
        add(label, "name").text = structure
        add(label, "type").text = "mask"
    number = 0
    for one, file_name in copy_pictures(labelled, folder / "images"):
        if not one.masks:
            continue
        height, width = map(str, one.size)
        attributes = {"id": str(number), "name": file_name}
        attributes |= {"width": width, "height": height}
        if set(one.masks) != set(structures):
            attributes[LABELLED] = " ".join(one.masks)
        image = add(root, "image", attributes)
        number += 1
        for structure, mask in one.masks.items():
            if mask.any():
                add(image, "mask", _encode(structure, mask))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    write_whole(folder / FILE, text)


def _encode(structure: str, mask: Mask) -> dict[str, str]:
    """A mask as the attributes of its element: run lengths in the box around it."""
    left, top, part = cut_out(mask)
    return {
        "label": structure,
        "source": "manual",
        "occluded": "0",
        "rle": ", ".join(map(str, encode_counts(np.ascontiguousarray(part)))),
        "left": str(left),
        "top": str(top),
        "width": str(part.shape[1]),
        "height": str(part.shape[0]),
        "z_order": "0",
    }
