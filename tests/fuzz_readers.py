"""Coverage-guided fuzzing of what reads strangers' files: frames, masks, tables, runs.

pip install -e '.[fuzz]'
python tests/fuzz_readers.py -runs=100000
"""

import io
import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np
from PIL import Image

with atheris.instrument_imports(include=["nerve_jax", "PIL"]):
    from nerve_jax.data import rle
    from nerve_jax.data.frames import read_image
    from nerve_jax.data.labels import read_mask
    from nerve_jax.data.ultrasound_nerve.sources import SourceFile
    from nerve_jax.data.ultrasound_nerve.tables import apply_subjects
    from nerve_jax.system.errors import InputError

TABLE = Path(tempfile.mkdtemp()) / "subjects.csv"


def read_one(content: bytes) -> None:
    """Anything but a frame, a mask, a table or an error in words is a finding."""
    for read in (read_image, read_mask):
        try:
            found = read(content)
        except ValueError:
            continue
        if found.ndim != 2 or not found.size:
            raise AssertionError(f"{read.__name__}: {found.shape}")
    TABLE.write_bytes(content)
    problems: list[str] = []
    try:
        apply_subjects([], SourceFile(TABLE), problems)
    except InputError:
        pass
    try:
        rle.decode(content.decode("latin-1"), 7, 9)
    except ValueError:
        pass


def write_seeds(folder: Path) -> None:
    """A small file of each kind to begin with."""
    grey = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    for kind in ("PNG", "TIFF", "JPEG", "BMP"):
        for mode in ("L", "RGB", "P" if kind in ("PNG", "BMP", "TIFF") else "L"):
            buffer = io.BytesIO()
            grey.convert(mode).save(buffer, format=kind)
            (folder / f"{kind}_{mode}").write_bytes(buffer.getvalue())
    (folder / "table").write_text("frame,subject\na,b\n")
    (folder / "runs").write_text("1 3 9 2")


def main() -> None:
    """Fuzz until the runs that were asked for are over."""
    seeds = Path(tempfile.mkdtemp())
    write_seeds(seeds)
    atheris.Setup([*sys.argv, str(seeds)], read_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
