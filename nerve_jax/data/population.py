"""Who is who in a data set, and whose labels are in doubt."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from nerve_jax.data.duplicates import (
    Pair,
    contradicting_empty,
    find_duplicates,
    group_subjects,
)
from nerve_jax.data.examples import Examples
from nerve_jax.system.errors import InputError


class Population(NamedTuple):
    """A data set and who is who in it.

    Attributes:
      examples: its frames.
      pairs: of frames that show the same view.
      groups: the person of each frame; subjects that share a view are one.
    """

    examples: Examples
    pairs: list[Pair]
    groups: list[str]


def find_people(examples: Examples) -> Population:
    """Find out who is who among frames."""
    pairs = find_duplicates(examples.thumbnails, examples.digests)
    return Population(examples, pairs, group_subjects(examples.subjects, pairs))


def check_labelled(examples: Examples) -> None:
    """Raise `InputError` where there is nothing to train on or to score."""
    if not examples.labelled.any():
        raise InputError(
            f"{examples.fingerprint}: none of {len(examples)} frames has a mask, so "
            "there is nothing to train on (predicting works)"
        )


def find_doubtful(population: Population) -> Int[np.ndarray, " found"]:
    """Positions of frames labelled empty that another frame contradicts."""
    examples = population.examples
    return contradicting_empty(population.pairs, examples.presence, examples.labelled)


def leave_out_doubtful(
    train: Int[np.ndarray, " given"], population: Population
) -> Int[np.ndarray, " kept"]:
    """Leave out frames labelled empty that another of the given frames contradicts.

    Args:
      train: positions of training frames.
      population: of the data set.
    """
    given = set(train.tolist())
    inside = [p for p in population.pairs if {p.first, p.second} <= given]
    doubtful = find_doubtful(population._replace(pairs=inside))
    return train[~np.isin(train, doubtful)]
