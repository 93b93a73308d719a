"""People who outline the same simulated frames: how far they agree.

A reader draws all nerves somewhat larger or smaller than others do, sees faint ones or does
not, and never follows an edge twice in the same way. The first reader's outlines are those
of `people`.

In phantoms of 47 people with 6 frames each, of seeds 0 to 2, two readers who both outline a
nerve have a mean Dice of 0.80 to 0.86 there (5 % of the frames below 0.68 to 0.77), and one
outlines a nerve where the other does not in 8 to 14 % of all frames. Of vessels it is 0.83 to
0.90.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from nerve_jax.data.phantom.anatomy import (
    HEIGHT_PX,
    WIDTH_PX,
    Anatomy,
    Drawn,
    Vessel,
    nerve_radius,
    vessel_radius,
)

SMALL_PX = 7.0  # radius of a vessel that a reader may overlook
OVERLOOKED_SHARE = 0.2  # of these


class Scene(NamedTuple):
    """What there is to be outlined in a frame.

    Attributes:
      anatomy: of the person.
      drawn: what the frame shows.
      visibility: of the plexus, in (0, 1); above 0.5 the first reader outlines it.
    """

    anatomy: Anatomy
    drawn: Drawn
    visibility: float


class Reader:
    """Somebody who outlines frames, with habits that a seed and their number give them."""

    def __init__(self, seed: int, number: int):
        rng = np.random.default_rng([seed, 4, number])
        self.seed, self.number = seed, number
        self.size = rng.normal(0, 0.12)  # log of the area, beside others'
        self.threshold = rng.normal(0, 0.4)  # log odds of the visibility

    def outline(self, scene: Scene, subject: int, index: int) -> dict[str, np.ndarray]:
        """Outline the plexus and the vessels of a frame.

        Returns:
          Masks by structure, bool [210, 290]; the same for the same arguments.
        """
        rng = np.random.default_rng([self.seed, 5, self.number, subject, index])
        return {
            "nerve": self._outline_nerve(scene, rng),
            "vessel": self._outline_vessels(scene, rng),
        }

    def _outline_nerve(self, scene: Scene, rng: np.random.Generator) -> np.ndarray:
        pose, (shift_x, shift_y) = scene.drawn.pose, rng.normal(0, 2.6, 2)
        hand = pose | {
            "x": pose["x"] + shift_x,
            "y": pose["y"] + shift_y,
            "area": pose["area"] * float(np.exp(self.size + rng.normal(0, 0.12))),
            "angle": pose["angle"] + float(rng.normal(0, 0.08)),
        }
        shape = scene.anatomy.nerve_shape + rng.normal(0, 0.04, (3, 2))
        aspect = float(scene.anatomy.nerve_aspect * np.exp(rng.normal(0, 0.08)))
        radius, _, _ = nerve_radius(aspect, shape, hand)
        seen = special.logit(scene.visibility)  # which may be 1
        return (radius < 1) & (seen + rng.normal(0, 0.8) > self.threshold)

    def _outline_vessels(self, scene: Scene, rng: np.random.Generator) -> np.ndarray:
        drawn = []
        for x, y, radius, flattening in scene.drawn.vessels:
            shift_x, shift_y = rng.normal(0, 1, 2)
            grown = radius * float(np.exp(self.size / 2 + rng.normal(0, 0.08)))
            flatter = flattening * float(np.exp(rng.normal(0, 0.08)))
            is_overlooked = rng.uniform() < OVERLOOKED_SHARE and radius < SMALL_PX
            if not is_overlooked:
                drawn.append((x + shift_x, y + shift_y, grown, flatter))
        return outline_vessels(drawn, scene.drawn.cover)


def outline_vessels(vessels: Sequence[Vessel], cover: np.ndarray) -> np.ndarray:
    """Where vessels are and show, bool [210, 290]; see `Drawn` for the arguments."""
    united = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
    for vessel in vessels:
        united |= vessel_radius(*vessel) < 1
    return united & ~cover
