"""A configuration of this project as it trains and predicts, beside smp_unet.py."""

import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population
from nerve_jax.runs.config import set_fields
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices
from nerve_jax.training.engine import Engine
from nerve_jax.training.feed import Stream
from nerve_jax.training.loop import advance
from nerve_jax.training.optimizer import TrainState


class Unattended:
    """Log and stop point of `advance` in one: keeps nothing and never stops."""

    train_seconds = 0.0

    def add_losses(self, step: int, losses: np.ndarray) -> None:
        """Do nothing."""

    def reached(self) -> bool:
        """Return False."""
        return False


def create_engine(config: ConfigDict, examples: Examples) -> Engine:
    """The engine of a run from random weights, for which subjects need no grouping."""
    population = Population(examples, None, list(examples.subjects), None)
    task = setup.create_segmentation(config, population)
    mesh = devices.create_mesh()
    feed = setup.create_feed_of(config, mesh, examples)
    return setup.create_engine(config, mesh, task.loss, feed)


def open_stream(engine: Engine, train: np.ndarray, fold: int = 0) -> Stream:
    """The batches of one fold with the given training frames."""
    return engine.feed.open([Fold(fold, Path(), train, train, train[:0])])


def take_steps(
    engine: Engine, stream: Stream, states: TrainState, step: int, last_step: int
) -> TrainState:
    """The states after `last_step` steps; the buffers of those given are donated."""
    unattended = Unattended()
    return advance(engine, stream, states, step, last_step, unattended, unattended)[0]


class NerveUNet:
    """One fold of a run, without its checkpoints.

    Args:
      config: of the run.
      examples: the data set.
      train: positions of the frames to train on.
      num_train_steps: over which the learning rate falls to 0.
      seed: of the run.
      fold: number of the fold.

    Attributes:
      engine: compiled for steps that fill whole calls, or the rest one by one.
      compile_seconds: that this took.
    """

    def __init__(
        self,
        config: ConfigDict,
        examples: Examples,
        train: np.ndarray,
        *,
        num_train_steps: int,
        seed: int = 0,
        fold: int = 0,
    ):
        fields = {"num_train_steps": num_train_steps, "seed": seed}
        self.engine = create_engine(set_fields(config, fields), examples)
        started = time.perf_counter()
        self.engine.compile(num_train_steps)
        self.compile_seconds = time.perf_counter() - started
        self.stream = open_stream(self.engine, train, fold)
        self.states, self.step = self.engine.init(self.stream.keys), 0

    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.size for p in self.states.params.values())

    def train(self, num_steps: int) -> None:
        """Take some steps."""
        last_step = self.step + num_steps
        self.states = take_steps(
            self.engine, self.stream, self.states, self.step, last_step
        )
        self.step = last_step

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of frames, uint8 -> float32 [frames height width]."""
        params = next(self.engine.split(self.states)).ema_params
        return self.engine.predict([params], images)[0][:, 0]
