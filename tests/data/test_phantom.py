import itertools

import numpy as np
import pytest
from scipy import ndimage

from nerve_jax.data.phantom import people
from nerve_jax.data.phantom.anatomy import HEIGHT_PX, WIDTH_PX
from nerve_jax.data.phantom.scanner import Scanner, Sweep, insonify

KAGGLE = 2  # Kaggle's px for one of the phantom's


@pytest.fixture(scope="module")
def frames():
    return list(people.simulate_frames(47, 6, seed=0))


@pytest.fixture(scope="module")
def masks(frames):
    return np.array([frame.mask for frame in frames if frame.mask.any()])


def test_same_seed_same_bytes_and_another_seed_another_person():
    def content(seed):
        pairs = people.simulate_frames(2, 2, seed)
        return [f.image.tobytes() + f.mask.tobytes() for f in pairs]

    assert content(3) == content(3)
    assert not set(content(3)) & set(content(4))


def test_a_subject_is_the_same_however_far_one_reads():
    first = next(people.simulate_frames(3, 4, 0))
    last = list(people.simulate_frames(3, 4, 0))
    np.testing.assert_array_equal(first.image, last[0].image)
    assert [f.subject for f in last] == [0] * 4 + [1] * 4 + [2] * 4
    assert [f.index for f in last] == [0, 1, 2, 3] * 3


def test_presence_follows_kaggle():
    """41.2 % of the frames; by subject from 1.7 % to 89 %."""
    rates = people.presence_rates(47, seed=0)
    assert rates.mean() == pytest.approx(0.412, abs=0.02)
    assert rates.min() < 0.08
    assert 0.75 < rates.max() < 0.95
    assert np.std(rates) == pytest.approx(0.21, abs=0.03)


def test_frames_show_the_nerve_at_those_rates(frames):
    presence = np.array([frame.mask.any() for frame in frames]).reshape(47, 6)
    assert presence.mean() == pytest.approx(0.412, abs=0.04)
    rates = people.presence_rates(47, seed=0)
    assert np.abs(presence.mean(1) - rates).max() <= 1 / 6 + 1e-9


def test_mask_area_follows_kaggle(masks):
    """Median 2.9 % of the frame; 5 to 95 % of masks 1.9 % to 4.2 %."""
    low, median, high = np.percentile(masks.mean((1, 2)), [5, 50, 95])
    assert median == pytest.approx(0.0286, abs=0.003)
    assert low == pytest.approx(0.019, abs=0.004)
    assert high == pytest.approx(0.0425, abs=0.006)


def test_mask_place_and_box_follow_kaggle(masks):
    centres = np.array([ndimage.center_of_mass(mask) for mask in masks]) * KAGGLE
    np.testing.assert_allclose(np.median(centres, axis=0), (138, 333), atol=15)
    boxes = [ndimage.find_objects(mask.astype(int))[0] for mask in masks]
    sizes = [[side.stop - side.start for side in box] for box in boxes]
    np.testing.assert_allclose(np.median(sizes, axis=0) * KAGGLE, (117, 88), atol=12)


def test_masks_are_one_component(masks):
    assert {ndimage.label(mask)[1] for mask in masks} == {1}


def correlation(a, b):
    return np.corrcoef(a.image.ravel(), b.image.ravel())[0, 1]


def test_neighbouring_frames_are_near_duplicates_and_subjects_are_not():
    frames = list(people.simulate_frames(2, 12, seed=1))
    near = np.mean([correlation(frames[i], frames[i + 1]) for i in range(11)])
    far = np.mean([correlation(frames[i], frames[i + 6]) for i in range(6)])
    other = np.mean([correlation(frames[i], frames[i + 12]) for i in range(12)])
    assert near > 0.85
    assert near > far + 0.1 > other


def test_speckle_is_fully_developed():
    """Before the display the envelope of even tissue is Rayleigh: mean / deviation 1.91."""
    from nerve_jax.data.phantom import scanner

    rng = np.random.default_rng(0)
    sweep = Sweep(rng)
    echo = scanner._point_spread(sweep.scatterers[0], HEIGHT_PX / 2, 1.2)
    envelope = np.abs(echo[60:150, 20:-20])
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.08)


def test_gain_and_attenuation_differ_by_subject():
    even = np.full((HEIGHT_PX, WIDTH_PX), -25, np.float32)
    rng = np.random.default_rng(0)
    brightness, slopes = [], []
    for _ in range(12):
        image = insonify(even, Scanner(rng), Sweep(rng), 0.0, rng).astype(float)
        brightness.append(image.mean())
        slopes.append(image[150:].mean() - image[:60].mean())
    assert np.std(brightness) > 5
    assert np.std(slopes) > 5


@pytest.mark.parametrize("wrong", [(0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, 0, 0)])
def test_counts_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        next(people.simulate_frames(*wrong))


def test_frames_are_those_of_this_version():
    """Records are named after it: whoever changes these frames must raise it."""
    frames = list(people.simulate_frames(3, 4, seed=0))
    areas = [int(frame.mask.sum()) for frame in frames]
    grey = [float(frame.image.mean()) for frame in frames]
    known = {1: ([1489, 1591, 1610, 0, 1763, 0, 0, 0, 1978, 1965, 0, 0], 126.358)}
    assert areas == known[people.VERSION][0]
    assert np.mean(grey) == pytest.approx(known[people.VERSION][1], abs=0.01)


@pytest.fixture(scope="module")
def read():
    """Outlines of three readers, by structure and reader, [frames, height, width]."""
    frames = list(people.simulate_frames(24, 4, seed=0, num_readers=3))
    return {
        name: {r: np.array([f.outlines[name][r] for f in frames]) for r in by}
        for name, by in frames[0].outlines.items()
    }


def test_the_first_readers_outlines_do_not_depend_on_others(read):
    alone = list(people.simulate_frames(24, 4, seed=0))
    assert list(read) == list(people.STRUCTURES)
    for name, by in read.items():
        assert list(by) == people.name_readers(3)
        first = np.array([frame.outlines[name]["reader1"] for frame in alone])
        np.testing.assert_array_equal(by["reader1"], first)
    np.testing.assert_array_equal(
        read["nerve"]["reader1"], np.array([frame.mask for frame in alone])
    )


@pytest.mark.parametrize(
    ("name", "low", "high"), [("nerve", 0.78, 0.88), ("vessel", 0.8, 0.92)]
)
def test_readers_agree_as_people_do(read, name, low, high):
    for first, second in itertools.combinations(read[name].values(), 2):
        sizes = first.sum((1, 2)), second.sum((1, 2))
        both = np.logical_and(*(size > 0 for size in sizes))
        dice = 2 * (first & second).sum((1, 2))[both] / sum(sizes)[both]
        assert low < dice.mean() < high
        assert np.percentile(dice, 5) > 0.6


def test_readers_see_nerves_that_others_do_not(read):
    seen = [masks.any((1, 2)) for masks in read["nerve"].values()]
    for first, second in itertools.combinations(seen, 2):
        assert 0.02 < (first != second).mean() < 0.2


def test_vessels_are_dark_and_are_outlined_where_they_show():
    frames = list(people.simulate_frames(12, 2, seed=4))
    for frame in frames:
        vessels = frame.outlines["vessel"]["reader1"]
        assert 0 < vessels.mean() < 0.06
        around = ndimage.binary_dilation(
            vessels, iterations=6
        ) & ~ndimage.binary_dilation(vessels, iterations=3)
        assert frame.image[vessels].mean() < frame.image[around].mean() - 15
    covered = [f.mask & f.outlines["vessel"]["reader1"] for f in frames]
    assert sum(mask.sum() for mask in covered) < 0.02 * sum(
        f.mask.sum() for f in frames
    )


@pytest.mark.parametrize(("visibility", "is_seen"), [(1.0, True), (0.0, False)])
def test_a_nerve_may_be_as_clear_or_as_faint_as_can_be(
    monkeypatch, visibility, is_seen
):
    def show(rng, num_frames, rate):
        return np.full(num_frames, visibility)

    monkeypatch.setattr(people, "_visibility", show)
    frames = list(people.simulate_frames(1, 2, seed=0, num_readers=3))
    for frame in frames:
        for mask in frame.outlines["nerve"].values():
            assert mask.any() == is_seen
