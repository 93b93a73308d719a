"""Sectors on the screens of scanners, made of phantoms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.cleaning import burn, compress, draw_screen
from nerve_jax.data.phantom.people import simulate_frames
from nerve_jax.data.sector import blacken, find_box, find_sector, mosaic

SIZE = (330, 510)
TOP, LEFT = 60, 80


@pytest.fixture(scope="module")
def clip():
    """One sweep: uint8 [12, 210, 290]."""
    return np.stack([frame.image for frame in simulate_frames(1, 12, seed=3)])


def draw_screens(clip, text="DOE^JANE  1961-03-12", place=(TOP, LEFT)):
    return np.stack([draw_screen(image, place, SIZE, text) for image in clip])


def truth_of(clip, place=(TOP, LEFT)):
    truth = np.zeros(SIZE, bool)
    truth[place[0] : place[0] + clip.shape[1], place[1] : place[1] + clip.shape[2]] = 1
    return truth


def fan_of(clip):
    """A fan of 70 degrees from above the image, True inside."""
    rows, columns = np.indices(clip.shape[1:])
    down, across = rows + 40.0, columns - clip.shape[2] / 2
    radius, angle = np.hypot(down, across), np.degrees(np.arctan2(across, down))
    return (radius > 70) & (radius < 240) & (np.abs(angle) < 35)


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("count", [12, 1], ids=["clip", "still"])
@pytest.mark.parametrize("stored", [np.asarray, compress], ids=["lossless", "JPEG"])
@pytest.mark.parametrize("shape", ["rectangle", "fan"])
def test_the_sector_is_found_and_no_lettering_beside_it(clip, count, stored, shape):
    inside = fan_of(clip) if shape == "fan" else np.ones(clip.shape[1:], bool)
    screens = draw_screens(np.where(inside, clip, 0)[:count])
    screens = np.stack([stored(screen) for screen in screens])
    truth = truth_of(clip)
    truth[truth] = inside.ravel()
    sector = find_sector(screens)
    # Blocks of 8 x 8 pixels that tissue lies in change as a whole.
    assert overlap(sector, truth) > (0.93 if stored is np.asarray else 0.83)
    assert (sector & truth).sum() > 0.98 * truth.sum()
    top, left, bottom, right = find_box(sector)
    box = np.s_[top:bottom, left:right]
    beside = ~truth_of(clip)[box]
    assert blacken(screens[0], sector)[box][beside].max(initial=0) <= 40


@settings(max_examples=10, deadline=None)
@given(
    top=st.integers(45, 110),
    left=st.integers(60, 140),
    text=st.text("ABCDEFGHKLMNOPRSTUVWXYZ0123456789^,. ", min_size=3, max_size=20),
    size_px=st.integers(10, 24),
    still=st.booleans(),
)
def test_a_name_at_any_place_above_the_sector_is_cut(
    clip, top, left, text, size_px, still
):
    screens = draw_screens(clip[: 1 if still else 6], text="", place=(top, left))
    row = top - size_px - 6
    screens = np.stack(
        [
            burn(screen, text, (left, row), (255, 255, 255), size_px)
            for screen in screens
        ]
    )
    truth = truth_of(clip, (top, left))
    sector = find_sector(screens)
    assert overlap(sector, truth) > 0.93
    assert blacken(screens[0], sector)[~truth].max() <= 40


def test_shadows_in_the_corners_and_inside_belong_to_the_sector(clip):
    dark = clip.copy()
    dark[:, 120:, :60] = 0
    dark[:, 150:, 200:] = 0
    dark[:, 60:110, 110:180] = 0
    for samples in (dark, dark[:1]):
        assert find_sector(samples).all()
        sector = find_sector(draw_screens(samples))
        assert (sector & truth_of(clip)).sum() > 0.98 * truth_of(clip).sum()


def test_black_parts_that_a_scanner_tells_from_its_screen_belong_to_the_sector(clip):
    """Curved probes: the empty screen is 0, the sector at least 1."""
    fan = fan_of(clip)
    faint = np.where(np.arange(clip.shape[1])[:, None] < 90, clip, 0)
    screens = draw_screens(np.where(fan, np.maximum(faint, 1), 0)[:1])
    truth = truth_of(clip)
    truth[truth] = fan.ravel()
    assert overlap(find_sector(screens), truth) > 0.93


def test_an_image_of_nothing_but_tissue_is_all_sector(clip):
    for samples in (clip, clip[:1], np.repeat(clip[:1], 5, axis=0)):
        assert find_sector(samples).all()


def test_a_still_loop_is_taken_for_a_still_image(clip):
    frozen = np.repeat(draw_screens(clip[:1]), 5, axis=0)
    assert np.array_equal(find_sector(frozen), find_sector(frozen[:1]))


@pytest.mark.parametrize("value", [0, 40, 255])
def test_a_blank_screen_has_no_sector(value):
    sector = find_sector(np.full((3, 120, 160), value, np.uint8))
    assert not sector.any()
    assert find_box(sector) == (0, 0, 0, 0)


def test_a_screen_of_text_alone_has_no_sector():
    empty = np.zeros(SIZE, np.uint8)
    for line in range(12):
        empty = burn(
            empty, "PATIENT NAME 0048213", (20, 20 * line + 10), (255,) * 3, 16
        )
    assert not find_sector(empty[None]).any()


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=24)))
def test_any_image_has_a_sector_or_none(samples):
    sector = find_sector(samples)
    top, left, bottom, right = find_box(sector)
    assert sector.shape == samples.shape[1:]
    assert sector.sum() <= (bottom - top) * (right - left)


def test_blacken_keeps_the_sector_and_every_channel(clip):
    colour = np.stack([clip[0]] * 3, axis=-1)
    inside = fan_of(clip)
    kept = blacken(colour, inside)
    assert kept.dtype == np.uint8
    np.testing.assert_array_equal(kept[inside], colour[inside])
    assert not kept[~inside].any()


def test_a_mosaic_leaves_no_contrast_to_read(clip):
    screen = draw_screens(clip[:1])[0]
    truth = truth_of(clip)
    hidden = mosaic(screen, truth)
    np.testing.assert_array_equal(hidden[truth], screen[truth])
    for row in range(0, 48, 24):
        for column in range(0, SIZE[1], 24):
            cell = np.s_[row : row + 24, column : column + 24]
            assert len(np.unique(hidden[cell][~truth[cell]])) <= 1
    assert not np.array_equal(hidden[:24], screen[:24])
