"""Names and paths that other programs write: made safe for files, and found again."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nerve_jax.data.frames import read_file
from nerve_jax.data.listing import compose, list_some
from nerve_jax.data.structures import name_structure
from nerve_jax.system.files import show

LABELLED = "structures_labelled"  # the field for what was looked for in a picture
# What the content of a file raises that is not as its program writes it.
MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


def describe(error: Exception) -> str:
    """One of `MALFORMED` in words; a `ValueError` or `OSError` has them already."""
    if type(error) is ValueError or isinstance(error, OSError):
        return show(str(error))
    return f"not as its program writes it ({type(error).__name__}: {show(str(error))})"


def read_json(path: Path, hook: Callable[[dict], dict] | None = None) -> Any:
    """Read a JSON file; raise `ValueError` for another, or `OSError`. `hook` is given each object."""
    try:
        return json.loads(read_file(path).decode("utf-8-sig"), object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}); export it again") from error


def name_structures(labels: Iterable[str], problems: list[str]) -> dict[str, str]:
    """The structure of each label, by `structures.name_structure`.

    Two labels of one structure are a problem, and so is a label that no name can be made
    of, which then stands for itself.

    Args:
      labels: as they are declared, each once.
      problems: gains what is wrong.
    """
    names: dict[str, str] = {}
    for label in labels:
        name = name_structure(label)
        same = [other for other, known in names.items() if known == name]
        if not name:
            problems.append(
                f"label {show(label)!r}: the name of a structure begins with a letter, and "
                "has letters a to z, digits and _; rename it"
            )
        elif label in names:
            problems.append(f"label {show(label)!r} is declared twice; keep one")
        elif same:
            problems.append(
                f"labels {show(same[0])!r} and {show(label)!r} are both structure {name}; "
                "rename one"
            )
        names[label] = name or label
    return names


def read_names(field: Any) -> list[str] | None:
    """The names in a field `LABELLED`, a text or a list; None where it says nothing."""
    if field is None or field == "":
        return None
    names = re.split(r"[\s,;]+", field) if isinstance(field, str) else list(field)
    return [name for name in names if name]


def select(structures: Iterable[str], field: Any) -> list[str]:
    """Those structures that a field `LABELLED` names; all where it says nothing."""
    wanted = read_names(field)
    return [name for name in structures if wanted is None or name in wanted]


def check_name(file_name: str) -> None:
    """Raise `ValueError` where the name of a picture could lead out of its folder."""
    parts = PurePosixPath(file_name).parts
    is_whole = file_name.startswith("/") or re.match("[A-Za-z]:", file_name)
    is_plain = file_name.isprintable() and "\\" not in file_name
    if not parts or not is_plain or is_whole or ".." in parts:
        raise ValueError(
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


def name_file(path: str) -> str:
    """The last part of a path."""
    return PurePosixPath(path).name


def group(names: Iterable[str], key: Callable[[str], str]) -> Mapping[str, list[str]]:
    """Names by what `key` makes of each; none for what is not there."""
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def choose(candidates: Sequence[str], reference: str) -> str:
    """The picture that a reference means, out of those whose names fit.

    Args:
      candidates: keys of `find_pictures`, one or more.
      reference: a path; the folders that it ends with decide between several.

    Raises:
      ValueError: it may mean more than one of them.
    """
    whole = f"/{reference}"
    fitting = [name for name in candidates if whole.endswith(f"/{name}")]
    for found in (candidates, fitting):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"picture {show(reference)!r} may be any of {show(list_some(candidates))}; give "
        "pictures names of their own"
    )
