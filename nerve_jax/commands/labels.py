"""--mode=import --labels=FORMAT: labels of other programs, in and out."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nerve_jax.data.exchange import own
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.data.exchange.pictures import Labelled
from nerve_jax.data.listing import SUBJECT_COLUMNS, count_of
from nerve_jax.data.outlines import show_tuple
from nerve_jax.data.ultrasound_nerve.layouts import IMPORTED
from nerve_jax.system import claims
from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import create_beside, write_table

SUBJECTS = "subjects.csv"
COPIED = (SUBJECTS, IMPORTED)  # who is who, and whether frames were cut


def convert(input_dir: Path, output_dir: Path, name: str) -> None:
    """Turn a folder of our own layout into one of another format, or the other way round.

    Which of both, the input says: it is our own if it has images/ or clips/, and pictures
    in masks/. The output is written whole or not at all; subjects.csv and imported.csv
    are copied; where frames of clips and of DICOM files become pictures, subjects.csv is
    written of what is known of each.

    Args:
      input_dir: of our own layout, or of that format.
      output_dir: new or empty, or of an earlier import.
      name: of a format.

    Raises:
      InputError: no such format or folder, an output folder that is somebody else's, or
        labels that cannot be read or expressed; lists all that is wrong with them.
    """
    if name not in FORMATS:
        raise InputError(f"--labels={name} is not one of: {', '.join(FORMATS)}")
    if not input_dir.is_dir():
        mend = "name the folder it lies in" if input_dir.exists() else "no such folder"
        raise InputError(f"{input_dir}: {mend} (--input)")
    claims.check_apart(output_dir, input_dir)
    claims.check_alone(output_dir, "import", (), flag="--output")
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    beside, counts = create_beside(output_dir), Counts()
    is_export = own.is_own(input_dir)
    try:
        (_write_format if is_export else _write_own)(input_dir, beside, name, counts)
        _put(beside, output_dir)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    say(f"{counts}; wrote {output_dir}")
    if not is_export:
        say(_explain_training(output_dir, list(counts.structures)))


def _write_format(input_dir: Path, folder: Path, name: str, counts: "Counts") -> None:
    """Fill a folder of a format from one of our own layout."""
    source = own.open_folder(input_dir)
    say(*source.remarks)
    FORMATS[name].write(folder, counts.watch(source.frames), source.structures)
    _copy_tables(input_dir, folder)
    if source.subjects:
        write_table(folder / SUBJECTS, SUBJECT_COLUMNS, source.subjects)


def _write_own(input_dir: Path, folder: Path, name: str, counts: "Counts") -> None:
    """Fill a folder of our own layout from one of a format."""
    own.write(folder, counts.watch(FORMATS[name].read(input_dir)))
    _copy_tables(input_dir, folder)


def _copy_tables(input_dir: Path, folder: Path) -> None:
    for table in COPIED:
        if (input_dir / table).is_file():
            shutil.copyfile(input_dir / table, folder / table)


def _explain_training(folder: Path, structures: Sequence[str]) -> str:
    """How to go on with a folder of our own layout."""
    return (
        "to train on it: --config.data.name=ultrasound_nerve/folder "
        f"--config.data.manual_dir={folder} "
        f"--config.data.structures='{show_tuple(structures)}'"
    )


class Counts:
    """How many frames pass, how many of them are labelled, and for which structures."""

    def __init__(self) -> None:
        """None has passed yet."""
        self.frames = self.labelled = 0
        self.structures: dict[str, None] = {}

    def watch(self, frames: Iterable[Labelled]) -> Iterator[Labelled]:
        """Give each frame on, and count it."""
        for frame in frames:
            self.frames += 1
            self.labelled += bool(frame.masks)
            self.structures |= dict.fromkeys(frame.masks)
            yield frame

    def __str__(self) -> str:
        """For instance "12 frames, 10 of them labelled: nerve, vessel"."""
        structures = ", ".join(self.structures)
        count = count_of(self.frames, "frame")
        return f"{count}, {self.labelled} of them labelled: {structures}"


def _put(beside: Path, output_dir: Path) -> None:
    """Move what was written to its place, in which nobody else's files may be."""
    paths = [path for path in sorted(beside.rglob("*")) if path.is_file()]
    names = {path.relative_to(beside).as_posix() for path in paths}
    claims.check_alone(output_dir, "import", names, flag="--output")
    claims.remove_own(output_dir, "import")
    claims.claim(output_dir, "import", names, flag="--output")
    for path in paths:
        place = output_dir / path.relative_to(beside)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
    claims.seal(output_dir, "import")
