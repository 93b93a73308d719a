"""The tfds data set `ultrasound_nerve`."""

from nerve_jax.data.ultrasound_nerve.ultrasound_nerve_dataset_builder import (
    Builder as Builder,
)
from nerve_jax.data.ultrasound_nerve.ultrasound_nerve_dataset_builder import (
    PhantomConfig as PhantomConfig,
)
from nerve_jax.data.ultrasound_nerve.ultrasound_nerve_dataset_builder import (
    SourceConfig as SourceConfig,
)
