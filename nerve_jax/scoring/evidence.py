"""What predicted frames say for fitting a decision: far less than their pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from nerve_jax.scoring.calibration import LogitCounts, count_by_logit
from nerve_jax.scoring.decide import Clue, weigh_clues

Rows = Bool[np.ndarray, " frames"]


class Evidence(NamedTuple):
    """What frames, predicted by a model that was not trained on them, say for fitting.

    Attributes:
      counts: of pixels by logit, at training size.
      clues: of presence, by name (see `weigh_clues`).
      presence: whether the truth shows a nerve.
    """

    counts: LogitCounts
    clues: dict[str, Clue]
    presence: Rows

    def select(self, rows: Rows) -> "Evidence":
        """That of some frames."""
        return Evidence(
            LogitCounts(*(part[rows] for part in self.counts)),
            {name: values[rows] for name, values in self.clues.items()},
            self.presence[rows],
        )


def collect_evidence(
    probs: Float[np.ndarray, "frames height width"],
    presence_probs: Float[np.ndarray, " frames"],
    masks: UInt8[np.ndarray, "frames height width"],
    presence: Rows,
) -> Evidence:
    """Reduce frames to what `fit_rule` needs of them.

    Args:
      probs: of nerve, at training size.
      presence_probs: as the model gave them.
      masks: the truth, share of each pixel, 0 to 255.
      presence: whether the truth shows a nerve.
    """
    clues = weigh_clues(probs, presence_probs)
    return Evidence(count_by_logit(probs, masks), clues, presence)


def pool_evidence(parts: Sequence[Evidence]) -> Evidence:
    """One of several, at least one, in their order."""
    counts = zip(*(part.counts for part in parts), strict=True)
    names = parts[0].clues
    return Evidence(
        LogitCounts(*map(np.concatenate, counts)),
        {name: np.concatenate([part.clues[name] for part in parts]) for name in names},
        np.concatenate([part.presence for part in parts]),
    )
