"""Simulated ultrasound frames of the neck, with the brachial plexus outlined.

`anatomy` says what a person is made of, `scanner` how a scanner shows
it; this module decides who is scanned, how the probe moves, when the nerve is seen and
how an expert outlines it. Position and pressure of the probe drift along a sweep and
speckle changes slowly, so that neighbouring frames are near-duplicates of each other,
as in real recordings. Masks follow the Kaggle set in how often a nerve is seen, how
that differs between subjects, and in area and place.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import stats

from nerve_jax.data.phantom.anatomy import Anatomy, draw_echogenicity, nerve_radius
from nerve_jax.data.phantom.scanner import Scanner, Sweep, insonify
from nerve_jax.system.errors import InputError

VERSION = 1  # of the simulation; raise it whenever the same seed gives other frames
FRAMES_PER_SWEEP = 12
PRESENCE_BETA = (1.75, 2.5)  # over subjects: mean 0.41, nine in ten in 0.08 to 0.79


@dataclasses.dataclass(frozen=True)
class PhantomFrame:
    """One simulated frame.

    Attributes:
      image: uint8 [210, 290].
      mask: bool [210, 290], the annotator's outline of the plexus; all False where
        no nerve is seen.
      subject: index of the simulated person.
      index: index of the frame among the person's frames, in order of recording.
    """

    image: np.ndarray
    mask: np.ndarray
    subject: int
    index: int


def simulate_frames(
    num_subjects: int, frames_per_subject: int, seed: int
) -> Iterator[PhantomFrame]:
    """Yield the frames of all subjects in order; the same seed gives the same bytes.

    Args:
      num_subjects: how many people, at least 1.
      frames_per_subject: how many frames of each, at least 1, in sweeps of 12.
      seed: any non-negative integer. A subject's frames depend on it, on the
        subject's index and on both counts.

    Raises:
      InputError: a count below 1 or a negative seed.
    """
    if num_subjects < 1 or frames_per_subject < 1 or seed < 0:
        raise InputError(
            f"num_subjects={num_subjects} and frames_per_subject={frames_per_subject} "
            f"must be at least 1, seed={seed} at least 0"
        )
    presence = presence_rates(num_subjects, seed)
    for subject in range(num_subjects):
        rng = np.random.default_rng([seed, 1, subject])
        anatomy, scanner = Anatomy(rng), Scanner(rng)
        visibility = _visibility(rng, frames_per_subject, float(presence[subject]))
        for index in range(frames_per_subject):
            number, position = divmod(index, FRAMES_PER_SWEEP)
            if position == 0:
                sweep = Sweep(np.random.default_rng([seed, 2, subject, number]))
            place = position / FRAMES_PER_SWEEP
            frame_rng = np.random.default_rng([seed, 3, subject, index])
            echo_db, pose = draw_echogenicity(
                anatomy, sweep.motion(place), place, float(visibility[index])
            )
            image = insonify(echo_db, scanner, sweep, place, frame_rng)
            mask = _annotate(anatomy, pose, float(visibility[index]), frame_rng)
            yield PhantomFrame(image, mask, subject, index)


def presence_rates(num_subjects: int, seed: int) -> np.ndarray:
    """Return each subject's share of frames with a nerve, float [num_subjects].

    Stratified quantiles of a Beta distribution in random order, so that a small
    phantom too has the mean (0.41) and the spread of the Kaggle subjects.
    """
    rng = np.random.default_rng([seed, 0])
    quantiles = (np.arange(num_subjects) + rng.uniform(0.2, 0.8)) / num_subjects
    return rng.permutation(stats.beta(*PRESENCE_BETA).ppf(quantiles))


def _visibility(rng: np.random.Generator, num_frames: int, rate: float) -> np.ndarray:
    """How well the plexus is seen in each frame, in (0, 1); above 0.5 it is labelled.

    A slow random walk cut at the quantile that makes `rate` of the frames positive.
    """
    sweeps = np.arange(num_frames) // FRAMES_PER_SWEEP
    place = np.arange(num_frames) / FRAMES_PER_SWEEP
    offset = rng.normal(0, 0.8, sweeps.max() + 1)[sweeps]
    frequency, phase = rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)
    quality = offset + np.sin(2 * np.pi * frequency * place + phase)
    quality += rng.normal(0, 0.05, num_frames)
    order = np.sort(quality)[::-1]
    positives = int(np.clip(np.floor(rate * num_frames + rng.uniform()), 0, num_frames))
    above = order[positives - 1] if positives else order[0] + 0.2
    below = order[positives] if positives < num_frames else order[-1] - 0.2
    return 1 / (1 + np.exp(-9 * (quality - (above + below) / 2)))


def _annotate(
    anatomy: Anatomy, pose: dict, visibility: float, rng: np.random.Generator
) -> np.ndarray:
    """Outline the nerve as an expert would: never twice quite the same way."""
    shift_x, shift_y = rng.normal(0, 1.3), rng.normal(0, 1.3)
    size = float(np.exp(rng.normal(0, 0.10)))
    hand = pose | {
        "x": pose["x"] + shift_x,
        "y": pose["y"] + shift_y,
        "area": pose["area"] * size,
    }
    shape = anatomy.nerve_shape + rng.normal(0, 0.015, (3, 2))
    aspect = float(anatomy.nerve_aspect * np.exp(rng.normal(0, 0.05)))
    radius, _, _ = nerve_radius(aspect, shape, hand)
    return (radius < 1) & (visibility > 0.5)
