"""A picture with outlines, as it passes between the formats."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class Labelled(NamedTuple):
    """A picture and what is known of it.

    Attributes:
      name: of the picture, without its ending; unique in its set.
      image: the picture's file; a clip's, where `number` is not None.
      number: which frame of a clip, from 0; None for a picture.
      size: height and width in px.
      masks: where each structure is, by its name; a structure that was looked for and is
        not there has an empty mask, one that nobody looked for is not among them.
    """

    name: str
    image: Path
    number: int | None
    size: tuple[int, int]
    masks: dict[str, Bool[np.ndarray, "height width"]]
