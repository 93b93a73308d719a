"""Simulated ultrasound frames of the neck, with the brachial plexus and vessels outlined.

`anatomy` says what a person is made of, `scanner` how a scanner shows
it; this module decides who is scanned, how the probe moves, when the nerve is seen and
how an expert outlines it, `readers` how others do. Position and pressure of the probe drift along a sweep and
speckle changes slowly, so that neighbouring frames are near-duplicates of each other,
as in real recordings. Masks follow the Kaggle set in how often a nerve is seen, how
that differs between subjects, and in area and place.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import stats

from nerve_jax.data.outlines import Outlines
from nerve_jax.data.phantom.anatomy import (
    Anatomy,
    draw_echogenicity,
    nerve_radius,
)
from nerve_jax.data.phantom.readers import Reader, Scene, outline_vessels
from nerve_jax.data.phantom.scanner import Scanner, Sweep, insonify
from nerve_jax.data.structures import READER
from nerve_jax.system.errors import InputError

VERSION = 1  # of the simulation; raise it whenever the same seed gives other frames
FRAMES_PER_SWEEP = 12
STRUCTURES = ("nerve", "vessel")
PRESENCE_BETA = (1.75, 2.5)  # over subjects: mean 0.41, nine in ten in 0.08 to 0.79


@dataclasses.dataclass(frozen=True)
class PhantomFrame:
    """One simulated frame.

    Attributes:
      image: uint8 [210, 290].
      outlines: of the plexus, "nerve", and of all vessels together, "vessel", by reader;
        each bool [210, 290], all False where a reader saw none.
      subject: index of the simulated person.
      index: index of the frame among the person's frames, in order of recording.
    """

    image: np.ndarray
    outlines: Outlines
    subject: int
    index: int

    @property
    def mask(self) -> np.ndarray:
        """The first reader's outline of the plexus."""
        return self.outlines["nerve"][READER]


def name_readers(num_readers: int) -> list[str]:
    """Names of so many readers: reader1, reader2, ..."""
    return [f"reader{number}" for number in range(1, num_readers + 1)]


def simulate_frames(
    num_subjects: int, frames_per_subject: int, seed: int, num_readers: int = 1
) -> Iterator[PhantomFrame]:
    """Yield the frames of all subjects in order; the same seed gives the same bytes.

    Args:
      num_subjects: how many people, at least 1.
      frames_per_subject: how many frames of each, at least 1, in sweeps of 12.
      seed: any non-negative integer. A subject's frames depend on it, on the
        subject's index and on both counts.
      num_readers: how many people outline each frame. Those of the first do not depend
        on how many there are.

    Raises:
      InputError: a count below 1 or a negative seed.
    """
    if min(num_subjects, frames_per_subject, num_readers) < 1 or seed < 0:
        raise InputError(
            f"num_subjects={num_subjects}, frames_per_subject={frames_per_subject} and "
            f"num_readers={num_readers} must be at least 1, seed={seed} at least 0"
        )
    names = name_readers(num_readers)
    others = {n: Reader(seed, k) for k, n in enumerate(names[1:], 2)}
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
            seen = float(visibility[index])
            drawn = draw_echogenicity(anatomy, sweep.motion(place), place, seen)
            image = insonify(drawn.echo_db, scanner, sweep, place, frame_rng)
            mask = _annotate(anatomy, drawn.pose, seen, frame_rng)
            vessels = outline_vessels(drawn.vessels, drawn.cover)
            outlines = {"nerve": {READER: mask}, "vessel": {READER: vessels}}
            scene = Scene(anatomy, drawn, seen)
            for name, reader in others.items():
                given = reader.outline(scene, subject, index)
                for structure in STRUCTURES:
                    outlines[structure][name] = given[structure]
            yield PhantomFrame(image, outlines, subject, index)


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
