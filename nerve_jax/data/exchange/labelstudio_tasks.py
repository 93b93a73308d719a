"""Tasks of Label Studio's exports: "JSON", also of versions before 2021, and "JSON-MIN"."""

import json
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from nerve_jax.data.exchange.entries import Gathered
from nerve_jax.data.exchange.labelstudio_regions import Region, parse
from nerve_jax.data.exchange.references import MALFORMED, describe
from nerve_jax.data.frames import read_file
from nerve_jax.data.listing import compose
from nerve_jax.data.media.kinds import SUFFIXES
from nerve_jax.system.files import show

LOOKED_FOR = "structures_labelled"
ANNOTATIONS = ("annotations", "completions")  # the second until 2021


class Task(NamedTuple):
    """What an export says of one picture.

    Attributes:
      where: the file, and the task's number in it.
      reference: the URL of the picture.
      regions: that have labels; None where nobody annotated the picture.
      looked_for: labels that were looked for; None where the task does not say so.
      num_more: further annotations, which are not read.
    """

    where: str
    reference: str
    regions: list[Region] | None
    looked_for: list[str] | None
    num_more: int


def read_tasks(path: Path, gathered: Gathered) -> list[Task]:
    """The tasks of an export; none of a file that is another. Problems are gathered."""
    where = show(path.name)
    try:
        text = read_file(path).decode("utf-8-sig")
        content = json.loads(text, object_hook=_pack)
    except (OSError, ValueError, RecursionError) as error:
        gathered.problems.append(f"{where}: not JSON ({error}); export it again")
        return []
    if not isinstance(content, list) or not all(isinstance(t, dict) for t in content):
        return []
    rows: dict[str, list[dict]] = defaultdict(list)
    for number, row in enumerate(content, 1):
        rows[str(row.get("id", number))].append(row)
    tasks = []
    for number, of_task in rows.items():
        label = f"{where}, task {show(number)}"
        try:
            if any("data" in row for row in of_task):
                tasks += [_parse_task(label, row) for row in of_task]
            else:
                tasks.append(_parse_rows(label, of_task))
        except MALFORMED as error:
            gathered.problems.append(f"{label}: {describe(error)}")
    return tasks


def _pack(content: dict) -> dict:
    """Bytes in place of a list of them, which takes eight times the memory."""
    rle = content.get("rle")
    if isinstance(rle, list) and all(type(v) is int and 0 <= v < 256 for v in rle):
        content["rle"] = bytes(rle)
    return content


def _parse_task(where: str, task: dict) -> Task:
    """A task of the full export, with the first annotation that is not cancelled."""
    data = task["data"]
    annotations = [a for key in ANNOTATIONS for a in task.get(key) or []]
    valid = [
        a for a in annotations if not a.get("was_cancelled") and not a.get("skipped")
    ]
    looked_for = data.get(LOOKED_FOR)
    return Task(
        where,
        _find_reference(data),
        _list_regions(valid[0]["result"]) if valid else None,
        re.split(r"[\s,;]+", looked_for.strip()) if looked_for else None,
        max(0, len(valid) - 1),
    )


def _parse_rows(where: str, rows: list[dict]) -> Task:
    """A task of JSON-MIN: a row for each annotation, a field in it for each tool."""
    results = []
    for tool in rows[0].values():
        for value in tool if isinstance(tool, list) else []:
            keys = value if isinstance(value, dict) else {}
            labels = [key for key in keys if key.endswith("labels")]
            if labels:
                named = {"id": len(results) + 1, "type": labels[0], "value": value}
                results.append(value | named)
    regions = _list_regions(results)
    return Task(where, _find_reference(rows[0]), regions, None, len(rows) - 1)


def _list_regions(results: list[dict]) -> list[Region]:
    """Regions with labels; one without is left out if another of its id has them."""
    regions = [region for region in map(parse, results) if region]
    named = {region.number for region in regions if region.labels}
    for region in regions:
        if not region.labels and region.number not in named:
            raise ValueError(f"region {show(region.number)}: no label; give it one")
    return [region for region in regions if region.labels]


def _find_reference(data: dict[str, Any]) -> str:
    """The URL of the picture among the fields of a task."""
    urls = {
        key: value
        for key, value in data.items()
        if isinstance(value, str) and find_path(value).suffix.lower() in SUFFIXES
    }
    if "image" in urls or len(urls) == 1:
        return urls.get("image") or next(iter(urls.values()))
    found = f"{len(urls)} fields name one" if urls else "no field names one"
    raise ValueError(f"which picture it is of is not certain: {found}")


def find_path(url: str) -> PurePosixPath:
    """The path that a URL speaks of: of local files what follows ?d=."""
    try:
        parts = urlsplit(url, allow_fragments=False)
    except ValueError:
        return PurePosixPath()
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    return PurePosixPath(compose(path.replace("\\", "/")))
