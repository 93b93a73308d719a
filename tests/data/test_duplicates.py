import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nerve_jax.data.duplicates import (
    Pair,
    contradicting_empty,
    find_duplicates,
    group_subjects,
    shared_subjects,
)
from nerve_jax.data.loading import THUMBNAIL_SIZE
from nerve_jax.data.phantom.people import simulate_frames
from nerve_jax.data.resize import resize_image
from tests.samples import texture


def shrink(images):
    return np.stack([resize_image(image, THUMBNAIL_SIZE) for image in images])


def altered(image, seed):
    """The same view after another gain, noise and a lossy file."""
    rng = np.random.default_rng(seed)
    noisy = np.clip(image * 0.85 + 12 + rng.normal(0, 6, image.shape), 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(buffer, "JPEG", quality=70)
    return np.asarray(Image.open(buffer))


def test_equal_and_altered_frames_are_found_and_others_are_not():
    images = [texture(seed) for seed in range(6)]
    images += [images[2], altered(images[4], 9)]
    digests = ["0", "1", "2", "3", "4", "5", "2", "7"]
    pairs = find_duplicates(shrink(images), digests)
    assert [(p.first, p.second, p.exact) for p in pairs] == [
        (2, 6, True),
        (4, 7, False),
    ]
    assert pairs[0].similarity == 1
    assert 0.9 < pairs[1].similarity < 1


@pytest.mark.parametrize("seed", range(20))
def test_an_altered_frame_is_still_near(seed):
    image = texture(seed)
    assert find_duplicates(shrink([image, altered(image, seed)]), ["a", "b"])


def test_blank_frames_are_near_to_nothing_not_even_when_equal():
    blank = shrink([np.zeros((40, 50), np.uint8), np.full((40, 50), 90, np.uint8)] * 2)
    assert find_duplicates(blank, ["a", "b", "a", "b"]) == []


def test_simulated_people_are_told_apart_and_no_label_of_theirs_contradicts():
    """Neighbours in a sweep are near; their labels change with what is seen."""
    frames = list(simulate_frames(12, 5, seed=3))
    pairs = find_duplicates(
        shrink([f.image for f in frames]), [str(i) for i in range(len(frames))]
    )
    assert pairs
    assert all(frames[p.first].subject == frames[p.second].subject for p in pairs)
    presence = np.array([f.mask.any() for f in frames])
    assert any(presence[p.first] != presence[p.second] for p in pairs)
    assert not contradicting_empty(pairs, presence, np.ones_like(presence)).size


def pair(first, second):
    return Pair(first, second, 1.0, True)


def test_subjects_that_share_a_view_are_one_group():
    subjects = ["d", "a", "b", "b", "c", "c", "e"]
    groups = group_subjects(subjects, [pair(1, 2), pair(3, 4)])
    assert groups == ["d", "a", "a", "a", "a", "a", "e"]
    assert shared_subjects(subjects, groups) == [["a", "b", "c"]]
    assert group_subjects(subjects, []) == subjects


@given(st.data(), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_groups_hold_subjects_and_pairs_together_and_are_the_finest(data, people):
    subjects = [f"p{person}" for person in people]
    places = st.integers(0, len(people) - 1)
    ends = data.draw(st.lists(st.tuples(places, places), max_size=6))
    groups = group_subjects(subjects, [pair(*sorted(end)) for end in ends])
    assert len(set(zip(subjects, groups, strict=True))) == len(set(subjects))
    assert all(groups[a] == groups[b] for a, b in ends)
    joins = {tuple(sorted((subjects[a], subjects[b]))) for a, b in ends}
    real = {join for join in joins if len(set(join)) > 1}
    assert len(set(groups)) >= len(set(subjects)) - len(real)


def test_an_empty_label_is_doubtful_beside_a_twin_with_a_nerve():
    pairs = [pair(0, 1), pair(2, 3), pair(4, 5)]
    presence = np.array([True, False, False, False, True, False])
    labelled = np.array([True, True, True, True, True, False])
    np.testing.assert_array_equal(contradicting_empty(pairs, presence, labelled), [1])
    moved = [Pair(0, 1, 0.95, False)]  # alike, but the nerve may have come into sight
    assert contradicting_empty(moved, presence, labelled).size == 0
