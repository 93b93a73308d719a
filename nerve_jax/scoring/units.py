"""Whose frames a decision is fitted on and judged by: of which people, by which nets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.model_selection import GroupKFold

from nerve_jax.scoring.intervals import compute_mean_interval

LEVEL = 0.9  # of the interval whose lower end must be above 0
PARTS = 5  # of people, each scored by what was fitted on the rest
FEWEST_NETS = 3  # fewer say nothing of others


class Units(NamedTuple):
    """Whose frames they are: a gain must hold for other people and for another net.

    Nets that were trained alike differ in how sure they are, above all early in training.

    Attributes:
      people: the person of each frame.
      nets: the number of the net that predicted it.
    """

    people: np.ndarray
    nets: np.ndarray

    def select(self, rows: Bool[np.ndarray, " frames"]) -> "Units":
        """Those of some frames."""
        return Units(self.people[rows], self.nets[rows])

    @property
    def tell_of_nets(self) -> bool:
        """Whether there are `FEWEST_NETS`, and nobody is predicted by two."""
        pairs = set(zip(self.people.tolist(), self.nets.tolist(), strict=True))
        nets = set(self.nets.tolist())
        return len(nets) >= FEWEST_NETS and len(pairs) == len(set(self.people.tolist()))

    def deal(self) -> Int[np.ndarray, " frames"]:
        """The part that each frame is in: that of its net, or of its person."""
        return self.nets if self.tell_of_nets else deal_people(self.people)

    def bound(self, gain: Float[np.ndarray, " frames"]) -> tuple[float, float]:
        """What the intervals of `LEVEL` over people and, if they tell, over nets span."""
        units = (
            [self.people, self.nets.astype(str)] if self.tell_of_nets else [self.people]
        )
        bounds = [
            compute_mean_interval(gain, unit.tolist(), level=LEVEL) for unit in units
        ]
        lows, highs = zip(*bounds, strict=True)
        return min(lows), max(highs)


def deal_people(people: Sequence[str] | np.ndarray) -> Int[np.ndarray, " frames"]:
    """The part that each frame is in; parts share no people and are about equally large."""
    parts = np.zeros(len(people), int)
    if len(set(people)) < 2:
        return parts
    folds = GroupKFold(min(PARTS, len(set(people))))
    for number, (_, rows) in enumerate(folds.split(parts, groups=people)):
        parts[rows] = number
    return parts
