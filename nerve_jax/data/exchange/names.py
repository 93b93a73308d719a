"""Names of pictures and structures, as other programs write them, made safe for files."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from nerve_jax.data.listing import compose, count_of, list_some
from nerve_jax.data.structures import name_structure
from nerve_jax.system.files import show

SHOWN = 20


def name_structures(labels: Iterable[str], problems: list[str]) -> dict[str, str]:
    """The structure of each label, by `structures.name_structure`.

    Two labels of one structure are a problem.

    Args:
      labels: as they are declared, each once.
      problems: gains what is wrong.
    """
    names: dict[str, str] = {}
    for label in labels:
        name = name_structure(label)
        if not name:
            problems.append(
                f"label {show(label)!r}: the name of a structure begins with a letter, and "
                "has letters a to z, digits and _; rename it"
            )
            continue
        if label in names:
            problems.append(f"label {show(label)!r} is declared twice; keep one")
        elif name in names.values():
            first = next(other for other, known in names.items() if known == name)
            problems.append(
                f"labels {show(first)!r} and {show(label)!r} are both structure {name}; "
                "rename one"
            )
        names[label] = name
    return names


def find_name_problem(file_name: str) -> str:
    """Why the name of a picture could lead out of its folder; "" if it does not."""
    parts = PurePosixPath(file_name).parts
    is_whole = file_name.startswith("/") or re.match("[A-Za-z]:", file_name)
    is_plain = file_name.isprintable() and "\\" not in file_name
    if parts and is_plain and not is_whole and ".." not in parts:
        return ""
    return (
        f"{show(file_name)!r}: no name of a picture below the folder, with / between "
        "folders and without ..; rename it"
    )


def name_picture(file_name: str) -> str:
    """The name of a picture in our layout: without its ending, folders joined by _.

    Args:
      file_name: its path below the folder of pictures, e.g. "p01/0007.png", which is
        p01_0007; a folder images/ in front does not count.
    """
    parts = PurePosixPath(compose(file_name)).parts
    inner = parts[1:] if len(parts) > 1 and parts[0] == "images" else parts
    return "_".join([*inner[:-1], PurePosixPath(inner[-1]).stem])


def find_clashes(names: Sequence[str]) -> list[str]:
    """Problems of names that are alike, or alike but for capitals, as on some disks."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.casefold()].append(name)
    return [
        f"{show(list_some(same))}: names that differ in capitals alone; rename"
        if len(set(same)) > 1
        else f"{show(same[0])}: {len(same)} entries of one picture; keep one"
        for same in alike.values()
        if len(same) > 1
    ]


def describe_missing(names: Sequence[str], folder: object) -> list[str]:
    """One problem that names pictures that are not there, `SHOWN` at most; or none."""
    if not names:
        return []
    are = "are" if len(names) > 1 else "is"
    listed = show(list_some(names, SHOWN))
    count = count_of(len(names), "picture")
    return [f"{count} with labels {are} not in {folder} or its images/: {listed}"]
