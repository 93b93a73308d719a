import dataclasses

import numpy as np
import pytest

from nerve_jax.data import rle
from nerve_jax.data.examples import join_examples
from tests.samples import bright_boxes, labels_of


@pytest.fixture
def both():
    """The nerve of every frame, and a vessel that is outlined in all but the last."""
    frames = bright_boxes()
    vessel = labels_of(frames.masks[:, ::-1].copy(), np.arange(12) < 11)
    readers = {"a": vessel.truths, "b": (None, *vessel.truths[:-1])}
    labels = {**frames.labels, "vessel": vessel._replace(readers=readers)}
    return dataclasses.replace(frames, labels=labels)


def test_the_labels_of_one_structure_are_those_of_examples_that_have_it_alone(both):
    alone = both.of("vessel")
    assert both.structures == ("nerve", "vessel")
    assert alone.structures == ("vessel",)
    assert alone.truths == both.labels["vessel"].truths
    assert alone.labelled.tolist() == [True] * 11 + [False]
    assert alone.images is both.images
    np.testing.assert_array_equal(alone.truth(3), both.masks[3, ::-1] > 0)
    assert both.of("nerve").truths == both.truths == bright_boxes().truths
    of_b = both.of("vessel", reader="b")
    assert of_b.labelled.tolist() == [False] + [True] * 11
    assert of_b.truths[1] == alone.truths[0]


def test_training_sees_all_structures_and_a_single_one_without_a_copy(both):
    frames = both.training_frames
    assert frames.masks.shape == (12, 2, 16, 24)
    np.testing.assert_array_equal(frames.masks[:, 1], both.labels["vessel"].masks)
    assert frames.labelled[:, 0].all()
    assert frames.labelled[:, 1].tolist() == [True] * 11 + [False]
    single = bright_boxes()
    assert np.shares_memory(single.training_frames.masks, single.masks)


def test_chosen_and_joined_frames_keep_their_labels(both):
    places = np.array([11, 0, 4])
    chosen = both.choose(places)
    joined = join_examples([chosen, both])
    for found in (chosen, joined.choose(np.arange(3))):
        assert found.frames == tuple(both.frames[i] for i in places)
        assert found.labels["vessel"].labelled.tolist() == [False, True, True]
        runs = both.labels["vessel"].truths
        assert found.labels["vessel"].truths == tuple(runs[i] for i in places)
        assert found.labels["vessel"].readers["b"] == (runs[10], None, runs[3])
    assert joined.labels["nerve"].truths[3:] == both.truths
    assert rle.count_pixels(joined.of("nerve").truths[2]) == 48
