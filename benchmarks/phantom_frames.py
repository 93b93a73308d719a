"""Simulated frames in memory, without prepared records or the packages that read them."""

from pathlib import Path

import numpy as np

from nerve_jax.data.columns import fill, gather_labels, read_row
from nerve_jax.data.examples import Examples
from nerve_jax.data.phantom.anatomy import SPACING_MM
from nerve_jax.data.phantom.people import simulate_frames
from nerve_jax.data.population import Population
from nerve_jax.data.splits import create_splits
from nerve_jax.runs.folder import Fold

FOLD, NUM_FOLDS = 0, 5


def simulate_examples(
    image_size: tuple[int, int],
    *,
    num_subjects: int,
    frames_per_subject: int,
    seed: int = 0,
) -> Examples:
    """The phantom as a data set; see `simulate_frames` for counts, seed and errors.

    Args:
      image_size: training height and width in px.
      num_subjects: how many people.
      frames_per_subject: how many frames of each.
      seed: of the phantom.
    """
    source = [
        {
            "image": frame.image[..., None],
            "mask": frame.mask[..., None].astype(np.uint8),
            "frame": f"{frame.subject:03d}_{frame.index:03d}".encode(),
            "subject": f"{frame.subject:03d}".encode(),
            "labelled": True,
            "spacing_mm": SPACING_MM,
        }
        for frame in simulate_frames(num_subjects, frames_per_subject, seed)
    ]
    rows = (
        read_row(record, image_size) | {"records": np.int64(place)}
        for place, record in enumerate(source)
    )
    columns = gather_labels(fill(rows, len(source)))
    return Examples(**columns, fingerprint="phantom in memory", source=source)


def deal_fold(population: Population) -> Fold:
    """The fold to train, dealt as a run deals it."""
    examples = population.examples
    splits = create_splits(
        examples.frames,
        population.groups,
        examples.presence,
        num_folds=NUM_FOLDS,
        seed=0,
    )
    train, val = (examples.positions(splits[FOLD][part]) for part in ("train", "val"))
    return Fold(FOLD, Path(), train, train, val)
