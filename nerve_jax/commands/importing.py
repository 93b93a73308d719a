"""--mode=import: files off a scanner to a data set without names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nerve_jax.commands import labels
from nerve_jax.commands.request import Request
from nerve_jax.data.cleaning import Sector, find_clean_part, read_cleaned
from nerve_jax.data.exports import Source, list_exports, name_frames
from nerve_jax.data.frames_folder import name_problem
from nerve_jax.data.listing import count_of
from nerve_jax.data.pseudonyms import (
    choose_key_folder,
    create_pseudonym,
    load_or_create_key,
)
from nerve_jax.reports.imported import Result, draw_source, write_imported
from nerve_jax.system import claims, clusters
from nerve_jax.system.console import say, track
from nerve_jax.system.errors import InputError, RunError, list_problems, sum_up
from nerve_jax.system.files import write_png

TABLES = ("subjects.csv", "imported.csv", "imported.html")


def run(request: Request) -> None:
    """Run the command."""
    clusters.check_alone("import")
    if request.labels:
        if request.keep_marked:
            raise InputError(
                "--keep_marked does not go with --labels, which looks for no text"
            )
        labels.convert(request.input_folder, request.output_folder, request.labels)
        return
    import_folder(
        request.input_folder, request.output_folder, keep_marked=request.keep_marked
    )


def import_folder(
    input_dir: Path, output_dir: Path, *, keep_marked: bool = False
) -> list[Result]:
    """Make a data set of the layout `folder` of all that lies in and below a folder.

    Writes `images/`, frames cut to the sector and black beside it; `subjects.csv`;
    `imported.csv`, a row per source; and `imported.html`, pictures before and after. The
    originals are not changed; the key of the pseudonyms is put beside them.

    Args:
      input_dir: pictures, DICOM files and clips, in folders of any depth.
      output_dir: new or empty, or of an earlier import.
      keep_marked: write frames in which text remains inside the sector, too.

    Raises:
      InputError: no such folder, nothing in it that is read, or an output folder that is
        somebody else's.
      RunError: some sources could not be read; all others are imported.
    """
    claims.check_apart(output_dir, input_dir)
    sources = list_exports(input_dir)
    names = {f"images/{name}.png" for s in sources for _, name in name_frames(s)}
    claims.check_alone(output_dir, "import", {*names, *TABLES}, flag="--output")
    claims.remove_own(output_dir, "import")
    claims.claim(output_dir, "import", {*names, *TABLES}, flag="--output")
    (output_dir / "images").mkdir(exist_ok=True)
    key = load_or_create_key(choose_key_folder(input_dir, output_dir.parent))
    results = [
        _import_source(source, output_dir, key, keep_marked)
        for source in track(sources, "importing", len(sources))
    ]
    write_imported(output_dir, results)
    claims.seal(output_dir, "import")
    _summarise(results, output_dir)
    return results


def _import_source(
    source: Source, output_dir: Path, key: bytes, keep_marked: bool
) -> Result:
    """Clean a source and write its frames; those of one that is damaged are removed."""
    names = dict(name_frames(source))
    if not names:
        return Result(source, source.reason, source.is_broken)
    try:
        sector = find_clean_part(source.medium)
        if not sector.inside.any():
            return Result(source, "no scanned sector found")
        result, after = _write_frames(source, sector, output_dir, keep_marked)
    except (OSError, ValueError) as error:
        for name in names.values():
            (output_dir / "images" / f"{name}.png").unlink(missing_ok=True)
        return Result(source, name_problem(error), is_broken=True)
    return result._replace(
        subject=_name_subject(source, key),
        box=sector.box,
        share=1 - float(sector.inside.mean()),
        pictures=draw_source(sector, after),
    )


def _write_frames(
    source: Source, sector: Sector, output_dir: Path, keep_marked: bool
) -> tuple[Result, np.ndarray | None]:
    """Write frames; return what became of them, and the first that was written."""
    names, after = dict(name_frames(source)), None
    written, marked = [], []
    for number, image, has_text in read_cleaned(source.medium, sector):
        if has_text:
            marked.append(number)
        if keep_marked or not has_text:
            write_png(output_dir / "images" / f"{names[number]}.png", image)
            after = image if after is None else after
            written.append(number)
    reason = ""
    if marked:
        count = f"{len(marked)} of {count_of(len(names), 'frame')}"
        reason = f"text remains inside the sector in {count}"
    result = Result(source, reason, written=tuple(written), marked=tuple(marked))
    return result, after


def _name_subject(source: Source, key: bytes) -> str:
    """A pseudonym of what the header or else the folder says; else the name says it."""
    if source.medium.person:
        return create_pseudonym(source.medium.person, key)
    if source.place:
        return create_pseudonym(f"folder {source.place}", key)
    return source.name.split("_")[0]


def _summarise(results: Sequence[Result], output_dir: Path) -> None:
    """Say what was imported, and raise `RunError` where sources could not be read."""
    written = sum(len(result.written) for result in results)
    whole = sum(bool(result.written) for result in results)
    people = len({result.subject for result in results if result.written})
    say(
        f"{count_of(written, 'frame')} of {count_of(whole, 'source')}, "
        f"{people} {'people' if people != 1 else 'person'}; wrote {output_dir}/images/, "
        "subjects.csv, imported.csv and imported.html: look at it before you pass "
        "anything on"
    )
    partly = [f"{r.source.shown}: {r.reason}" for r in results if r.reason]
    if partly:
        say(f"not imported, or not all of it:\n{list_problems(sum_up(partly))}")
    broken = [result for result in results if result.is_broken]
    if broken:
        raise RunError(
            f"{len(broken)} of {count_of(len(results), 'source')} could not be read; the "
            f"others are imported. All are listed in {output_dir / 'imported.csv'}"
        )
