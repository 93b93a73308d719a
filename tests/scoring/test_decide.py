"""The decision is held against the plain threshold on data drawn from its own model."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special

from nerve_jax.scoring.calibration import CENTRES, count_pixels
from nerve_jax.scoring.decide import (
    ExpectedDice,
    Threshold,
    check_rule,
    choose_cut,
    collect_evidence,
    fit_rule,
    keep_largest,
    rule_from_json,
    rule_to_json,
)
from nerve_jax.scoring.metrics import compute_counts, compute_dice
from nerve_jax.system.errors import InputError

SIZE = (32, 40)


def draw_cohort(num_frames, seed, share=0.4):
    """Frames with a nerve or not, and what a calibrated model would say of them.

    A nerve is there with probability q; if it is, each pixel is nerve with its own
    probability r, independently. The model says q, and q r of a pixel.
    """
    rng = np.random.default_rng(seed)
    q = special.expit(rng.normal(special.logit(share), 2.0, num_frames))
    there = rng.random(num_frames) < q
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    probs, truths = [], []
    for i in range(num_frames):
        y, x = rng.uniform(0.3, 0.7, 2) * SIZE
        radius, blur = rng.uniform(4, 8), rng.uniform(0.5, 4)
        distance = np.hypot(rows - y, columns - x)
        r = special.expit((radius - distance) / blur)
        probs.append(q[i] * r)
        truths.append((rng.random(SIZE) < r) & there[i])
    probs, truths = np.array(probs, np.float32), np.array(truths)
    return probs, q.astype(np.float32), truths


def mean_dice(rule, probs, presence, truths):
    counts = [
        compute_counts(rule.mask(p, float(q), SIZE), t)
        for p, q, t in zip(probs, presence, truths, strict=True)
    ]
    return compute_dice(np.array(counts))


def fit(probs, presence, truths):
    masks = truths.astype(np.uint8) * 255
    return fit_rule(collect_evidence(probs, presence, masks, truths.any((1, 2))))


def test_the_rule_beats_the_threshold_in_expectation_on_new_frames():
    rule = fit(*draw_cohort(600, seed=0))
    cohort = draw_cohort(1500, seed=1)
    gain = mean_dice(rule, *cohort) - mean_dice(Threshold(0.5), *cohort)
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5 > 0
    assert rule.temperature == pytest.approx(1, abs=0.1)


def test_no_other_cut_scores_more_in_expectation():
    """Held against 400 masks drawn from the model, for each cut there is."""
    probs, _, _ = draw_cohort(1, seed=4)
    r = probs[0] / probs[0].max()
    rng = np.random.default_rng(0)
    truths = rng.random((400, *SIZE)) < r
    cut, expected = choose_cut(count_pixels(r), 1.0, 1.0)
    scores = [
        np.mean(
            2
            * (truths & (r >= cut)).sum((1, 2))
            / ((r >= cut).sum() + truths.sum((1, 2)))
        )
        for cut in np.linspace(0.05, 0.95, 19)
    ]
    mask = r >= special.expit(CENTRES[cut] - 1 / 32)
    ours = np.mean(2 * (truths & mask).sum((1, 2)) / (mask.sum() + truths.sum((1, 2))))
    assert ours > max(scores) - 0.003
    assert expected == pytest.approx(ours, abs=0.02)
    assert ours > scores[9]  # a cut at half


def test_a_faint_but_sure_nerve_is_drawn_and_an_unlikely_one_is_not():
    rule = ExpectedDice(1.0, 0.5, 0.0, 0.0, True)
    probs = np.full(SIZE, 0.001, np.float32)
    probs[10:20, 10:20] = 0.4  # below every plain cut at half
    assert rule.mask(probs, 0.99, SIZE).sum() == 100
    assert not rule.mask(probs, 0.01, SIZE).any()


def test_specks_and_second_pieces_are_left_out():
    probs = np.full(SIZE, 0.001, np.float32)
    probs[10:20, 10:20] = probs[25:28, 30:33] = 0.95
    whole = ExpectedDice(1.0, 0.5, 0.0, 0.0, False)
    assert whole.mask(probs, 0.99, SIZE).sum() == 109
    assert ExpectedDice(1.0, 0.5, 0.0, 0.0, True).mask(probs, 0.99, SIZE).sum() == 100
    share = 101 / (SIZE[0] * SIZE[1])
    assert not ExpectedDice(1.0, 0.5, 0.0, share, True).mask(probs, 0.99, SIZE).any()


def test_masks_have_the_size_that_is_asked_for():
    probs = np.zeros(SIZE, np.float32)
    probs[8:24, 10:30] = 1
    for rule in (Threshold(0.5), ExpectedDice(1.0, 1.0, 0.0, 0.0, True)):
        mask = rule.mask(probs, 0.9, (64, 80))
        assert mask.shape == (64, 80)
        assert mask.sum() == pytest.approx(32 * 40, rel=0.1)


def test_fitting_learns_area_pieces_and_how_sure_presence_is():
    probs, presence, truths = draw_cohort(300, seed=2)
    truths = (
        np.array([ndimage.binary_opening(t) for t in probs > 0.3])
        & (truths.any((1, 2))[:, None, None])
    )
    rule = fit(probs, presence, truths)
    smallest = min(t.mean() for t in truths if t.any())
    assert rule.smallest_share == pytest.approx(smallest / 10)
    assert rule.one_component
    said = np.array(
        [rule.presence(p, float(q)) for p, q in zip(probs, presence, strict=True)]
    )
    assert said.mean() == pytest.approx(truths.any((1, 2)).mean(), abs=0.03)


def test_nerves_too_small_to_be_seen_say_nothing_of_pieces():
    probs, presence, _ = draw_cohort(30, seed=5)
    masks = (probs >= probs.max((1, 2), keepdims=True) / 2).astype(np.uint8) * 255
    masks[:15] //= 3  # no pixel is half nerve
    rule = fit_rule(collect_evidence(probs, presence, masks, np.ones(30, bool)))
    assert rule.one_component
    assert rule.smallest_share > 0


@pytest.mark.parametrize("everywhere", [True, False])
def test_where_all_frames_show_a_nerve_or_none_does_their_share_is_the_presence(
    everywhere,
):
    probs, presence, _ = draw_cohort(20, seed=3)
    truths = (probs >= probs.max((1, 2), keepdims=True) / 2) & everywhere
    rule = fit(probs, presence, truths)
    share = 21 / 22 if everywhere else 1 / 22
    assert rule.presence(probs[0], 0.5) == pytest.approx(share)
    assert rule.mask(probs[0], 0.5, SIZE).any() == everywhere


@given(st.integers(0, 50))
def test_the_largest_piece_is_one_piece_and_no_other_is_larger(seed):
    mask = np.random.default_rng(seed).random((12, 14)) < 0.35
    kept = keep_largest(mask)
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    assert (mask | ~kept).all()
    assert kept.sum() == max([*np.bincount(pieces.ravel())[1:], 0])
    assert ndimage.label(kept, np.ones((3, 3)))[1] == min(count, 1)


def test_rules_are_saved_by_name_and_read_back():
    for rule in (Threshold(0.3), ExpectedDice(1.5, 0.3, -0.2, 0.001, True)):
        assert rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) == rule
    with pytest.raises(InputError, match="threshold, expected_dice"):
        check_rule("best")
