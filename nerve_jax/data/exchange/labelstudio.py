"""Label Studio: its JSON exports, read, and tasks with brushed regions, written.

A task is of one picture, found by the name that its URL ends with, also without
the eight hexadecimal digits that an upload adds. Structures are the labels that occur in
a folder's exports: whoever annotated a picture has looked for all of them, unless the
task's data say for which, in the field `structures_labelled`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from nerve_jax.data.exchange import brush
from nerve_jax.data.exchange.entries import Problems, name_labels, settle
from nerve_jax.data.exchange.labelstudio_tasks import (
    find_path,
    read_tasks,
)
from nerve_jax.data.exchange.names import (
    LABELLED,
    choose,
    group,
    name_file,
)
from nerve_jax.data.exchange.pictures import Labelled, copy_pictures, find_pictures
from nerve_jax.data.listing import count_of
from nerve_jax.system.console import say
from nerve_jax.system.files import write_whole

UPLOADED = re.compile(r"[0-9a-f]{8}-")


def read(folder: Path) -> Iterator[Labelled]:
    """Read the exports, *.json, in a folder; pictures lie there or below.

    Of several annotations of a task the first that is not cancelled is read.

    Raises:
      InputError: lists all that is wrong; see `entries.settle`.
    """
    problems = Problems()
    tasks = [
        t for path in sorted(folder.glob("*.json")) for t in read_tasks(path, problems)
    ]
    if more := sum(number for _, number in tasks):
        say(f"left out: {count_of(more, 'annotation')} by a second person or more")
    find, entries = _make_finder(find_pictures(folder)), []
    for entry in name_labels([entry for entry, _ in tasks], problems):
        with problems.at(entry.where):
            entries.append(entry._replace(file_name=find(entry.file_name)))
    nothing = (
        "no label in any task of a *.json there, so what was looked for is not known; "
        'export as "JSON" from Label Studio'
    )
    return settle(entries, folder, problems, nothing)


def _make_finder(pictures: Iterable[str]) -> Callable[[str], str]:
    """A function from a URL to the picture, or to the name that is missing."""
    pictures = list(pictures)
    by_name = group(pictures, name_file)
    tidied = group(pictures, lambda name: _tidy(name_file(name)))

    def find(url: str) -> str:
        path = find_path(url)
        own = UPLOADED.sub("", path.name, count=1)
        found = by_name[path.name] or by_name[own] or tidied[own]
        return choose(found, path.as_posix()) if found else path.name

    return find


def _tidy(name: str) -> str:
    """A file's name as an upload changes it."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def write(
    folder: Path, labelled: Iterable[Labelled], structures: Sequence[str]
) -> None:
    """Write images/, tasks.json with brushed regions and label_config.xml, masks exact.

    The tasks name pictures as local files of a storage whose root is that folder.
    """
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
    data[LABELLED] = " ".join(one.masks)
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
