"""What an import says of itself: its tables, and a page of before and after."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nerve_jax.data.cleaning import Sector
from nerve_jax.data.exports import Source, name_frames
from nerve_jax.data.listing import SUBJECT_COLUMNS
from nerve_jax.data.marks import is_marked
from nerve_jax.data.media import Medium
from nerve_jax.data.sector import mosaic
from nerve_jax.reports.html import picture_uri, render
from nerve_jax.system.files import write_table, write_whole

CELL_PX, CELLS = 24, 16  # of what is made illegible: at least so large, so many a side
IMPORTED = (
    "source",
    "kind",
    "clip",
    "subject",
    "scanner",
    "spacing_y_mm",
    "spacing_x_mm",
    "frames",
    "written",
    "top",
    "left",
    "bottom",
    "right",
    "removed",
    "marked",
    "reason",
)
SHOWN = 300  # sources with pictures; a page of more is too large to open


class Result(NamedTuple):
    """What became of a source.

    Attributes:
      source: that it is of.
      reason: why frames are missing; "" where none is.
      is_broken: whether it could not be read.
      subject: the person's pseudonym.
      box: of the sector: top, left, bottom, right; () where it was not found.
      share: of a frame, that lies outside the sector.
      written: numbers of the frames that were written.
      marked: numbers of those in which text remains.
      pictures: of a frame before and one after, for the page.
    """

    source: Source
    reason: str = ""
    is_broken: bool = False
    subject: str = ""
    box: tuple[int, ...] = ()
    share: float = 0.0
    written: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()
    pictures: tuple[str, ...] = ()


def draw_source(sector: Sector, after: np.ndarray | None) -> tuple[str, ...]:
    """A frame as it came, what is removed made illegible, and one as it was written.

    Where text remains inside the sector, all of the first is illegible.
    """
    legible = sector.inside.copy()
    if is_marked(sector.sample, sector.inside, sector.standing):
        legible[:] = False
    cell = max(CELL_PX, sector.sample.shape[0] // CELLS)
    before = mosaic(sector.sample, legible, cell)
    pictures = (picture_uri(before, prediction=sector.inside),)
    return pictures if after is None else (*pictures, picture_uri(after))


def write_imported(output_dir: Path, results: Sequence[Result]) -> None:
    """Write subjects.csv, imported.csv and imported.html."""
    write_table(
        output_dir / "subjects.csv",
        SUBJECT_COLUMNS,
        [row for result in results for row in _list_frames(result)],
    )
    rows = [_describe(result) for result in results]
    write_table(output_dir / "imported.csv", IMPORTED, rows)
    entries = [
        dict(zip(IMPORTED, row, strict=True)) | {"pictures": result.pictures}
        for row, result in zip(rows, results, strict=True)
    ]
    page = render("import.html", title="Import", entries=entries, num_shown=SHOWN)
    write_whole(output_dir / "imported.html", page)


def _list_frames(result: Result) -> Iterator[tuple]:
    """Rows of subjects.csv."""
    medium, names = result.source.medium, dict(name_frames(result.source))
    for number in result.written:
        clip = result.source.name if medium.is_clip else ""
        yield (
            names[number],
            result.subject,
            medium.scanner,
            clip,
            *_show_spacing(medium),
        )


def _show_spacing(medium: Medium) -> list[str]:
    """Height and width of a pixel as the tables have them, empty where unknown."""
    return ["" if np.isnan(mm) else f"{mm:.5f}" for mm in medium.spacing_mm]


def _describe(result: Result) -> tuple:
    """A row of imported.csv."""
    source, medium = result.source, result.source.medium
    removed = []
    if result.box:
        removed.append(f"{result.share:.0%} of each frame, outside the sector")
    if medium is not None and medium.kind == "dicom":
        removed.insert(0, "the header")
    return (
        source.shown,
        medium.kind if medium else "",
        source.name if result.written else "",
        result.subject,
        medium.scanner if medium else "",
        *(_show_spacing(medium) if medium else ("", "")),
        medium.num_frames if medium else "",
        len(result.written),
        *(result.box or ("", "", "", "")),
        " and ".join(removed),
        _show_ranges(result.marked),
        "; ".join(filter(None, (result.reason, *(medium.remarks if medium else ())))),
    )


def _show_ranges(numbers: Sequence[int]) -> str:
    """Numbers in rising order, those that follow each other as "3-17"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
