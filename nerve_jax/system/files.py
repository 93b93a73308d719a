"""Files that people read: a reader finds the whole of one, or none.

They may lie on a disk or in a bucket (gs://…), where an object appears whole by itself.
"""

import contextlib
import csv
import io
import json
import math
import os
import pathlib
import threading
import time
import unicodedata
import uuid
from collections.abc import Sequence

import numpy as np
from etils import epath
from jaxtyping import UInt
from PIL import Image

from nerve_jax.system.errors import InputError

LEFTOVER_SECONDS = 3600
PATTERN = "*?[\\"  # Orbax and tfds glob, and Orbax takes a backslash for a slash
Path = pathlib.Path | epath.Path  # on a disk, or in a bucket


def open_path(text: str, flag: str, *, plain: bool = False) -> Path:
    """The path that a flag or field names: on a disk, or in a bucket.

    Args:
      text: as given. On a disk ~ is the user's home and ~NAME another's, and a relative
        path begins at the current folder; the result is absolute.
      flag: what named it, for errors.
      plain: whether a library is to look for files there by a pattern.

    Raises:
      InputError: no path, one with control characters or bytes that are no UTF-8, the
        home of nobody, or one that is to be plain and holds a character of patterns.
    """
    if not text:
        raise InputError(f"{flag}: no path given")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise InputError(
            f"{flag}={show(text)}: a path with characters that cannot be printed; "
            "rename that folder"
        )
    if is_remote(text):
        path = epath.Path(text)
    else:
        expanded = os.path.expanduser(text)
        if expanded.startswith("~"):
            raise InputError(
                f"{flag}={text}: no such home; a folder of that name is ./{text}"
            )
        path = pathlib.Path(expanded).absolute()
    found = " or ".join(c for c in PATTERN if c in str(path))
    if plain and found:
        raise InputError(
            f"{flag}={path}: the libraries that read and write there take {found} for "
            "part of a pattern; name a folder without it"
        )
    return path


def open_local(text: str, flag: str, *, plain: bool = False) -> pathlib.Path:
    """As `open_path`, of what must be on a disk."""
    if is_remote(text):
        raise InputError(f"{flag}={text}: must be on a disk; copy it from the bucket")
    return open_path(text, flag, plain=plain)


def is_remote(path: Path | str) -> bool:
    """Whether a path is in a bucket."""
    return "://" in str(path)


def write_whole(path: Path, content: bytes | str, *, sync: bool = True) -> None:
    """Write beside `path` and rename.

    Names of files that are no UTF-8 are written with a backslash before their bytes.
    With `sync` the content is on the disk before it has its name, so that not even a
    power cut leaves a name without it.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    if is_remote(path):
        path.write_bytes(content)
        return
    beside = path.with_name(f".{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with beside.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # what a user knows it by
        raise
    finally:
        beside.unlink(missing_ok=True)


def create_whole(path: Path, content: str, mode: int = 0o666) -> bool:
    """Write a file unless there is one, which stays; whether it was written.

    In a bucket two runs that write at the very same moment may both think that they did.

    Args:
      path: of the file.
      content: of it.
      mode: who may read and write it, as far as the umask lets them; not in a bucket.
    """
    if is_remote(path):
        return not path.exists() and bool(path.write_text(content))
    beside = path.with_name(f".{os.getpid()}.{threading.get_ident()}.partial")
    try:
        beside.touch(mode)
        beside.write_text(content)
        try:
            os.link(beside, path)  # fails, unlike renaming, where another was first
        except FileExistsError:
            return False
        except OSError:  # a file system without links: whole but for a kill right now
            path.touch(mode, exist_ok=False)
            path.write_text(content)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def create_beside(path: pathlib.Path) -> pathlib.Path:
    """A new empty folder beside `path`, to be filled and renamed to it.

    Others may read it as far as the umask lets them, which a folder of `tempfile` denies.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    beside.mkdir()
    return beside


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder an hour ago or more."""
    if is_remote(folder):
        return
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()


def write_png(path: Path, pixels: UInt[np.ndarray, "..."]) -> None:
    """Write a picture, grey of 8 or 16 bits or RGB; there may be thousands, so none is waited for."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue(), sync=False)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def read_array(path: Path) -> np.ndarray:
    """Read an npy file; on a disk it is only mapped into memory."""
    if is_remote(path):
        return np.load(io.BytesIO(path.read_bytes()))
    return np.load(path, mmap_mode="r")


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Write a CSV file."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    write_whole(path, buffer.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file, one dictionary per row."""
    limit = csv.field_size_limit(2**31 - 1)  # run lengths of a large mask are long
    try:
        return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    finally:
        csv.field_size_limit(limit)


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file; made if it is not there."""
    if is_remote(path):  # objects cannot grow
        path.write_text((path.read_text() if path.exists() else "") + line + "\n")
        return
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def show(name: str) -> str:
    """A file's name on one line: what is not printable is spelt out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def write_json(path: Path, content) -> None:
    """Write JSON, indented; a number that is not finite becomes null."""
    write_whole(path, to_json(content, indent=2) + "\n")


def to_json(content, indent: int | None = None) -> str:
    """Encode as JSON; a number that is not finite becomes null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content):
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def read_json(path: Path):
    """Read a JSON file; raise `InputError` where it is none."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); mend or delete it") from error
