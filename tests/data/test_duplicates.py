import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from nerve_jax.data.columns import THUMBNAIL_SIZE
from nerve_jax.data.duplicates import (
    PARTNERS,
    find_duplicates,
    find_outvoted,
    group_subjects,
    shared_subjects,
)
from nerve_jax.data.likeness import FEW_PEOPLE, Likeness, normalise
from nerve_jax.data.phantom.people import simulate_frames
from nerve_jax.data.resize import resize_image
from tests.samples import texture


def shrink(images):
    return np.stack([resize_image(image, THUMBNAIL_SIZE) for image in images])


def measure(images, subjects=None):
    subjects = [str(i) for i in range(len(images))] if subjects is None else subjects
    return Likeness(normalise(shrink(images)), subjects)


def group(images, subjects, digests=None):
    digests = [str(i) for i in range(len(images))] if digests is None else digests
    return group_subjects(measure(images, subjects), digests, subjects)


def find(images, digests=None, subjects=None, clips=None):
    count = len(images)
    clips = [""] * count if clips is None else clips
    digests = [str(i) for i in range(count)] if digests is None else digests
    groups = ["one"] * count
    return find_duplicates(measure(images, subjects), digests, groups, clips)


def altered(image, seed):
    """The same view after another gain, noise and a lossy file."""
    rng = np.random.default_rng(seed)
    noisy = np.clip(image * 0.85 + 12 + rng.normal(0, 6, image.shape), 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(buffer, "JPEG", quality=70)
    return np.asarray(Image.open(buffer))


@pytest.fixture(scope="module")
def cohort():
    """Frames and subjects of 36 simulated people, three of each, at 210x290 px."""
    frames = list(simulate_frames(36, 3, seed=0))
    images = [resize_image(frame.image, (210, 290)) for frame in frames]
    return images, [str(frame.subject) for frame in frames]


def behind_borders(image, rows, columns):
    framed = np.zeros_like(image)
    inside = slice(rows, -rows), slice(columns, -columns)
    framed[inside] = image[inside]
    return framed


def on_a_screen(image, text="MI 0.9  FR 31 Hz"):
    """A frame in a window of its scanner's screen."""
    screen = Image.new("L", (290, 210), 0)
    pen = ImageDraw.Draw(screen)
    pen.rectangle((0, 0, 289, 16), fill=160)
    for row in range(40, 200, 20):
        pen.text((205, row), text[row // 40 :], fill=255)
        pen.line((190, row, 198, row), fill=255, width=2)
    pixels = np.array(screen)
    pixels[40:190, 10:180] = resize_image(image, (150, 170)) // 2
    return pixels


SCREENS = {
    "none": lambda image: image,
    "borders": lambda image: behind_borders(image, 20, 30),
    "wide borders": lambda image: behind_borders(image, 60, 80),
    "a scanner's screen": on_a_screen,
    "a window": lambda image: np.pad(
        resize_image(image, (90, 130)), ((60, 60), (80, 80))
    ),
}


@pytest.mark.parametrize("count", [2, 3, 6, 12, 36])
@pytest.mark.parametrize("screen", SCREENS)
def test_what_all_frames_share_makes_nobody_one_person(cohort, screen, count):
    images, subjects = (part[: 3 * count] for part in cohort)
    framed = [SCREENS[screen](image) for image in images]
    assert group(framed, subjects) == subjects


@pytest.mark.parametrize("count", [2, 3, 6, 12, 36])
@pytest.mark.parametrize("screen", SCREENS)
def test_one_person_under_two_names_is_found_behind_any_screen(cohort, screen, count):
    images, subjects = (part[: 3 * (count - 1)] for part in cohort)
    framed = [SCREENS[screen](image) for image in images]
    rng = np.random.default_rng(0)
    for image in framed[:3]:
        noisy = image + rng.normal(0, 3, image.shape)
        framed.append(np.clip(noisy, 0, 255).astype(np.uint8))
    names = [*subjects, "x", "x", "x"]
    assert shared_subjects(names, group(framed, names)) == [sorted([subjects[0], "x"])]


@pytest.mark.parametrize("screen", ["wide borders", "a scanner's screen", "a window"])
@pytest.mark.parametrize("others", [4, 18, 30])
def test_the_screen_of_some_people_makes_nobody_one_person(cohort, screen, others):
    images, subjects = cohort
    framed = [SCREENS[screen](image) for image in images[3 * others :]]
    assert group([*images[: 3 * others], *framed], subjects) == subjects


@pytest.mark.parametrize("screen", ["none", "borders"])
def test_one_person_under_three_names_is_found(cohort, screen):
    images, subjects = cohort
    rng = np.random.default_rng(1)
    images = [SCREENS[screen](image) for image in images]
    copies = [
        np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        for image in images[:3] * 2
    ]
    names = [*subjects, *"xxxyyy"]
    found = shared_subjects(names, group([*images, *copies], names))
    assert found == [sorted([subjects[0], "x", "y"])]


def test_people_without_names_are_kept_together_by_their_views(cohort):
    """Frames that count as a subject each: neighbours in a sweep are joined, others not."""
    images, subjects = cohort
    frames = [str(i) for i in range(len(images))]
    person_of = dict(zip(frames, subjects, strict=True))
    found = shared_subjects(frames, group(images, frames))
    assert found
    assert all(len({person_of[frame] for frame in people}) == 1 for people in found)


def test_equal_and_altered_frames_are_found_and_others_are_not():
    images = [texture(seed) for seed in range(6)]
    images += [images[2], altered(images[4], 9)]
    found = find(images, ["0", "1", "2", "3", "4", "5", "2", "7"])
    assert [(p.first, p.second, p.exact) for p in found.pairs] == [
        (2, 6, True),
        (4, 7, False),
    ]
    assert (found.num_exact, found.num_near, found.num_across) == (1, 1, 2)
    assert found.pairs[0].similarity == 1
    assert 0.9 < found.pairs[1].similarity < 1


@pytest.mark.parametrize("seed", range(20))
def test_an_altered_frame_is_still_near(seed):
    image = texture(seed)
    assert find([image, altered(image, seed)]).pairs


def test_blank_frames_are_near_to_nothing_not_even_when_equal():
    blank = [np.zeros((40, 50), np.uint8), np.full((40, 50), 90, np.uint8)] * 2
    digests = ["a", "b", "a", "b"]
    assert find(blank, digests).pairs == []
    assert group(blank, ["p", "q", "r", "s"], digests) == ["p", "q", "r", "s"]


def test_simulated_people_are_told_apart_and_no_label_of_theirs_contradicts():
    """Neighbours in a sweep are near; their labels change with what is seen."""
    frames = list(simulate_frames(12, 5, seed=3))
    subjects = [str(f.subject) for f in frames]
    digests = [str(i) for i in range(len(frames))]
    likeness = measure([f.image for f in frames], subjects)
    groups = group_subjects(likeness, digests, subjects)
    assert groups == subjects
    pairs = find_duplicates(likeness, digests, groups, [""] * len(groups)).pairs
    presence = np.array([f.mask.any() for f in frames])
    assert any(presence[p.first] != presence[p.second] for p in pairs)
    labelled = np.ones_like(presence)
    assert not find_outvoted(likeness, digests, groups, presence, labelled).size


def test_a_still_probe_leaves_no_more_pairs_than_frames_have_partners():
    rng = np.random.default_rng(0)
    images = [
        np.clip(texture(person) + rng.normal(0, 2, (96, 128)), 0, 255).astype(np.uint8)
        for person in range(3)
        for _ in range(60)
    ]
    subjects = [f"s{i // 60}" for i in range(180)]
    likeness = measure(images, subjects)
    digests = [str(i) for i in range(180)]
    found = find_duplicates(likeness, digests, subjects, [""] * len(subjects))
    assert found.num_near == 3 * 60 * 59 // 2
    assert len(found.pairs) <= PARTNERS * 180
    assert [len(set(found.views[i : i + 60])) for i in (0, 60, 120)] == [1, 1, 1]
    assert len(set(found.views)) == 3


def test_pairs_of_two_subjects_come_before_those_of_one():
    images = [texture(0)] * (PARTNERS + 3)
    subjects = ["a"] * (PARTNERS + 2) + ["b"]
    found = find(images, ["same"] * len(images), subjects)
    assert (0, PARTNERS + 2) in {(p.first, p.second) for p in found.pairs}


def test_subjects_that_share_a_view_are_one_group():
    shown = [0, 1, 1, 2, 2, 3, 4]  # b shares a view with a and one with c
    subjects = ["d", "a", "b", "b", "c", "c", "e"]
    groups = group([texture(i) for i in shown], subjects, [str(i) for i in shown])
    assert groups == ["d", "a", "a", "a", "a", "a", "e"]
    assert shared_subjects(subjects, groups) == [["a", "b", "c"]]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=12)
)
def test_groups_hold_subjects_and_views_together_and_are_the_finest(frames):
    subjects, views = [f"p{person}" for person, _ in frames], [v for _, v in frames]
    groups = group([texture(view) for view in views], subjects, list(map(str, views)))
    assert len(set(zip(subjects, groups, strict=True))) == len(set(subjects))
    of_view = dict(zip(views, groups, strict=True))
    assert [of_view[view] for view in views] == groups
    holders = {
        view: {s for s, v in zip(subjects, views, strict=True) if v == view}
        for view in views
    }
    joins = sum(len(people) - 1 for people in holders.values())
    assert len(set(groups)) >= len(set(subjects)) - joins


@pytest.mark.parametrize("people", [3, FEW_PEOPLE, FEW_PEOPLE + 1])
def test_likeness_is_symmetric_and_whole_for_the_same_frame(people):
    images = [texture(i) for i in range(people)] * 2
    everything = np.arange(len(images))
    likeness = measure(images, [str(i) for i in range(people)] * 2)
    found = likeness.compare(everything, everything)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    same = everything[:, None] % people == everything % people
    np.testing.assert_allclose(found[same], 1, atol=1e-4)
    assert found[~same].max() < 0.9


def outvoted(views, presence, labelled=None):
    """`find_outvoted` of frames of which those of the same view are equal."""
    presence = np.array(presence, bool)
    labelled = np.ones_like(presence) if labelled is None else np.array(labelled, bool)
    likeness = measure([texture(view) for view in views])
    digests = [str(view) for view in views]
    groups = ["one"] * len(views)
    return find_outvoted(likeness, digests, groups, presence, labelled).tolist()


def test_the_minority_of_a_view_is_outvoted_whichever_it_is():
    assert outvoted([0] * 11 + [1], [1] + [0] * 10 + [1]) == [0]
    assert outvoted([0] * 11 + [1], [0] + [1] * 10 + [0]) == [0]
    assert outvoted([0, 0, 1, 1], [1, 0, 1, 1]) == [0, 1]  # a tie says nothing
    assert outvoted([0, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1]) == []  # no label, no vote


def test_without_outvoted_frames_a_model_that_knows_nothing_scores_the_same():
    """Labels of each view are drawn; the model answers by view, regardless of them."""
    rng = np.random.default_rng(0)
    of_each = np.repeat(np.arange(24), 5)
    likeness = measure([texture(view) for view in range(24)])
    likeness = Likeness(likeness.frames[of_each], of_each)
    digests, groups = list(map(str, of_each)), ["one"] * len(of_each)
    raw, cleaned = [], []
    for _ in range(60):
        presence = rng.random(len(of_each)) < 0.5
        answer = (rng.random(24) < rng.random())[of_each]
        labelled = np.ones_like(presence)
        found = find_outvoted(likeness, digests, groups, presence, labelled)
        assert len(found)
        right = answer == presence
        raw.append(right.mean())
        cleaned.append(np.delete(right, found).mean())
    gain = np.array(cleaned) - np.array(raw)
    assert abs(gain.mean()) < 3 * gain.std() / np.sqrt(len(gain))


def test_what_is_alike_within_a_clip_is_counted_apart_and_kept_last():
    """A still probe in two sweeps of one person, the pairs across sweeps kept first."""
    noise = np.random.default_rng(0).normal(0, 2, (8, 96, 128))
    images = [np.clip(texture(0) + n, 0, 255).astype(np.uint8) for n in noise]
    images += [texture(seed) for seed in range(1, 5)]  # of other people
    subjects = ["p"] * 8 + list("qrst")
    clips = ["a"] * 5 + ["b"] * 2 + [""] * 5
    found = find(images, subjects=subjects, clips=clips)
    plain = find(images, subjects=subjects)
    assert plain.num_within_clips == 0
    assert found.num_within_clips == 5 * 4 // 2 + 1
    assert found.num_near == plain.num_near - found.num_within_clips
    assert found.views.tolist() == plain.views.tolist()
    kept = {(p.first, p.second): p.within_clip for p in found.pairs}
    assert all(within == (pair[1] < 5) for pair, within in kept.items() if pair[0] < 5)
    across = {(i, j) for i in range(5) for j in (5, 6, 7)}
    assert across <= kept.keys()  # though frames of the own clip are as alike
    assert len(found.pairs) <= PARTNERS * len(images)


def test_equal_stills_are_of_no_clip():
    images = [texture(0)] * 3
    found = find(images, ["0"] * 3)
    assert (found.num_exact, found.num_within_clips) == (3, 0)
    assert find(images, ["0"] * 3, clips=["still 0", "", ""]).num_exact == 3
    frozen = find(images, ["0"] * 3, clips=["c", "c", ""])
    assert (frozen.num_exact, frozen.num_within_clips) == (2, 1)
