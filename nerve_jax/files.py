"""Files that people read: a reader finds the whole of one, or none."""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def write_whole(path: Path, content: bytes | str) -> None:
    """Write beside `path` and rename."""
    if isinstance(content, str):
        content = content.encode()
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_png(path: Path, pixels: UInt8[np.ndarray, "..."]) -> None:
    """Write a grey or RGB picture."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Write a CSV file."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    write_whole(path, buffer.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file, one dictionary a row."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
