"""Tables that people write: of subjects, and of Kaggle's run lengths.

A table may come from a spreadsheet: parted by commas, semicolons or tabs, in UTF-8,
UTF-16 or the code page of Windows, with capitals and blanks in its header.
"""

import csv
import dataclasses
import difflib
import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from nerve_jax.data.listing import (
    SPACING_COLUMNS,
    SUBJECT_COLUMNS,
    compose,
    list_some,
    loosen,
)
from nerve_jax.data.media.medium import LARGEST_MM, SMALLEST_MM
from nerve_jax.data.media.numbered import read_number
from nerve_jax.data.structures import name_structure
from nerve_jax.data.ultrasound_nerve.sources import (
    UNREADABLE,
    SourceFile,
    SourceFrame,
)
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

DELIMITERS = ",;\t|"
STRUCTURES_COLUMN = "structures_labelled"  # those that were looked for, of all shown


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a table.

    Attributes:
      rows: for each row that is not blank its line, counted from 1, and its cells by
        column, without blanks around them.
      unknown: columns that are not read.
    """

    rows: list[tuple[int, dict[str, str]]]
    unknown: list[str]


def read_table(
    file: SourceFile, required: Sequence[str], columns: Collection[str] = ()
) -> Table:
    """Read a table.

    Args:
      file: the table.
      required: columns that must be there.
      columns: all that are read, where more than the required.

    Raises:
      InputError: not a table, a column is missing, there twice or nearly spelt as one
        that is read, or a row has more cells than the header.
    """
    try:
        text = _decode(file.read())
        parted = _part(text)
        header = next(parted, (0, []))[1]
        lines = list(parted)
    except UNREADABLE as error:
        raise InputError(f"{file}: not a table ({error}); mend it") from error
    names = [re.sub(r"\s+", "_", name.strip().casefold()) for name in header]
    unknown = _check_columns(
        file, names, required, list(dict.fromkeys([*required, *columns]))
    )
    rows = []
    for line, cells in lines:
        cells = [compose(cell.strip()) for cell in cells]
        if any(cells[len(names) :]):
            raise InputError(
                f"{file}, line {line}: {len(cells)} cells, but {len(names)} columns; put "
                "numbers with a decimal comma in quotes, or write a point"
            )
        rows.append((line, dict.fromkeys(names, "") | dict(zip(names, cells))))
    return Table([row for row in rows if any(row[1].values())], unknown)


def _decode(content: bytes) -> str:
    """Text in any of the encodings that spreadsheets write."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if b"\0" in content:
        half = "le" if b"\0" in content[1::2] else "be"
        text = content.decode(f"utf-16-{half}", errors="strict")
        if "\0" in text or not any(d in text for d in DELIMITERS):
            raise ValueError("it holds zero bytes")
        return text
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _part(text: str) -> Iterable[tuple[int, list[str]]]:
    """Lines that are not blank, by number, in cells; a mark `sep=;` is heeded."""
    lines = text.splitlines()
    marks = [
        line
        for line in lines[:1]
        if re.fullmatch(r"sep=.", line.strip(), re.IGNORECASE)
    ]
    header = next((line for line in lines[len(marks) :] if line.strip()), "")
    delimiter = marks[0].strip()[-1] if marks else max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for cells in reader:
        marked = marks and reader.line_num == 1
        if any(cell.strip() for cell in cells) and not marked:
            yield reader.line_num, cells


def _check_columns(file, names, required, known) -> list[str]:
    """Raise unless the columns fit; return those that are not known."""
    found = f"its first line has: {show(list_some(names, 8)) or 'nothing'}"
    if missing := [c for c in required if c not in names]:
        raise InputError(
            f"{file}: no column {', '.join(missing)}; {found}. Name its columns "
            f"{','.join(known)}"
        )
    if twice := sorted({c for c in names if c and names.count(c) > 1}):
        raise InputError(
            f"{file}: column {', '.join(map(show, twice))} is there twice; keep one"
        )
    unknown = [name for name in names if name and name not in known]
    for name in unknown:
        near = difflib.get_close_matches(name, known, cutoff=0.7)
        if near:
            near = [column for column in near if column not in names] or near
            both = "Write both, equal where pixels are square"
            raise InputError(
                f"{file}: column {show(name)} is not known; is it {' or '.join(near)}? "
                f"{'Name it so' if len(near) == 1 else both}; or take it away"
            )
    return unknown


def read_runs(table: SourceFile) -> dict[str, str]:
    """Run lengths of each mask of Kaggle's `train_masks.csv`, by the frame's name."""
    rows = read_table(table, ("subject", "img", "pixels")).rows
    return {f"{row['subject']}_{row['img']}": row["pixels"] for _, row in rows}


def apply_subjects(
    frames: list[SourceFrame],
    file: SourceFile,
    problems: list[str],
    column: str = "frame",
) -> tuple[list[SourceFrame], list[str]]:
    """Give frames the subjects, scanners, clips and spacings of a table.

    Args:
      frames: of the data set. What a table leaves empty stays as their files say.
      file: the table, `frame,subject` and, if known, the other `SUBJECT_COLUMNS` and
        `STRUCTURES_COLUMN`; a frame is named with or without its ending, a number with
        point or comma.
      problems: all that is wrong with the table is added here.
      column: that names what a row is about: "frame", or "clip" for all of its frames.

    Returns:
      The frames that have a row, and the names of columns that were not read.

    Raises:
      InputError: it is no such table.
    """
    columns = [name for name in SUBJECT_COLUMNS if name != "frame"]
    columns.append(STRUCTURES_COLUMN)
    table = read_table(file, (column, "subject"), [column, *columns])
    rows = _find_rows(frames, table, file, problems, column)
    without = dict.fromkeys(str(f.image) for f in frames if f.frame not in rows)
    problems += [
        f"{file}: no row for {image}; add one, or take the frame away"
        for image in without
    ]
    named = [
        _fill_in(f, rows[f.frame][1], f"{file}, line {rows[f.frame][0]}", problems)
        for f in frames
        if f.frame in rows
    ]
    spelt = find_spellings(f.subject for f in named)
    problems += [f"{file}: {text}; spell one person in one way" for text in spelt]
    spelt = find_spellings((f.scanner for f in named), "scanner")
    problems += [f"{file}: {text}; spell one scanner in one way" for text in spelt]
    lines = {frame: line for frame, (line, _) in rows.items()}
    problems += [f"{file}, {text}" for text in _find_torn_clips(named, lines)]
    return named, table.unknown


def _find_rows(
    frames: list[SourceFrame],
    table: Table,
    file: SourceFile,
    problems: list[str],
    column: str,
) -> dict[str, tuple[int, dict[str, str]]]:
    """The line and the row of each frame; problems of rows that have none are added."""
    named = _find_names(frames)
    loose = {loosen(name): name for name in named}
    found: dict[str, tuple[int, dict[str, str]]] = {}
    for line, row in table.rows:
        where, name = f"{file}, line {line}", re.split(r"[\\/]", row[column])[-1]
        meant = named.get(name)
        if meant is None:
            near = loose.get(loosen(name))
            hint = (
                f"is it {near!r}? A spreadsheet drops zeros"
                if near
                else "take the row away"
            )
            problems.append(f"{where}: no {column} {row[column]!r} there; {hint}")
        elif not meant.isdisjoint(found):
            problems.append(
                f"{where}: {column} {row[column]!r} for the second time; keep one row"
            )
        elif not row["subject"]:
            problems.append(f"{where}: no subject; name the person")
        else:
            found |= dict.fromkeys(meant, (line, row))
    return found


def _find_names(frames: list[SourceFrame]) -> dict[str, set[str]]:
    """What a row may name, and the frames that it means: a clip stands for all of its."""
    named: dict[str, set[str]] = defaultdict(set)
    for f in frames:
        whole = f.medium is not None or not f.clip  # else its file is one of a folder's
        names = {f.frame, f.clip, compose(f.image.name.name) if whole else ""}
        for name in names - {""}:
            named[name].add(f.frame)
    return named


def _fill_in(
    frame: SourceFrame, row: dict[str, str], where: str, problems: list[str]
) -> SourceFrame:
    """The frame with what its row says on top of what its file says."""
    cells = [row.get(column, "") for column in SPACING_COLUMNS]
    return dataclasses.replace(
        frame,
        subject=row["subject"],
        scanner=row.get("scanner") or frame.scanner,
        clip=row.get("clip") or frame.clip,
        number=frame.number or read_number(frame.frame) or 0,
        spacing_mm=_parse_spacing(cells, where, problems) or frame.spacing_mm,
        structures_labelled=_parse_structures(
            row.get(STRUCTURES_COLUMN, ""), frame, where, problems
        ),
    )


def _parse_structures(
    cell: str, frame: SourceFrame, where: str, problems: list[str]
) -> tuple[str, ...]:
    """Names parted by blanks, commas or semicolons; the frame's masks can show each."""
    names = [
        (text, name_structure(text)) for text in re.split(r"[\s,;]+", cell) if text
    ]
    there = list_some(frame.structures) or "none"
    for text in [text for text, name in names if name not in frame.structures]:
        problem = (
            f"{where}: {STRUCTURES_COLUMN} has {show(text)}, but the masks there can show: "
            f"{there}. Add masks of it, or take the name away"
        )
        if problem not in problems:  # of another frame of the clip
            problems.append(problem)
    return tuple(dict.fromkeys(name for _, name in names))


def _find_torn_clips(frames: list[SourceFrame], lines: dict[str, int]) -> list[str]:
    """Clips of two subjects or of two scanners, in words, each once."""
    torn: dict[tuple[str, str], str] = {}
    first: dict[tuple[str, str], tuple[str, int]] = {}
    for f in frames:
        for column, name in (("subject", f.subject), ("scanner", f.scanner)):
            line = lines[f.frame]
            if not (f.clip and name):
                continue
            other, there = first.setdefault((f.clip, column), (name, line))
            if other != name:
                torn.setdefault(
                    (f.clip, column),
                    f"line {line}: clip {f.clip!r} is of {column} {name!r}, but of "
                    f"{other!r} in line {there}; name one {column} for one clip",
                )
    return list(torn.values())


def find_spellings(names: Iterable[str], column: str = "subject") -> list[str]:
    """Names of a column that look like one spelt in several ways, in words."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[loosen(name)].add(name)
    one = "person" if column == "subject" else column
    return [
        f"{column}s {' and '.join(map(repr, sorted(same)))} look like one {one}"
        for same in spellings.values()
        if len(same) > 1
    ]


def _parse_spacing(
    cells: list[str], where: str, problems: list[str]
) -> tuple[float, float] | None:
    """Height and width of a pixel; None where the cells are empty, or wrong."""
    if not any(cells):
        return None
    try:
        y, x = (float(cell.replace(",", ".")) for cell in cells)
    except ValueError:
        y = x = 0.0
    if not (0 < y < float("inf") and 0 < x < float("inf")):
        problems.append(
            f"{where}: spacing {tuple(cells)} is not two positive numbers of mm; write "
            "both, or leave both empty"
        )
    elif not (SMALLEST_MM <= min(y, x) and max(y, x) <= LARGEST_MM):
        problems.append(
            f"{where}: spacing {tuple(cells)} is not the size of a pixel in mm, "
            f"{SMALLEST_MM} to {LARGEST_MM:g}; correct both, or leave both empty"
        )
    else:
        return y, x
    return None
