"""Label Studio: its JSON exports, read, and tasks with brushed regions, written.

A task is of one picture or clip, found by the name that its URL ends with, also without the eight
hexadecimal digits that an upload adds. Structures are the labels that occur in a folder's
exports: whoever annotated a picture has looked for all of them, unless the task's data
say for which, in the field `structures_labelled`.
"""

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from nerve_jax.data.exchange import brush
from nerve_jax.data.exchange.clips import find_clips
from nerve_jax.data.exchange.entries import Entry, Gathered, Shape, settle
from nerve_jax.data.exchange.labelled import Labelled
from nerve_jax.data.exchange.labelstudio_regions import check, fill
from nerve_jax.data.exchange.labelstudio_tasks import (
    LOOKED_FOR,
    Task,
    find_path,
    read_tasks,
)
from nerve_jax.data.exchange.labelstudio_video import draw_all, read_clips
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.exchange.pictures import copy_pictures, find_pictures
from nerve_jax.data.exchange.references import MALFORMED, choose, describe, group
from nerve_jax.data.listing import count_of
from nerve_jax.data.media import video
from nerve_jax.system.console import say
from nerve_jax.system.files import show, write_whole

UPLOADED = re.compile(r"[0-9a-f]{8}-")


def read(folder: Path) -> Iterator[Labelled]:
    """Read the exports, *.json, in a folder; pictures and clips lie there or below.

    Of several annotations of a task the first that is not cancelled is read.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`.
    """
    gathered = Gathered()
    paths = sorted(folder.glob("*.json"))
    tasks = [task for path in paths for task in read_tasks(path, gathered)]
    labels = dict.fromkeys(
        label
        for task in tasks
        for labels in [task.looked_for or [], *(r.labels for r in task.regions or [])]
        for label in labels
    )
    structures = name_structures(labels, gathered.problems)
    if not labels and not gathered.problems:
        gathered.problems.append(
            "no label in any task of a *.json there, so what was looked for is not known; "
            'export as "JSON" from Label Studio'
        )
    if more := sum(task.num_more for task in tasks):
        say(f"left out: {count_of(more, 'annotation')} by a second person or more")
    of_clips = [task for task in tasks if _is_of_clip(task)]
    clips = {n: p for n, p in find_clips(folder).items() if of_clips and p.is_file()}
    read = read_clips(
        of_clips, structures, clips, _make_finder(clips), folder, gathered
    )
    if len(of_clips) == len(tasks):
        gathered.raise_if_any(folder)
        return draw_all(read)
    find = _make_finder(find_pictures(folder))
    entries = []
    for task in (task for task in tasks if not _is_of_clip(task)):
        entry = _make_entry(task, structures, gathered)
        try:
            entries.append(entry._replace(file_name=find(task.reference)))
        except ValueError as error:
            gathered.problems.append(f"{task.where}: {error}")
    if not entries:
        gathered.raise_if_any(folder)
    return itertools.chain(draw_all(read), settle(entries, folder, gathered))


def _is_of_clip(task: Task) -> bool:
    return find_path(task.reference).suffix.lower() in video.SUFFIXES


def _make_finder(pictures: Iterable[str]) -> Callable[[str], str]:
    """A function from a URL to the picture or clip, or to the name that is missing."""
    pictures = list(pictures)
    by_name = group(pictures, lambda name: PurePosixPath(name).name)
    tidied = group(pictures, lambda name: _tidy(PurePosixPath(name).name))

    def find(url: str) -> str:
        path = find_path(url)
        own = UPLOADED.sub("", path.name, count=1)
        found = by_name.get(path.name) or by_name.get(own) or tidied.get(own)
        return choose(found, path.as_posix()) if found else path.name

    return find


def _tidy(name: str) -> str:
    """A file's name as an upload changes it."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _make_entry(task: Task, structures: Mapping[str, str], gathered: Gathered) -> Entry:
    """What a task says of its picture; what is wrong with it is gathered."""
    regions = task.regions or []
    sizes = {region.size for region in regions}
    if len(sizes) > 1:
        gathered.problems.append(f"{task.where}: regions on pictures of several sizes")
    shapes = []
    for region in regions:
        where = f"{task.where}, region {show(region.number)}"
        try:
            check(region, where, gathered)
        except MALFORMED as error:
            gathered.problems.append(f"{where}: {describe(error)}")
        draw = functools.partial(fill, region.value)
        shapes += [Shape(structures[x], draw) for x in region.labels if x in structures]
    wanted = structures if task.looked_for is None else task.looked_for
    found = [structures[x] for x in wanted if x in structures]
    found += [shape.structure for shape in shapes]
    if task.regions is None:
        found = []
    size = min(sizes) if sizes else None
    return Entry(task.reference, size, list(dict.fromkeys(found)), shapes)


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/, tasks.json with brushed regions and label_config.xml, masks exact.

    The tasks name pictures as local files of a storage whose root is that folder.
    """
    (folder / "images").mkdir()
    with (folder / "tasks.json").open("w") as file:
        start = "[\n"
        copies = copy_pictures(labelled, folder / "images")
        for number, (one, name) in enumerate(copies, 1):  # one by one: masks are long
            file.write(start + json.dumps(_make_task(number, one, name)))
            start = ",\n"
        file.write("\n]\n" if start != "[\n" else "[]\n")
    labels = "".join(f'    <Label value="{name}"/>\n' for name in structures)
    write_whole(
        folder / "label_config.xml",
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <BrushLabels name="structure" toName="image">\n{labels}'
        "  </BrushLabels>\n</View>\n",
    )


def _make_task(number: int, one: Labelled, name: str) -> dict:
    data = {"image": f"/data/local-files/?d=images/{quote(name)}"}
    if not one.masks:
        return {"id": number, "data": data, "annotations": []}
    data[LOOKED_FOR] = " ".join(one.masks)
    result = [
        {
            "id": f"{number}-{structure}",
            "type": "brushlabels",
            "from_name": "structure",
            "to_name": "image",
            "original_width": one.size[1],
            "original_height": one.size[0],
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": brush.encode(mask),
                "brushlabels": [structure],
            },
        }
        for structure, mask in one.masks.items()
        if mask.any()
    ]
    return {"id": number, "data": data, "annotations": [{"result": result}]}
