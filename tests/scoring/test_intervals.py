import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.metrics import roc_auc_score

from nerve_jax.scoring.intervals import (
    HIDDEN,
    compute_auroc_interval,
    compute_mean_interval,
    compute_score_interval,
    mean_interval_of_people,
    score_interval_of_people,
)

BOTH = (compute_score_interval, compute_mean_interval)


def people_of(num_subjects, per_subject):
    return [f"p{i // per_subject}" for i in range(num_subjects * per_subject)]


def cohort(rng, num_subjects=24, per_subject=10, spread=0.15, noise=0.1):
    """Scores around 0.7 that differ more between people than within one."""
    people = rng.normal(0.7, spread, num_subjects)
    values = np.repeat(people, per_subject) + rng.normal(
        0, noise, num_subjects * per_subject
    )
    return values, people_of(num_subjects, per_subject)


def unlike_people(rng, num_subjects):
    """Sums and numbers of frames with a nerve, of which 15 % of people have a low score.

    Presence differs from person to person as on Kaggle's frames.
    """
    counts = rng.binomial(20, rng.beta(1.6, 2.3, num_subjects)) + 1.0
    hard = rng.random(num_subjects) < 0.15
    scores = np.where(hard, rng.beta(4, 6, num_subjects), rng.beta(24, 4, num_subjects))
    return scores * counts, counts


# What they cover.


@pytest.mark.parametrize("num_subjects", [6, 9, 24])
def test_a_mean_is_covered_90_to_99_times_in_100(num_subjects):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = compute_mean_interval(*cohort(rng, num_subjects))
        hits += low <= 0.7 <= high
    assert 180 <= hits <= 198


@pytest.mark.parametrize(
    ("num_subjects", "fewest"), [(5, 0.93), (9, 0.86), (20, 0.9), (47, 0.92)]
)
def test_a_score_is_covered_where_some_people_are_hard(num_subjects, fewest):
    rng = np.random.default_rng(0)
    sums, counts = unlike_people(rng, 200_000)
    truth = sums.sum() / counts.sum()
    intervals = np.array(
        [
            score_interval_of_people(*unlike_people(rng, num_subjects))
            for _ in range(500)
        ]
    )
    above, below = (intervals[:, 0] > truth).mean(), (intervals[:, 1] < truth).mean()
    assert 1 - above - below > fewest
    assert below < 0.05


def test_the_width_is_that_of_a_t_interval_where_people_are_many_and_middling():
    rng = np.random.default_rng(0)
    sums = rng.uniform(0.2, 0.8, 400)
    found = np.diff(score_interval_of_people(sums, np.ones(400)))[0]
    assert found == pytest.approx(
        2 * 1.966 * sums.std(ddof=1) / 20, rel=0.02 + HIDDEN / 10
    )


def test_frames_as_units_would_be_far_too_sure():
    values, subjects = cohort(np.random.default_rng(0))
    frames = [str(i) for i in range(len(values))]
    for compute in BOTH:
        by_subject = np.diff(compute(np.clip(values, 0, 1), subjects))[0]
        assert by_subject > 2 * np.diff(compute(np.clip(values, 0, 1), frames))[0]


def test_a_mean_of_as_many_frames_a_person_has_the_t_interval_of_peoples_means():
    values, subjects = cohort(np.random.default_rng(2), 9, 4)
    means = values.reshape(9, 4).mean(1)
    expected = stats.t.interval(0.95, 8, means.mean(), stats.sem(means))
    assert compute_mean_interval(values, subjects) == pytest.approx(expected)


def test_the_variance_is_that_of_the_jackknife_where_people_have_unlike_numbers():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 30, 12).astype(float)
    sums = counts * rng.uniform(0, 1, 12)
    left_out = [
        (sums.sum() - s) / (counts.sum() - c) for s, c in zip(sums, counts, strict=True)
    ]
    mean = sums.sum() / counts.sum()
    error = np.sqrt(11 / 12 * ((np.array(left_out) - mean) ** 2).sum())
    people = counts.sum() ** 2 / (counts**2).sum()
    reach = stats.t.ppf(0.975, people - 1) * error
    expected = (mean - reach, mean + reach)
    assert mean_interval_of_people(sums, counts) == pytest.approx(expected)


# At the edges.


@pytest.mark.parametrize("num_subjects", [2, 3, 5, 9, 20, 47])
@pytest.mark.parametrize("per_subject", [1, 18, 120])
def test_people_all_at_an_edge_are_as_many_trials_that_all_came_out_alike(
    num_subjects, per_subject
):
    subjects = people_of(num_subjects, per_subject)
    expected = stats.binomtest(num_subjects, num_subjects).proportion_ci()
    ones = np.ones(len(subjects))
    assert compute_score_interval(ones, subjects) == pytest.approx(tuple(expected))
    low, high = compute_score_interval(0 * ones, subjects)
    assert (low, high) == pytest.approx((0, 1 - expected.low))


def test_nine_of_nine_people():
    assert compute_score_interval(np.ones(9), list("abcdefghi")) == pytest.approx(
        (0.664, 1), abs=5e-4
    )


def scores(smallest):
    """Frames of 2 to 6 people; edges and equal values often."""
    values = st.sampled_from([0.0, 1.0, 0.5, 1 - 1e-7, 1e-9]) | st.floats(0, 1)
    return hnp.arrays(float, st.integers(smallest, 30), elements=values)


@settings(deadline=None, max_examples=200)
@example(np.full(4, 0.3640166139187765), 4)
@example(np.array([1.0] * 29 + [1 - 1e-12]), 6)
@given(scores(6), st.integers(2, 6))
def test_the_interval_of_a_score_has_width_holds_its_mean_and_stays_in_its_range(
    values, num_subjects
):
    subjects = [str(i % num_subjects) for i in range(len(values))]
    low, high = compute_score_interval(values, subjects)
    assert 0 <= low <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= high <= 1
    assert high - low > 1e-6
    mirrored = compute_score_interval(1 - values, subjects)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_a_slip_of_one_person_does_not_make_eight_others_sure():
    sums = np.full(9, 100.0)
    sums[0] = 98
    low, high = score_interval_of_people(sums, np.full(9, 100.0))
    assert low < 0.98
    assert high < 1


def test_a_value_that_is_no_score_is_refused():
    for value in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            compute_score_interval(np.array([0.5, value]), ["a", "b"])


def test_differences_of_identical_runs_are_a_point():
    assert compute_mean_interval(np.zeros(6), list("aabbcc")) == (0, 0)


# What is left out, and levels.


@pytest.mark.parametrize("compute", BOTH)
def test_undefined_values_are_left_out(compute):
    values, subjects = cohort(np.random.default_rng(1), 8, 4, 0.05, 0.01)
    gaps = np.concatenate([values, [np.nan] * 3])
    found = compute(gaps, [*subjects, "p0", "p1", "new"])
    assert found == compute(values, subjects)


@pytest.mark.parametrize("compute", BOTH)
def test_one_person_says_nothing_of_others(compute):
    assert np.isnan(compute(np.array([0.1, 0.9]), ["a", "a"])).all()
    assert np.isnan(compute(np.array([np.nan]), ["a"])).all()
    assert np.isnan(compute(np.array([]), [])).all()


@pytest.mark.parametrize("compute", BOTH)
def test_a_lower_level_is_narrower(compute):
    values, subjects = cohort(np.random.default_rng(1), 8, 4, 0.05, 0.01)
    (low, high), (lower, higher) = (
        compute(values, subjects, level=level) for level in (0.5, 0.95)
    )
    assert lower < low < high < higher
    assert high - low == pytest.approx(0.3 * (higher - lower), rel=0.1)


# The area under the ROC curve.


def presence(rng, num_subjects, shift=1.2):
    people = people_of(num_subjects, 8)
    true = rng.random(len(people)) < 0.4
    of_person = np.repeat(rng.normal(0, 0.5, num_subjects), 8)
    return true, np.round(rng.normal(true * shift + of_person), 1), people


def test_an_auroc_has_the_variance_of_leaving_out_people():
    true, probs, people = presence(np.random.default_rng(0), 400)
    low, high = compute_auroc_interval(true, probs, people)
    area = roc_auc_score(true, probs)
    person = np.repeat(np.arange(400), 8)
    left_out = [
        roc_auc_score(true[person != i], probs[person != i]) for i in range(400)
    ]
    error = np.sqrt(399 / 400 * ((np.array(left_out) - area) ** 2).sum())
    assert (high + low) / 2 == pytest.approx(area, abs=0.002)
    assert (high - low) / 2 == pytest.approx(1.966 * error, rel=0.05)


def test_an_auroc_of_one_has_width():
    true, _, people = presence(np.random.default_rng(0), 9)
    low, high = compute_auroc_interval(true, true.astype(float), people)
    assert 0.4 < low < 0.7  # at most nine people
    assert high == 1
    low, high = compute_auroc_interval(true, -true.astype(float), people)
    assert low == 0
    assert 0.3 < high < 0.6


def test_an_auroc_needs_two_people_of_each_class():
    rng = np.random.default_rng(0)
    true, probs, people = presence(rng, 9)
    assert np.isnan(compute_auroc_interval(true, probs, ["one"] * 72)).all()
    assert np.isnan(compute_auroc_interval(np.ones(72, bool), probs, people)).all()
    one = np.arange(72) < 4  # all of p0
    assert np.isnan(compute_auroc_interval(one, probs, people)).all()
    two = (np.arange(72) % 9 == 0) & (np.arange(72) < 10)  # of p0 and p1
    assert not np.isnan(compute_auroc_interval(two, probs, people)).any()


def test_an_auroc_has_as_many_people_as_the_rarer_class():
    """Nine people, of whom three have frames without a nerve."""
    true = np.array([True, False] * 3 + [True, True] * 6)
    low, _ = compute_auroc_interval(true, true.astype(float), people_of(9, 2))
    assert low == pytest.approx(stats.binomtest(3, 3).proportion_ci().low)
