"""What the parts of accelerator.py share: sizes, configurations, frames."""

import functools
import importlib
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict
from phantom_frames import simulate_examples

from nerve_jax.data.examples import Examples
from nerve_jax.runs.config import set_fields

TOY_SIZE = (32, 48)
TOY_FIELDS = {
    "data.image_size": TOY_SIZE,
    "batch_size": 4,
    "model.widths": (8, 8),
    "model.blocks_per_level": 1,
    "optimizer.warmup_steps": 2,
}


class Setting(NamedTuple):
    """How a part is measured.

    Attributes:
      folder: where the results lie.
      toy: at a size for tests, where figures say nothing.
      until: the time (of `time.time`) at which it should have ended.
    """

    folder: Path
    toy: bool
    until: float

    def choose(self, usual, toy):
        """One of two values."""
        return toy if self.toy else usual

    def create_config(self, name: str, **fields) -> ConfigDict:
        """A shipped configuration on the phantom, with fields set by dotted name."""
        config = importlib.import_module(f"configs.{name}").get_config()
        on_phantom = {"data.name": "ultrasound_nerve/phantom"}
        if self.toy:
            fields |= TOY_FIELDS | list_strengths(config, 0.0)
        return set_fields(config, on_phantom | fields)

    def simulate(self, config: ConfigDict, num_subjects: int = 47) -> Examples:
        """The phantom of a configuration's size, with no more than so many people."""
        counts = self.choose((num_subjects, 18), (6, 3))
        return _simulate(tuple(config.data.image_size), *counts)


def list_strengths(config: ConfigDict, value: float) -> dict[str, float]:
    """Fields that set every strength of augmentation to one value."""
    strengths = (n for n, old in config.augment.items() if isinstance(old, float))
    return {f"augment.{name}": value for name in strengths}


@functools.lru_cache(maxsize=2)
def _simulate(image_size: tuple[int, int], num_subjects: int, each: int) -> Examples:
    return simulate_examples(
        image_size, num_subjects=num_subjects, frames_per_subject=each
    )
