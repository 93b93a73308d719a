"""How alike frames are beyond what a data set's frames have in common.

Frames are compared as thumbnails without their slow changes of brightness (near is bright
in ultrasound, far is dark) by the partial correlation of their pixels: the correlation
that is left once the mean thumbnail of all other people is taken off both. Borders, depth
scales and the lettering of a screen are in that mean, and do not make people alike.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import ndimage

SMOOTHING_PX = 6.0  # of the thumbnail; slower changes are left out
BLANK_GREY = 2.0  # a thumbnail that varies less, in grey values, shows nothing
OWN_SHARE = 1e-3  # of a frame's variance; one with less of its own is like no other
FEW_PEOPLE = 32  # of more, the mean of the others is nearly one and the same
ROWS_AT_A_TIME = 256


def normalise(
    thumbnails: UInt8[np.ndarray, "frames rows columns"],
) -> Float[np.ndarray, "frames pixels"]:
    """Thumbnails of mean 0 and length 1 without slow changes; 0 for blank ones, float32."""
    frames = np.zeros((len(thumbnails), thumbnails[0].size), np.float32)
    for place, thumbnail in enumerate(thumbnails):
        grey = thumbnail.astype(np.float32)
        flat = (grey - ndimage.gaussian_filter(grey, SMOOTHING_PX)).ravel()
        flat -= flat.mean()
        if flat.std() >= BLANK_GREY:
            frames[place] = flat / np.linalg.norm(flat)
    return frames


class Likeness:
    """Compares frames of one set with each other.

    Takes memory of a few times the frames' normalised thumbnails, 12 kB each.

    Attributes:
      frames: normalised thumbnails, without what other people share where there are more
        than `FEW_PEOPLE`.
      person: the number of each frame's person.
      num_people: how many there are.
    """

    def __init__(
        self,
        frames: Float[np.ndarray, "frames pixels"],
        subjects: Sequence[str] | Int[np.ndarray, " frames"],
    ):
        """Compare frames as `normalise` returns them; `subjects` is the person of each."""
        names, self.person = np.unique(subjects, return_inverse=True)
        self.num_people = len(names)
        means = np.zeros((len(names), frames.shape[1]), np.float32)
        np.add.at(means, self.person, frames)
        means /= np.bincount(self.person)[:, None].astype(np.float32)
        if self.num_people > FEW_PEOPLE:
            self.frames = _take_off_others(frames, means, self.person)
            return
        self.frames = frames
        self._on_means = frames @ means.T
        # Products of means, and of the sums of all means but two with themselves.
        between = means @ means.T
        rest, own = between.sum(1), np.diag(between)
        two = rest[:, None] + rest - between - (own[:, None] + own) / 2
        self._of_others = between.sum() - 2 * two
        np.fill_diagonal(self._of_others, between.sum() - 2 * rest + own)

    def shows(self) -> Int[np.ndarray, " shown"]:
        """Positions of the frames that show something."""
        return np.flatnonzero(self.frames.any(1))

    def compare(
        self, rows: Int[np.ndarray, " some"], columns: Int[np.ndarray, " others"]
    ) -> Float[np.ndarray, "some others"]:
        """Likeness of some frames with others, by position, in [-1, 1].

        Two people by themselves have no others who could say what is shared: theirs is the
        plain correlation. A frame that is blank, or that shows little but what all share,
        has 0 with all.
        """
        found = self.frames[rows] @ self.frames[columns].T
        if self.num_people <= FEW_PEOPLE:
            others = self._of_others[self.person[rows][:, None], self.person[columns]]
            scale = np.where(others > 1e-6, 1 / np.maximum(others, 1e-6), 0)
            scale = np.sqrt(scale).astype(np.float32)
            first = self._on_others(rows, columns) * scale
            second = self._on_others(columns, rows).T * scale
            own = np.maximum(1 - first**2, 0) * np.maximum(1 - second**2, 0)
            left = np.sqrt(np.maximum(own, OWN_SHARE**2))
            found = np.where(own > OWN_SHARE**2, (found - first * second) / left, 0)
        return np.clip(found, -1, 1).astype(np.float32)

    def _on_others(self, rows, columns) -> Float[np.ndarray, "some others"]:
        """Product of each row with the sum of all means but its own and the column's."""
        on, mine, theirs = self._on_means[rows], self.person[rows], self.person[columns]
        rest = on.sum(1) - on[np.arange(len(rows)), mine]
        return rest[:, None] - np.where(mine[:, None] == theirs, 0, on[:, theirs])

    def blocks(
        self, members: Int[np.ndarray, " members"]
    ) -> Iterator[tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows members"]]]:
        """Compare members with members, `ROWS_AT_A_TIME`; yields positions and likeness."""
        for start in range(0, len(members), ROWS_AT_A_TIME):
            rows = members[start : start + ROWS_AT_A_TIME]
            yield rows, self.compare(rows, members)


def _take_off_others(frames, means, person) -> Float[np.ndarray, "frames pixels"]:
    """What is left of frames without the direction of the other people's mean."""
    others = means.sum(0) - means
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-6)
    left = np.empty_like(frames)
    for start in range(0, len(frames), ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        shared = others[person[rows]]
        left[rows] = (
            frames[rows] - (frames[rows] * shared).sum(1, keepdims=True) * shared
        )
    length = np.linalg.norm(left, axis=1, keepdims=True)
    shows = length > np.sqrt(OWN_SHARE)
    return np.where(shows, left / np.where(shows, length, 1), 0).astype(np.float32)
