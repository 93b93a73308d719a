"""A configuration of this project as it trains and predicts, beside smp_unet.py."""

import numpy as np
from ml_collections import ConfigDict

from nerve_jax import parallel
from nerve_jax.examples import Examples
from nerve_jax.programs import create_programs
from nerve_jax.segmentation import make_objective
from nerve_jax.train import train_interval


class NerveUNet:
    """One fold of a run, without its checkpoints.

    Args:
      config: of the run.
      examples: the data set.
      train: positions of the frames to train on.
      num_train_steps: over which the learning rate falls to 0.
      seed: of the run.
      fold: number of the fold.
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
        config = config.copy_and_resolve_references()
        config.num_train_steps = config.eval_every_steps = num_train_steps
        config.seed = seed
        self.programs = create_programs(
            config, parallel.create_mesh(), examples, make_objective
        )
        self.numbers = self.programs.put_numbers(config)
        self.programs.compile_steps(self.numbers)
        self.keys = self.programs.make_keys([fold])
        self.states, self.step = self.programs.init(self.keys), 0
        self.next_rows = self.programs.open_batches([fold], [train])

    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(p.size for p in self.states.params.values())

    def train(self, num_steps: int) -> None:
        """Take some steps."""
        self.states = train_interval(
            self.states,
            lambda states, rows: self.programs.run_steps(
                states, rows, self.keys, self.numbers
            ),
            self.next_rows,
            first_step=self.step,
            last_step=self.step + num_steps,
            totals=np.zeros((1, 2)),
            steps_per_call=self.programs.steps_per_call,
            on_step=lambda step, loss: None,
            must_stop=lambda: False,
        ).states
        self.step += num_steps

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of frames, uint8 -> float32 [frames height width]."""
        params = self.programs.take(self.states, 0).ema_params
        return self.programs.predict([params], images)[0]
