"""structures.csv: what the values of label maps mean."""

import re
from collections import defaultdict

from nerve_jax.data.labels import HIGHEST, Values
from nerve_jax.data.mask_values import Colour, show_value
from nerve_jax.data.structures import name_structure
from nerve_jax.data.ultrasound_nerve.sources import SourceFile
from nerve_jax.data.ultrasound_nerve.tables import read_table
from nerve_jax.system.files import show

BACKGROUND = ("", "background", "bg", "none", "nothing")


def read_structures(file: SourceFile, problems: list[str]) -> Values:
    """Read the table: `value,name`, a value a number or a colour as #ff0000.

    A row of 0 or #000000 may name the background, which has no mask.

    Args:
      file: the table.
      problems: all that is wrong with its rows is added here.

    Returns:
      The value of each structure by its name, in order of the rows.

    Raises:
      InputError: it is no such table.
    """
    found: list[tuple[int, int | Colour, str]] = []
    for line, row in read_table(file, ("value", "name")).rows:
        value, problem = _parse(row["value"])
        name = name_structure(row["name"])
        where = f"{file}, line {line}"
        is_black = value in (0, (0, 0, 0))
        if problem:
            problems.append(f"{where}: {problem}")
        elif is_black and row["name"].casefold() not in BACKGROUND:
            problems.append(
                f"{where}: {show(row['value'])} is the background and cannot be "
                f"{show(row['name'])}; take the row away, or correct its value"
            )
        elif not name and not is_black:
            problems.append(
                f"{where}: value {show_value(value)} without a name; a name begins with a "
                "letter and has letters, digits and _"
            )
        elif not is_black:
            found.append((line, value, name))
    problems += _find_twice(file, found)
    if len({isinstance(value, tuple) for _, value, _ in found}) > 1:
        problems.append(f"{file}: both numbers and colours; write one kind of value")
        return {}
    if not found and not problems:
        problems.append(f"{file}: no structures in it; write rows value,name")
    return {name: value for _, value, name in found}


def _parse(text: str) -> tuple[int | Colour, str]:
    """A value, and what is wrong with its text or ""."""
    if matched := re.fullmatch(r"#([0-9a-fA-F]{6})", text):
        red, green, blue = bytes.fromhex(matched[1])
        return (red, green, blue), ""
    matched = re.fullmatch(r"(\d{1,9})([.,]0+)?", text)
    if matched and int(matched[1]) <= HIGHEST:
        return int(matched[1]), ""
    if not text:
        return -1, "a name without a value; write the number or colour that marks it"
    return -1, (
        f"value {show(text)!r} is no whole number from 0 to {HIGHEST} and no colour as "
        "#ff0000"
    )


def _find_twice(
    file: SourceFile, found: list[tuple[int, int | Colour, str]]
) -> list[str]:
    """Values and names of several rows, in words."""
    lines: dict[str, list[str]] = defaultdict(list)
    for line, value, name in found:
        lines[f"value {show_value(value)}"].append(str(line))
        lines[f"name {name}"].append(str(line))
    return [
        f"{file}, lines {' and '.join(numbers)}: {what} is there twice; keep one row"
        for what, numbers in lines.items()
        if len(numbers) > 1
    ]
