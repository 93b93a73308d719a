"""What a fold learns, as the engine and the loop see it."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from nerve_jax.model.unet import Params
from nerve_jax.runs.folder import Fold
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.step import Batch


@runtime_checkable
class Task(Protocol):
    """A loss, where training begins, a validation score, and what a fold leaves.

    `predict` below is that of the engine: see `create_predictor`. All processes of a run call every method.

    Attributes:
      measure: name of the score by which the best checkpoint is chosen; higher is better.
    """

    measure: str

    def loss(
        self, params: Params, state: TrainState, batch: Batch, keys
    ) -> Float[Array, " batch"]:
        """The loss of each frame, to be differentiated by `params`.

        Runs inside the compiled step, on each device with its own frames. `state` is
        that before the step: it gives averaged parameters, the step's number and the
        hyperparameters. `keys` has one key per frame.
        """

    def begin(self, fold: Fold, params: Params) -> Params:
        """The parameters that training starts from, given random ones."""

    def score(
        self, predict: Callable, fold: Fold, step: int, params: Params
    ) -> Mapping[str, float]:
        """Scores of averaged parameters on the fold's validation frames."""

    def export(
        self, predict: Callable, fold: Fold, params: Params
    ) -> Mapping[str, np.ndarray]:
        """Arrays that a finished fold leaves in its folder, by file name."""
