"""Frames that show the same view: equal ones, and ones so alike that they may as well.

Frames are compared as thumbnails without their slow changes of brightness (which all
ultrasound frames share, near bright and far dark), by correlation, all with all in one
matrix product. In the default phantom no two of different people correlate above 0.46,
neighbours in a sweep up to 0.99.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage, sparse
from scipy.sparse import csgraph

NEAR_DUPLICATE = 0.9  # correlation from which frames are of one person, a moment apart
SAME_VIEW = 0.99  # and from which their labels should agree
SMOOTHING_PX = 6.0  # of the thumbnail; slower changes are left out
BLANK_GREY = 2.0  # a thumbnail that varies less, in grey values, shows nothing
ROWS_AT_A_TIME = 1024


class Pair(NamedTuple):
    """Two frames of the same view, by position; the first stands before the second."""

    first: int
    second: int
    similarity: float
    exact: bool


def find_duplicates(
    thumbnails: UInt8[np.ndarray, "frames rows columns"], digests: Sequence[str]
) -> list[Pair]:
    """Find all pairs of equal or nearly equal frames.

    Args:
      thumbnails: of each frame.
      digests: of each frame's original pixels; equal for equal frames.

    Returns:
      Pairs in order of position. `exact` ones have equal digests and similarity 1; the
      others correlate by `NEAR_DUPLICATE` or more. Blank frames say nothing of who was
      scanned: they pair with none, not even when equal.
    """
    normal = _normalise(thumbnails)
    shown = np.flatnonzero(normal.any(1))
    pairs = {pair: (1.0, True) for pair in _equal_pairs(digests, shown.tolist())}
    for start in range(0, len(thumbnails), ROWS_AT_A_TIME):
        block = normal[start : start + ROWS_AT_A_TIME] @ normal.T
        rows, columns = np.nonzero(block >= NEAR_DUPLICATE)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if start + row < column:
                near = (min(float(block[row, column]), 1.0), False)
                pairs.setdefault((start + row, column), near)
    return [Pair(*where, *found) for where, found in sorted(pairs.items())]


def _equal_pairs(digests: Sequence[str], places: list[int]) -> list[tuple[int, int]]:
    alike: dict[str, list[int]] = {}
    for place in places:
        alike.setdefault(digests[place], []).append(place)
    return [
        (first, second)
        for same in alike.values()
        for i, first in enumerate(same)
        for second in same[i + 1 :]
    ]


def _normalise(thumbnails) -> Float[np.ndarray, "frames pixels"]:
    """Thumbnails of mean 0 and length 1 without slow changes; 0 for blank frames."""
    flat = np.zeros((len(thumbnails), thumbnails[0].size), np.float32)
    for place, thumbnail in enumerate(thumbnails):
        grey = thumbnail.astype(np.float32)
        flat[place] = (grey - ndimage.gaussian_filter(grey, SMOOTHING_PX)).ravel()
    flat -= flat.mean(1, keepdims=True)
    shows = flat.std(1, keepdims=True) >= BLANK_GREY
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(shows, flat / np.where(shows, length, 1), 0).astype(np.float32)


def group_subjects(subjects: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """Join subjects that share a view into one group, for they may be one person.

    Args:
      subjects: the person of each frame.
      pairs: of `find_duplicates`.

    Returns:
      The group of each frame, named after the first of its subjects in order of name.
    """
    names, person = np.unique(subjects, return_inverse=True)
    ends = np.array([(p.first, p.second) for p in pairs], int).reshape(-1, 2)
    edges = np.ones(len(ends)), tuple(person[ends].T)
    graph = sparse.coo_matrix(edges, shape=(len(names),) * 2)
    _, component = csgraph.connected_components(graph, directed=False)
    first = {c: names[i] for i, c in reversed(list(enumerate(component)))}
    return [str(first[component[p]]) for p in person]


def shared_subjects(subjects: Sequence[str], groups: Sequence[str]) -> list[list[str]]:
    """Groups of more than one subject, each in order of name."""
    members: dict[str, set[str]] = {}
    for subject, group in zip(subjects, groups, strict=True):
        members.setdefault(group, set()).add(subject)
    return sorted(sorted(people) for people in members.values() if len(people) > 1)


def contradicting_empty(
    pairs: Sequence[Pair],
    presence: Bool[np.ndarray, " frames"],
    labelled: Bool[np.ndarray, " frames"],
) -> Int[np.ndarray, " found"]:
    """Positions of frames labelled empty whose twin is labelled with a nerve.

    Only pairs that show the `SAME_VIEW` count: between less similar ones the nerve may
    have come into sight.
    """
    found = set()
    for first, second, similarity, _ in pairs:
        if similarity < SAME_VIEW:
            continue
        if labelled[first] and labelled[second] and presence[first] != presence[second]:
            found.add(second if presence[first] else first)
    return np.array(sorted(found), np.int64)
