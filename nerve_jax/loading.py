"""The frames that a configuration names, at its training size."""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from nerve_jax import processes, records
from nerve_jax.builders import create_builder, list_splits, open_builder
from nerve_jax.examples import Examples, join_examples, load_examples


def load_examples_from(config: ConfigDict, split: str) -> Examples:
    """The frames of a split.

    Real ones are prepared from `manual_dir`; without it the records in `data_dir` do.
    """
    return _load(config, *_open(config), split)


def load_all_frames(config: ConfigDict) -> tuple[Examples, Examples]:
    """The frames of split "train", and those with all of other splits without a mask.

    Frames of other splits that do have one are for scoring, and stay unseen. Unlike
    those of one split, joined ones are copied into memory.
    """
    builder, folder = _open(config)
    train = _load(config, builder, folder, "train")
    found = []
    for split in list_splits(builder):
        if split != "train":
            part = _load(config, builder, folder, split)
            found += [part.choose(np.flatnonzero(~part.labelled))]
    more = [part for part in found if len(part)]
    return train, join_examples([train, *more]) if more else train


def _load(config: ConfigDict, builder, folder: Path, split: str) -> Examples:
    examples = load_examples(builder, split, tuple(config.image_size))
    if processes.is_first():
        records.publish(folder, config.data_dir)
    return examples


def _open(config: ConfigDict) -> tuple[tfds.core.DatasetBuilder, Path]:
    """The builder and the folder of its records."""
    folder = None
    if not config.manual_dir and not config.dataset.endswith("/phantom"):
        folder = records.find_prepared(config.dataset, config.data_dir)
    if folder:
        records.fetch(folder, config.data_dir)
        return open_builder(folder), folder
    builder = create_builder(
        config.dataset,
        data_dir=records.choose_local(config.data_dir),
        manual_dir=config.manual_dir,
        num_subjects=config.num_subjects,
        frames_per_subject=config.frames_per_subject,
        seed=config.phantom_seed,
    )
    folder = Path(builder.data_path)
    records.fetch(folder, config.data_dir)
    return builder, folder
