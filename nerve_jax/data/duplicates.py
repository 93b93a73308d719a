"""Frames that show the same view: who is one person, and which labels are in doubt.

In phantoms of 30 people (seeds 0 and 3, six frames each) no two frames of different
people are more alike than 0.26, and 0.60 behind black borders that cover 81 % of each
frame; neighbours in a sweep are up to 0.98. In 40 real clips of the brachial plexus,
every tenth frame, the two pairs of clips that show one person are 0.93 alike and no
others above 0.84.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy import sparse
from scipy.sparse import csgraph

from nerve_jax.data.likeness import Likeness

NEAR_DUPLICATE = 0.9  # likeness from which frames are of one person, a moment apart
SAME_VIEW = 0.99  # and from which their labels should agree
STILL_ALIKE = 0.8  # of frames of one person, without what three or more subjects share
PARTNERS = 4  # of each frame, that are kept as pairs


class Pair(NamedTuple):
    """Two frames of one person, by position; the first stands before the second.

    Within a clip frames are alike because the probe has hardly moved.
    """

    first: int
    second: int
    similarity: float
    exact: bool
    within_clip: bool


class Duplicates(NamedTuple):
    """Which frames of a data set show the same.

    Attributes:
      pairs: in order of position; of each frame with those behind it at most `PARTNERS`,
        of other subjects before those of its own, of other clips before those of its
        own, and the most alike first.
      views: a number for each frame, the same for frames that a chain of `SAME_VIEW`
        connects.
      num_exact: how many pairs there are of equal frames,
      num_near: of nearly equal ones,
      num_across: of both, of two subjects,
      num_within_clips: and, of both, of one clip, which the others leave out.
    """

    pairs: list[Pair]
    views: Int[np.ndarray, " frames"]
    num_exact: int
    num_near: int
    num_across: int
    num_within_clips: int


def group_subjects(
    likeness: Likeness, digests: Sequence[str], subjects: Sequence[str]
) -> list[str]:
    """Join subjects that share a view into one group, for they may be one person.

    Subjects are joined that have a frame in common, equal or alike by `NEAR_DUPLICATE`.
    Where that joins three or more, though not all, it may be their scanner's screen that
    is alike: they stay joined only as far as frames are `STILL_ALIKE` without what these
    subjects share, or show the `SAME_VIEW`. (Where subjects have only a frame or so, that
    cannot be decided, and they stay joined.) Two subjects by themselves are joined by
    `SAME_VIEW`, since no other people say what a screen is.

    Args:
      likeness: of the frames.
      digests: of each frame's original pixels; equal for equal frames.
      subjects: the person of each frame.

    Returns:
      The group of each frame, named after the first of its subjects in order of name.
    """
    pixels = np.unique(digests, return_inverse=True)[1]
    people = np.arange(likeness.num_people)
    near = NEAR_DUPLICATE if len(people) > 2 else SAME_VIEW
    joined, sure = _join_people(likeness, pixels, (near, SAME_VIEW))
    for group in np.unique(joined):
        frames = np.flatnonzero(joined[likeness.person] == group)
        count = (joined == group).sum()
        if not (2 < count < len(people) and len(frames) >= 2 * count):
            sure = _join(sure, people[joined == group], group)
            continue
        numbers, person = np.unique(likeness.person[frames], return_inverse=True)
        among = Likeness(likeness.frames[frames], person)
        (parts,) = _join_people(among, pixels[frames], (STILL_ALIKE,))
        sure = _join(sure, numbers, numbers[parts])
    names = np.unique(subjects)
    return [str(names[sure[person]]) for person in likeness.person]


def _join_people(
    likeness: Likeness, pixels: Int[np.ndarray, " frames"], limits: Sequence[float]
) -> list[Int[np.ndarray, " people"]]:
    """For each limit, the first of the people whom frames so alike connect, for each."""
    people = [np.arange(likeness.num_people) for _ in limits]
    shown = likeness.shows()
    for rows, block in likeness.blocks(shown):
        block[pixels[rows][:, None] == pixels[shown]] = 1
        ends = likeness.person[rows], likeness.person[shown]
        for number, limit in enumerate(limits):
            people[number] = _join_alike(people[number], *ends, block >= limit)
    return people


def _join_alike(labels, rows, columns, alike) -> Int[np.ndarray, " n"]:
    """Connect the items of rows and columns that are alike (see `_join`)."""
    first, second = np.nonzero(alike & (labels[rows][:, None] != labels[columns]))
    return _join(labels, rows[first], columns[second])


def _join(labels, first, second) -> Int[np.ndarray, " n"]:
    """Connect items; the label of each is the first item that it is connected with."""
    first, second = np.broadcast_arrays(first, second)
    ends = np.append(first, np.arange(len(labels))), np.append(second, labels)
    edges = np.ones(len(ends[0]), bool), ends
    graph = sparse.coo_matrix(edges, shape=(len(labels),) * 2)
    _, component = csgraph.connected_components(graph, directed=False)
    return np.unique(component, return_index=True)[1][component]


def find_duplicates(
    likeness: Likeness,
    digests: Sequence[str],
    groups: Sequence[str],
    clips: Sequence[str],
) -> Duplicates:
    """Find equal and nearly equal frames within each group of subjects.

    Memory grows with the number of frames, and not with that of pairs.

    Args:
      likeness: of the frames.
      digests: of each frame's original pixels; equal for equal frames.
      groups: of `group_subjects`.
      clips: the sweep of one subject that each frame is of, "" for a still.

    Returns:
      `exact` pairs have equal digests and similarity 1; the others are alike by
      `NEAR_DUPLICATE` or more. Blank frames say nothing of who was scanned: they pair
      with none, not even when equal.
    """
    pairs, views = [], np.arange(len(groups))
    exact = near = across = within = 0
    clip = _number_clips(clips)
    for rows, members, block, equal in _compare_groups(likeness, digests, groups):
        behind = members > rows[:, None]
        strangers = likeness.person[rows][:, None] != likeness.person[members]
        alike = (block >= NEAR_DUPLICATE) & behind
        one_clip = clip[rows][:, None] == clip[members]
        within += int((alike & one_clip).sum())
        exact += int((equal & behind & ~one_clip).sum())
        near += int((alike & ~equal & ~one_clip).sum())
        across += int((alike & strangers).sum())
        views = _join_alike(views, rows, members, block >= SAME_VIEW)
        order = strangers.astype(np.float32) - one_clip.astype(np.float32)
        rank = np.where(alike, -block - order, 1)  # of those alike 0.1 at most
        best = np.argpartition(rank, min(PARTNERS, len(members)) - 1)[:, :PARTNERS]
        for row, column in np.argwhere(np.take_along_axis(alike, best, 1)):
            place = row, best[row, column]
            ends = int(rows[row]), int(members[place[1]])
            kind = bool(equal[place]), bool(one_clip[place])
            pairs.append(Pair(*ends, float(block[place]), *kind))
    return Duplicates(sorted(pairs), views, exact, near, across, within)


def _number_clips(clips: Sequence[str]) -> Int[np.ndarray, " frames"]:
    """A number for each clip, and another for each still."""
    names = [f"clip {clip}" if clip else f"still {i}" for i, clip in enumerate(clips)]
    return np.unique(names, return_inverse=True)[1]


def _compare_groups(
    likeness: Likeness, digests: Sequence[str], groups: Sequence[str]
) -> Iterator[tuple]:
    """Yield rows, members, likeness [rows, members] and which are equal, by group."""
    pixels = np.unique(digests, return_inverse=True)[1]
    number = np.unique(groups, return_inverse=True)[1]
    shown = likeness.shows()
    order = shown[np.argsort(number[shown], kind="stable")]
    starts = np.flatnonzero(np.diff(number[order])) + 1
    for members in np.split(order, starts):
        for rows, block in likeness.blocks(members):
            equal = pixels[rows][:, None] == pixels[members]
            block[equal] = 1
            yield rows, members, block, equal


def shared_subjects(subjects: Sequence[str], groups: Sequence[str]) -> list[list[str]]:
    """Groups of more than one subject, each in order of name."""
    members: dict[str, set[str]] = {}
    for subject, group in zip(subjects, groups, strict=True):
        members.setdefault(group, set()).add(subject)
    return sorted(sorted(people) for people in members.values() if len(people) > 1)


def find_outvoted(
    likeness: Likeness,
    digests: Sequence[str],
    groups: Sequence[str],
    presence: Bool[np.ndarray, " frames"],
    labelled: Bool[np.ndarray, " frames"],
) -> Int[np.ndarray, " found"]:
    """Positions of frames whose label, nerve or none, most frames of its view contradict.

    The vote of a frame is among the labelled frames that show the `SAME_VIEW` as it,
    itself included; less similar ones have no vote, for the nerve may have come into sight
    between them. In a tie both sides are found: nothing says which of them is right. No
    model has a part in it, and frames with and without a nerve are treated alike.

    Args:
      likeness: of the frames.
      digests: of each frame's original pixels; equal for equal frames.
      groups: of `group_subjects`.
      presence: whether each is labelled with a nerve.
      labelled: whether each has a vote; those without are not found either.
    """
    found = []
    for rows, members, block, _ in _compare_groups(likeness, digests, groups):
        view = (block >= SAME_VIEW) & labelled[members]
        with_nerve = (view & presence[members]).sum(1)
        without = view.sum(1) - with_nerve
        agree = np.where(presence[rows], with_nerve, without)
        outvoted = labelled[rows] & (agree <= view.sum(1) - agree)
        found.extend(rows[outvoted].tolist())
    return np.array(sorted(found), np.int64)
