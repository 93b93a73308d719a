"""A part is taken where it gains on people whom it was not fitted on, and only there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from nerve_jax.scoring.decide import Outline, Rule
from nerve_jax.scoring.evidence import collect_evidence, pool_evidence
from nerve_jax.scoring.fitting import (
    FEWEST_PEOPLE,
    fit_presence,
    fit_rule,
    score_cuts,
)
from nerve_jax.scoring.metrics import compute_counts, compute_dice
from nerve_jax.scoring.units import Units, deal_people

SIZE = (32, 40)


def draw_cohort(num_people, seed, *, alarms=0.0):
    """Ten frames of each person, and what a calibrated model would say of them.

    A nerve is there with probability q; if it is, each pixel is nerve with its own
    probability r, independently. The model says q, and q r of a pixel; but in a share
    `alarms` of frames without a nerve pixels look like one, and q alone is low.
    """
    rng = np.random.default_rng(seed)
    people = [f"p{i // 10}" for i in range(num_people * 10)]
    q = special.expit(rng.normal(-0.4, 2.0, len(people)))
    there = rng.random(len(people)) < q
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    probs, truths = [], []
    for i in range(len(people)):
        y, x = rng.uniform(0.3, 0.7, 2) * SIZE
        distance = np.hypot(rows - y, columns - x)
        r = special.expit((rng.uniform(4, 8) - distance) / rng.uniform(0.5, 4.0))
        alarm = not there[i] and rng.random() < alarms
        q[i] = 0.05 if alarm else q[i]
        probs.append(0.9 * r if alarm else q[i] * r)
        truths.append((rng.random(SIZE) < r) & there[i])
    return np.array(probs, np.float32), q.astype(np.float32), np.array(truths), people


def of_one_net(people):
    return Units(np.array(people, str), np.zeros(len(people), int))


def collect(probs, presence, truths):
    masks = truths.astype(np.uint8) * 255
    return collect_evidence(probs, presence, masks, truths.any((1, 2)))


def dice(rule, probs, presence, truths):
    counts = [
        compute_counts(rule.mask(p, float(q), SIZE), t)
        for p, q, t in zip(probs, presence, truths, strict=True)
    ]
    return compute_dice(np.array(counts))


def test_what_is_taken_gains_on_new_people():
    *cohort, people = draw_cohort(40, seed=0, alarms=0.4)
    rule, tried = fit_rule(collect(*cohort), of_one_net(people), threshold=0.5)
    assert {row.part for row in tried if row.taken} == {"outline", "presence"}
    *others, _ = draw_cohort(60, seed=1, alarms=0.4)
    plain = dice(Rule(0.5), *others)
    for part in (Rule(0.5, rule.outline), Rule(0.5, None, rule.presence), rule):
        gain = dice(part, *others) - plain
        assert gain.mean() > 2 * gain.std() / len(gain) ** 0.5 > 0


@pytest.mark.parametrize("seed", range(3))
def test_where_the_threshold_is_best_it_stays(seed):
    """Sharp outlines of sure nerves: whatever a candidate gains is noise."""
    rng = np.random.default_rng(seed)
    truths = np.zeros((80, *SIZE), bool)
    truths[:, 8:20, 10:25] = True
    truths[rng.random(80) < 0.5] = False
    noise = rng.normal(0, 1.0, truths.shape)
    probs = special.expit(np.where(truths, 6, -6) + noise).astype(np.float32)
    people = [f"p{i // 8}" for i in range(80)]
    evidence = collect(probs, probs.max((1, 2)), truths)
    rule, tried = fit_rule(evidence, of_one_net(people), threshold=0.5)
    assert rule == Rule(0.5)
    assert len(tried) == 7
    assert not any(row.taken for row in tried)


def test_what_nets_alike_gain_is_taken_and_what_one_net_alone_gains_is_not():
    *cohort, people = draw_cohort(40, seed=0, alarms=0.4)
    units = Units(np.array(people), np.arange(len(people)) // 10 % 5)
    rule, _ = fit_rule(collect(*cohort), units, threshold=0.5)
    assert rule.outline is not None and rule.presence is not None
    gain = np.where(units.nets == 2, 0.3, 0.0)
    assert of_one_net(people).bound(gain)[0] > 0
    assert units.bound(gain)[0] < 0


def test_a_rule_is_judged_by_nets_that_it_was_not_fitted_on():
    """One net in three says of everything that it is sure; presence by it costs there."""
    probs, presence, truths, people = draw_cohort(60, seed=0, alarms=0.4)
    nets = np.arange(len(people)) // 10 % 3
    presence = np.where(nets == 2, 0.999, presence).astype(np.float32)
    evidence, units = collect(probs, presence, truths), Units(np.array(people), nets)
    _, tried = fit_rule(evidence, units, threshold=0.5)
    _, pooled = fit_rule(evidence, of_one_net(people), threshold=0.5)
    gains, mixed = ({r.name: r.gain for r in rows} for rows in (tried, pooled))
    assert gains["head"] < 0
    assert gains["head"] < mixed["head"] - 0.05


def test_nets_tell_of_others_where_there_are_three_and_nobody_is_in_two():
    people = np.array([f"p{i // 4}" for i in range(24)])
    assert Units(people, np.arange(24) // 8).tell_of_nets
    assert not Units(people, np.arange(24) // 12).tell_of_nets
    torn = Units(people, np.arange(24) % 3)
    assert not torn.tell_of_nets
    np.testing.assert_array_equal(torn.deal(), deal_people(people))
    few = Units(people, np.arange(24) // 8).select(np.arange(24) < 16)
    assert not few.tell_of_nets


def test_what_was_tried_says_what_frames_with_and_without_a_nerve_gain():
    *cohort, people = draw_cohort(20, seed=3)
    evidence = collect(*cohort)
    _, tried = fit_rule(evidence, of_one_net(people), threshold=0.5)
    share = evidence.presence.mean()
    for row in tried:
        assert row.interval[0] <= row.gain <= row.interval[1]
        if row.part == "outline":
            assert row.gain == pytest.approx(row.gain_with_nerve)
            assert np.isnan(row.gain_without_nerve)
        else:
            parts = share * row.gain_with_nerve + (1 - share) * row.gain_without_nerve
            assert row.gain == pytest.approx(parts)


@pytest.mark.parametrize("everywhere", [True, False])
def test_where_all_frames_show_a_nerve_or_none_does_no_presence_is_fitted(everywhere):
    probs, presence, _, people = draw_cohort(12, seed=4)
    truths = (probs >= probs.max((1, 2), keepdims=True) / 2) & everywhere
    rule, tried = fit_rule(
        collect(probs, presence, truths), of_one_net(people), threshold=0.5
    )
    assert rule.presence is None
    assert {row.part for row in tried} == ({"outline"} if everywhere else set())


def test_too_few_people_leave_the_threshold():
    *cohort, people = draw_cohort(FEWEST_PEOPLE - 1, seed=5)
    assert fit_rule(collect(*cohort), of_one_net(people), threshold=0.4) == (
        Rule(0.4),
        [],
    )
    nobody = collect(*cohort).select(np.zeros(len(people), bool))
    assert fit_rule(nobody, of_one_net([]), threshold=0.4) == (Rule(0.4), [])


def test_presence_is_calibrated_and_asks_more_where_outlines_score_less():
    *cohort, _ = draw_cohort(60, seed=6)
    evidence = collect(*cohort)
    sharp, blurred = (
        fit_presence(evidence, "head", np.full(len(evidence.presence), value))
        for value in (1.0, 0.5)
    )
    said = sharp.prob(evidence.clues)
    assert said.mean() == pytest.approx(evidence.presence.mean(), abs=0.02)
    assert sharp.least == pytest.approx(1 / 2)
    assert blurred.least == pytest.approx(2 / 3)
    shown = evidence.select(evidence.presence)
    always = fit_presence(shown, "head", np.ones(len(shown.presence)))
    count = len(shown.presence)
    np.testing.assert_allclose(always.prob(shown.clues), (count + 1) / (count + 2))


def test_dice_by_cut_is_the_dice_of_the_masks():
    *cohort, _ = draw_cohort(2, seed=7)
    probs, _, truths = cohort
    evidence = collect(*cohort)
    outline = Outline("cut", 0.5)
    bins = outline.choose_bins(evidence.counts.pixels)
    scores = score_cuts(evidence.counts)[np.arange(len(bins)), bins]
    for p, t, score in zip(probs, truths, scores, strict=True):
        total = (p >= 0.5).sum() + t.sum()
        expected = 1.0 if total == 0 else 2 * ((p >= 0.5) & t).sum() / total
        assert score == pytest.approx(expected)


def test_pooled_evidence_is_that_of_all_frames():
    *cohort, _ = draw_cohort(3, seed=8)
    whole = collect(*cohort)
    halves = [whole.select(rows) for rows in (np.arange(30) < 13, np.arange(30) >= 13)]
    again = pool_evidence(halves)
    np.testing.assert_array_equal(again.counts.nerve, whole.counts.nerve)
    np.testing.assert_array_equal(again.presence, whole.presence)
    for name, values in whole.clues.items():
        np.testing.assert_array_equal(again.clues[name], values)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_people_are_dealt_whole(numbers):
    people = [f"p{number}" for number in numbers]
    parts = deal_people(people)
    for person in set(people):
        assert (
            len({part for p, part in zip(people, parts, strict=True) if p == person})
            == 1
        )
    assert len(set(parts.tolist())) == min(5, len(set(people)))
