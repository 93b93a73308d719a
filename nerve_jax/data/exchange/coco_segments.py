"""Segmentations of COCO: polygons and run lengths as masks (pycocotools)."""

from numbers import Real
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool

from nerve_jax.data.exchange.entries import Gathered, Size
from nerve_jax.data.exchange.shapes import decode_counts
from nerve_jax.data.exchange.shapes import find_problem as find_runs_problem
from nerve_jax.system.extras import require


def get_library() -> ModuleType:
    return require("pycocotools.mask", "labels", "COCO JSON files")


def find_problem(found: Any, size: Size, where: str, gathered: Gathered) -> str:
    """Why a segmentation cannot be drawn; "" if it can, or where that is gathered."""
    if isinstance(found, dict):
        if found.get("size") != list(size):
            return f"run lengths of size {found.get('size')}, not {list(size)}"
        try:
            counts = found.get("counts")
            return find_runs_problem(
                read_counts(counts) if isinstance(counts, str) else counts, size
            )
        except (TypeError, ValueError) as error:
            return f"run lengths that cannot be read ({error})"
    if not found or not isinstance(found, list):
        return "a box without a segmentation is no outline; draw one"
    for corners in found:
        if not _is_polygon(corners):
            return "a polygon needs three corners or more, x and y of each"
        points = np.array(corners, np.float64).reshape(-1, 2)
        gathered.check_points(where, points, size)
    return ""


def _is_polygon(corners: Any) -> bool:
    is_list = isinstance(corners, list) and len(corners) >= 6 and len(corners) % 2 == 0
    return is_list and all(type(value) in (int, float) for value in corners)


def read_counts(text: str) -> list[int]:
    """Lengths of the runs of a compressed segmentation, down the columns.

    Groups of five bits, least first, each a character from "0" on; 32 marks that more
    follow, and the highest bit of the last is the sign. From the fourth on a length is
    the difference to the last but one.

    Raises:
      ValueError: another character, or an end inside a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) >> 4 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("they end inside a number")
    return counts


def draw(found: dict | list, size: Size) -> Bool[np.ndarray, "height width"]:
    """Draw a segmentation that has no problem, polygons as COCO's own library does."""
    counts = _rasterise(found, size) if isinstance(found, list) else found["counts"]
    counts = read_counts(counts) if isinstance(counts, str) else counts
    return decode_counts(counts, size[::-1]).T


def _rasterise(polygons: list[list[Real]], size: Size) -> str:
    """Run lengths of the union of polygons."""
    library = get_library()
    inside = [np.clip(np.reshape(c, (-1, 2)), 0, size[::-1]) for c in polygons]
    runs = library.frPyObjects([p.ravel().tolist() for p in inside], *size)
    return library.merge(runs)["counts"].decode()


def encode(mask: Bool[np.ndarray, "height width"]) -> dict:
    """A mask as an annotation holds it."""
    library = get_library()
    runs = library.encode(np.asfortranarray(mask, np.uint8))
    return {
        "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
        "area": int(library.area(runs)),
        "bbox": library.toBbox(runs).tolist(),
        "iscrowd": 0,
    }
