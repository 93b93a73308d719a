"""Resized frames on disk, so that a data set is decoded once and not at every start.

A folder holds an npy file for each array, mapped into memory when read, and one JSON
file for the texts. It is written beside and renamed, so it is whole or not there; it may
be deleted at any time.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

VERSION = 2  # of what is kept and how it is made; another one is not read


def read(folder: Path) -> dict | None:
    """Columns as `write` was given them; None where there are none whole of this version."""
    try:
        content = json.loads((folder / "texts.json").read_text())
        if content.pop("version") != VERSION:
            return None
        names = content.pop("arrays")
        columns = {name: tuple(values) for name, values in content.items()}
        for name in names:
            columns[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or damaged: made anew
    return columns


def write(folder: Path, columns: dict[str, np.ndarray | tuple[str, ...]]) -> None:
    """Keep columns, arrays and tuples of texts; where that is not possible, don't."""
    try:
        folder.parent.mkdir(exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError:
        return  # records on a read-only disk are decoded at every start
    try:
        texts = {name: v for name, v in columns.items() if isinstance(v, tuple)}
        arrays = sorted(columns.keys() - texts.keys())
        for name in arrays:
            np.save(beside / f"{name}.npy", columns[name], allow_pickle=False)
        content = {"version": VERSION, "arrays": arrays, **texts}
        (beside / "texts.json").write_text(json.dumps(content))
        if read(folder) is None:  # no other run was first, which may have it mapped
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(beside, folder)
    except OSError:  # a full disk, or another run was first
        pass
    finally:
        shutil.rmtree(beside, ignore_errors=True)
