"""Who is who in a data set, and whose labels are in doubt."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from nerve_jax.data.duplicates import (
    Duplicates,
    find_duplicates,
    find_outvoted,
    group_subjects,
)
from nerve_jax.data.examples import Examples
from nerve_jax.data.likeness import Likeness, normalise
from nerve_jax.system.errors import InputError


class Population(NamedTuple):
    """A data set and who is who in it.

    Attributes:
      examples: its frames.
      duplicates: those that show the same view.
      groups: the person of each frame; subjects that share a view are one.
      likeness: of its frames, by which these were found; see there for its memory.
    """

    examples: Examples
    duplicates: Duplicates
    groups: list[str]
    likeness: Likeness


def find_people(examples: Examples) -> Population:
    """Find out who is who among frames."""
    likeness = Likeness(normalise(examples.thumbnails), examples.subjects)
    groups = group_subjects(likeness, examples.digests, examples.subjects)
    duplicates = find_duplicates(likeness, examples.digests, groups, examples.clips)
    return Population(examples, duplicates, groups, likeness)


class Shown(NamedTuple):
    """What frames show: enough to know them, and their people, again.

    Attributes:
      thumbnails: of each frame, grey values.
      digests: of each frame's pixels.
      people: the person of each.
    """

    thumbnails: UInt8[np.ndarray, "frames rows columns"]
    digests: Sequence[str]
    people: Sequence[str]


def find_known_people(shown: Shown, known: Shown) -> Bool[np.ndarray, " frames"]:
    """Frames whose person shares a view with one of those known, whatever their names.

    Joined as `group_subjects` joins people; none where either side shows nothing.
    """
    if not (shown.thumbnails.any() and known.thumbnails.any()):
        return np.zeros(len(shown.thumbnails), bool)
    people = [
        *("known " + p for p in known.people),
        *("new " + p for p in shown.people),
    ]
    thumbnails = np.concatenate([known.thumbnails, shown.thumbnails])
    likeness = Likeness(normalise(thumbnails), people)
    groups = group_subjects(likeness, [*known.digests, *shown.digests], people)
    found = set(groups[: len(known.people)])
    return np.array([group in found for group in groups[len(known.people) :]], bool)


def check_labelled(examples: Examples) -> None:
    """Raise `InputError` where there is nothing to train on or to score."""
    if not examples.labelled.any():
        several = len(examples.structures) > 1
        raise InputError(
            f"{examples.fingerprint}: none of {len(examples)} frames has a mask"
            f"{f' of {examples.structures[0]}' * several}, so there is nothing to train on "
            "(predicting works)"
        )


def find_doubtful(
    population: Population, given: Int[np.ndarray, " given"] | None = None
) -> Int[np.ndarray, " found"]:
    """Positions of frames whose label most labelled frames of the same view contradict.

    Args:
      population: of the data set.
      given: frames that have a vote, by position; all of them where it is None.
    """
    examples = population.examples
    votes = examples.labelled.copy()
    if given is not None:
        votes &= np.isin(np.arange(len(votes)), given)
    return find_outvoted(
        population.likeness,
        examples.digests,
        population.groups,
        examples.presence,
        votes,
    )


def leave_out_doubtful(
    train: Int[np.ndarray, " given"], population: Population
) -> Int[np.ndarray, " kept"]:
    """Leave out frames whose label most of the given frames of the same view contradict.

    Args:
      train: positions of training frames.
      population: of the data set.
    """
    return train[~np.isin(train, find_doubtful(population, train))]
