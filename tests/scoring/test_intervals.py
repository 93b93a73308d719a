import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from nerve_jax.scoring.intervals import bootstrap_auroc, bootstrap_mean


def cohort(rng, num_subjects=24, per_subject=10, spread=0.15, noise=0.1):
    """Scores around 0.7 that differ more between people than within one."""
    people = rng.normal(0.7, spread, num_subjects)
    values = np.repeat(people, per_subject) + rng.normal(
        0, noise, num_subjects * per_subject
    )
    return values, [f"p{i // per_subject}" for i in range(len(values))]


@pytest.mark.parametrize("num_subjects", [6, 9, 24])
def test_nominal_95_percent_covers_the_truth_90_to_99_times_in_100(num_subjects):
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_mean(*cohort(rng, num_subjects), seed=trial)
        hits += low <= 0.7 <= high
    assert 180 <= hits <= 198


def test_drawing_frames_instead_would_be_far_too_sure():
    values, subjects = cohort(np.random.default_rng(0))
    by_subject = np.diff(bootstrap_mean(values, subjects))[0]
    frames = [str(i) for i in range(len(values))]
    by_frame = np.diff(bootstrap_mean(values, frames))[0]
    assert by_subject > 2 * by_frame


@settings(deadline=None, max_examples=30)
@example(np.full(4, 0.3640166139187765), 4)
@given(
    hnp.arrays(float, st.integers(4, 30), elements=st.floats(0, 1)),
    st.integers(2, 6),
)
def test_an_interval_holds_its_mean_and_stays_within_the_values(values, num_subjects):
    subjects = [str(i % num_subjects) for i in range(len(values))]
    low, high = bootstrap_mean(values, subjects)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9


def test_undefined_values_are_left_out():
    values, subjects = cohort(np.random.default_rng(1), 8, 4)
    with_gaps = np.concatenate([values, [np.nan] * 3])
    assert bootstrap_mean(with_gaps, [*subjects, "p0", "p1", "new"]) == bootstrap_mean(
        values, subjects
    )


def test_one_person_tells_nothing_of_others():
    assert np.isnan(bootstrap_mean(np.array([0.1, 0.9]), ["a", "a"])).all()
    assert np.isnan(bootstrap_mean(np.array([np.nan]), ["a"])).all()


def test_people_all_alike_give_a_point():
    assert bootstrap_mean(np.full(6, 0.5), list("aabbcc")) == (0.5, 0.5)


def test_the_seed_decides():
    values, subjects = cohort(np.random.default_rng(1), 8, 4)
    assert bootstrap_mean(values, subjects) == bootstrap_mean(values, subjects)
    assert bootstrap_mean(values, subjects, seed=1) != bootstrap_mean(values, subjects)
    narrow = np.diff(bootstrap_mean(values, subjects, level=0.5))[0]
    assert narrow == pytest.approx(
        np.diff(bootstrap_mean(values, subjects))[0] * 0.344, rel=0.25
    )


def test_the_interval_of_an_auroc_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(0)
    people = [f"p{i}" for i in range(30) for _ in range(8)]
    true = rng.random(240) < 0.4
    probs = rng.normal(true * 1.2 + np.repeat(rng.normal(0, 0.5, 30), 8))
    rows = np.arange(240).reshape(30, 8)
    areas = [
        roc_auc_score(true[drawn], probs[drawn])
        for drawn in (rows[rng.integers(30, size=30)].ravel() for _ in range(1000))
    ]
    low, high = bootstrap_auroc(true, probs, people)
    assert low == pytest.approx(np.percentile(areas, 2.5), abs=0.015)
    assert high == pytest.approx(np.percentile(areas, 97.5), abs=0.015)
    assert low < roc_auc_score(true, probs) < high
    assert np.isnan(bootstrap_auroc(true, probs, ["one"] * 240)).all()
    assert np.isnan(bootstrap_auroc(np.ones(240, bool), probs, people)).all()
