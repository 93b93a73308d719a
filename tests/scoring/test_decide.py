"""The parts of a decision, on frames whose best mask is known."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from nerve_jax.scoring.calibration import CENTRES, EDGES, count_pixels
from nerve_jax.scoring.decide import (
    EXPECTATIONS,
    Outline,
    Presence,
    Rule,
    expect_dice,
    expect_nested_dice,
    rule_from_json,
    weigh_clues,
)
from nerve_jax.system.errors import InputError

SIZE = (32, 40)
SURE = Presence("head", 1.0, 0.0, 0.5)


def draw_disc(radius=6.0, blur=2.0, top=0.9):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = np.hypot(rows - 15, columns - 20)
    return (top * special.expit((radius - distance) / blur)).astype(np.float32)


def mean_dice(mask, truths):
    return np.mean(2 * (truths & mask).sum((1, 2)) / (mask.sum() + truths.sum((1, 2))))


def draw_pixels(share, rng):
    """Each pixel by itself."""
    return rng.random((400, *SIZE)) < share


def draw_contours(share, rng):
    """All pixels above a level, so that they keep together."""
    levels = (rng.permutation(400) + 0.5) / 400
    return share >= share.max() * levels[:, None, None]


@pytest.mark.parametrize(
    ("kind", "draw"), [("expected_dice", draw_pixels), ("nested_dice", draw_contours)]
)
@pytest.mark.parametrize("blur", [0.5, 2.0, 4.0])
def test_no_other_cut_scores_more_on_truths_drawn_as_the_outline_supposes(
    kind, draw, blur
):
    probs = draw_disc(blur=blur)
    truths = draw(probs / probs.max(), np.random.default_rng(0))
    cut = Outline(kind, 1.0).choose_cut(probs)
    scores = [
        mean_dice(probs >= other, truths)
        for other in np.linspace(0.05, 0.95, 19) * probs.max()
    ]
    ours = mean_dice(probs >= cut, truths)
    assert ours > max(scores) - 0.005
    pixels = count_pixels(probs)[None]
    assert EXPECTATIONS[kind](pixels, 1.0).max() == pytest.approx(ours, abs=0.02)


def test_a_wide_blur_is_cut_below_a_half_of_the_highest_and_the_temperature_counts():
    probs = draw_disc(blur=4.0)
    plain = Outline("cut", 0.5).choose_cut(probs)
    for kind in EXPECTATIONS:
        assert Outline(kind, 1.0).choose_cut(probs) < plain
        assert Outline(kind, 1.0).choose_cut(probs) != Outline(kind, 4.0).choose_cut(
            probs
        )


@given(st.integers(0, 10_000), st.floats(0.3, 5))
def test_expected_scores_are_scores_and_a_lone_sure_nerve_scores_one(seed, temperature):
    rng = np.random.default_rng(seed)
    probs = special.expit(rng.normal(-4, 3, SIZE)).astype(np.float32)
    for expect in (expect_dice, expect_nested_dice):
        expected = expect(count_pixels(probs)[None], temperature)
        assert expected.min() >= 0
        assert expected.max() <= 1 + 1e-9
    flat = np.zeros((1, len(EDGES)))
    flat[0, -1], flat[0, 0] = 50, 1000
    assert expect_nested_dice(flat, 1.0).max() == pytest.approx(1, abs=0.01)
    assert expect_dice(flat, 1.0).max() == pytest.approx(1, abs=0.01)


def test_where_cuts_give_one_mask_the_nearest_to_a_half_is_taken():
    probs = np.full(SIZE, 0.001, np.float32)
    probs[10:20, 10:20] = 0.95
    for kind in EXPECTATIONS:
        assert Outline(kind, 1.0).choose_cut(probs) == 0.5
    probs[10:20, 10:20] = 0.4
    for kind in EXPECTATIONS:
        assert 0.35 < Outline(kind, 1.0).choose_cut(probs) <= 0.4


def test_the_plain_rule_cuts_at_its_threshold_and_asks_no_presence():
    probs = np.zeros(SIZE, np.float32)
    probs[8:24, 10:30] = 0.6
    assert Rule(0.5).mask(probs, 0.0, SIZE).sum() == 16 * 20
    assert not Rule(0.7).mask(probs, 1.0, SIZE).any()
    assert Rule(0.5).predict_presence(probs, 0.3) == 0.3
    assert Rule(0.0).mask(probs, 0.0, SIZE).all()


def test_a_faint_but_sure_nerve_is_drawn_and_an_unlikely_one_is_not():
    rule = Rule(0.5, Outline("expected_dice", 1.0), SURE)
    probs = np.full(SIZE, 0.001, np.float32)
    probs[10:20, 10:20] = 0.4  # below the threshold
    assert rule.mask(probs, 0.99, SIZE).sum() == 100
    assert not rule.mask(probs, 0.01, SIZE).any()
    assert not Rule(0.5, rule.outline).mask(probs, 0.99, SIZE).any()


def test_masks_have_the_size_that_is_asked_for():
    probs = np.zeros(SIZE, np.float32)
    probs[8:24, 10:30] = 1
    for rule in (Rule(0.5), Rule(0.5, Outline("nested_dice", 1.0), SURE)):
        mask = rule.mask(probs, 0.9, (64, 80))
        assert mask.shape == (64, 80)
        assert mask.sum() == pytest.approx(32 * 40, rel=0.1)


def test_every_clue_rises_with_what_it_speaks_of_and_is_finite_at_the_ends():
    probs = np.stack([np.zeros(SIZE), draw_disc(top=0.3), np.ones(SIZE)])
    clues = weigh_clues(probs.astype(np.float16), np.float32([0, 0.3, 1]))
    assert list(clues) == [
        "head",
        "surest_pixel",
        "head_and_surest_pixel",
        "expected_area",
    ]
    for values in clues.values():
        assert np.isfinite(values).all()
        assert (np.diff(values) > 0).all()


def test_bins_and_cuts_agree():
    probs = draw_disc()
    outline = Outline("cut", 0.5)
    (chosen,) = outline.choose_bins(count_pixels(probs)[None])
    assert special.expit(EDGES[chosen]) == 0.5
    assert CENTRES[chosen] > 0
    for value, where in ((0.0, 0), (1.0, len(EDGES) - 1)):
        pixels = count_pixels(probs)[None]
        assert Outline("cut", value).choose_bins(pixels).tolist() == [where]


def test_rules_are_written_and_read_back():
    for rule in (
        Rule(0.3),
        Rule(0.5, Outline("cut", 0.4)),
        Rule(0.5, Outline("nested_dice", 1.5), SURE),
    ):
        content = json.loads(json.dumps(dataclasses.asdict(rule)))
        assert rule_from_json(content | {"tried": []}) == rule
    with pytest.raises(InputError, match="older version"):
        rule_from_json({"rule": "expected_dice", "temperature": 1.0})
