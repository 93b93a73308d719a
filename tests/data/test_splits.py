import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerve_jax.data.splits import (
    create_splits,
    leave_scanners_out,
    load_or_create_splits,
)
from nerve_jax.system import files
from nerve_jax.system.errors import InputError


@st.composite
def cohorts(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=14))
    subjects = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    presence = draw(
        st.lists(st.booleans(), min_size=len(subjects), max_size=len(subjects))
    )
    num_folds = draw(st.integers(2, len(sizes)))
    frames = [f"f{i}" for i in range(len(subjects))]
    return frames, subjects, np.array(presence, bool), num_folds


@settings(deadline=None)
@given(cohorts(), st.integers(0, 5))
def test_folds_cover_all_frames_and_never_tear_a_subject(cohort, seed):
    frames, subjects, presence, num_folds = cohort
    splits = create_splits(frames, subjects, presence, num_folds=num_folds, seed=seed)
    assert len(splits) == num_folds
    subject_of = dict(zip(frames, subjects, strict=True))
    for fold in splits:
        assert sorted(fold["train"] + fold["val"]) == sorted(frames)
        train = {subject_of[f] for f in fold["train"]}
        assert train.isdisjoint(subject_of[f] for f in fold["val"])
    assert sorted(f for fold in splits for f in fold["val"]) == sorted(frames)
    assert sum(bool(fold["val"]) for fold in splits) >= min(2, num_folds)


def cohort_of(num_subjects=10, per_subject=8):
    rng = np.random.default_rng(1)
    rates = np.repeat(np.linspace(0.05, 0.9, num_subjects), per_subject)
    frames = [f"f{i:03d}" for i in range(num_subjects * per_subject)]
    subjects = [f"p{i // per_subject}" for i in range(len(frames))]
    return frames, subjects, rng.uniform(size=len(frames)) < rates


def load(path, frames, subjects, presence, **options):
    """Folds by subject, from a file or made."""
    return load_or_create_splits(
        path,
        frames,
        {"subject": subjects},
        lambda: create_splits(frames, subjects, presence, **options),
    )


def test_folds_are_balanced_by_presence():
    frames, subjects, presence = cohort_of(40)
    present = dict(zip(frames, presence, strict=True))
    splits = create_splits(frames, subjects, presence, num_folds=5, seed=0)
    rates = [np.mean([present[f] for f in fold["val"]]) for fold in splits]
    assert np.ptp(rates) < 0.12  # by subject the rates differ by 0.85


def test_the_seed_decides_among_equals():
    frames, subjects, _ = cohort_of()
    cohort = frames, subjects, np.arange(len(frames)) % 2 == 0
    first, again, other = (
        create_splits(*cohort, num_folds=3, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_written_once_and_read_ever_after(tmp_path):
    path = tmp_path / "splits.json"
    cohort = cohort_of()
    first = load(path, *cohort, num_folds=3, seed=0)
    assert load(path, *cohort, num_folds=5, seed=9) == first
    assert json.loads(path.read_text()) == first


def test_of_two_runs_that_write_at_once_the_first_is_believed(tmp_path, monkeypatch):
    path, cohort = tmp_path / "splits.json", cohort_of()
    theirs = create_splits(*cohort, num_folds=3, seed=1)

    def be_late(path, content):
        path.write_text(json.dumps(theirs))
        return files.create_whole(path, content)

    monkeypatch.setattr("nerve_jax.data.splits.create_whole", be_late)
    assert load(path, *cohort, num_folds=3, seed=0) == theirs
    assert json.loads(path.read_text()) == theirs


def test_a_file_of_the_user_is_honoured(tmp_path):
    path = tmp_path / "splits.json"
    cohort = cohort_of()
    mine = [{"train": ["f000", "f001"], "val": ["f079"]}]
    path.write_text(json.dumps(mine))
    assert load(path, *cohort, num_folds=5, seed=0) == mine


def test_a_file_that_tears_subjects_draws_a_warning(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps([{"train": ["f000"], "val": ["f001"]}]))
    with pytest.warns(UserWarning, match="p0.*new subjects"):
        load(path, *cohort_of(), num_folds=5, seed=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not a list"),
        ("[]", "not a list"),
        ('[{"train": ["f000"]}]', "not a list"),
        ('[{"train": ["nobody"], "val": ["f001"]}]', "no labelled frame nobody"),
        ('[{"train": ["f000"], "val": ["f000"]}]', "in train and in val: f000"),
        ('[{"train": [], "val": ["f000"]}]', "empty"),
        (
            '[{"train": ["f001"], "val": ["f000"]}, {"train": ["f002"], "val": ["f000"]}]',
            "more than one fold: f000",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content, message):
    path = tmp_path / "splits.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load(path, *cohort_of(), num_folds=5, seed=0)
    assert path.read_text() == content


def test_fewer_subjects_than_folds_shows_them_and_the_mend(tmp_path):
    frames, subjects = ["a", "b", "c"], ["anna", "anna", "bert"]
    path = tmp_path / "splits.json"
    with pytest.raises(InputError, match=r"anna, bert[\s\S]*subjects\.csv"):
        load(path, frames, subjects, np.array([True] * 3), num_folds=3, seed=0)
    assert not path.exists()


def test_balance_never_costs_a_fold_all_its_frames():
    """These made scikit-learn deal five people to four of five folds."""
    subjects = [f"p{i}" for i, n in enumerate((5, 3, 5, 2, 2)) for _ in range(n)]
    frames = [str(i) for i in range(len(subjects))]
    for seed in range(200):
        presence = np.random.default_rng(seed).random(len(frames)) < 0.5
        splits = create_splits(frames, subjects, presence, num_folds=5, seed=0)
        assert all(split["val"] for split in splits)
        assert sorted(f for split in splits for f in split["val"]) == sorted(frames)


@st.composite
def sites(draw):
    """Frames of people, each recorded with one or several of some scanners."""
    names = draw(st.lists(st.sampled_from("ABCD"), min_size=2, unique=True))
    people = st.lists(st.sampled_from(names), min_size=1, max_size=4)
    drawn = draw(st.lists(people, min_size=1, max_size=9))
    pairs = [(f"p{i}", scanner) for i, own in enumerate(drawn) for scanner in own]
    subjects, scanners = zip(*draw(st.permutations(pairs)), strict=True)
    return [f"f{i}" for i in range(len(pairs))], list(subjects), list(scanners)


@settings(deadline=None)
@given(sites())
def test_a_fold_leaves_out_a_scanner_and_all_who_were_recorded_with_it(site):
    frames, subjects, scanners = site
    names = sorted(set(scanners))
    known = dict(zip(frames, zip(subjects, scanners, strict=True), strict=True))
    try:
        splits = leave_scanners_out(*site, num_folds=len(names))
    except InputError:
        everyone = set(subjects)
        on = {name: {p for p, s in known.values() if s == name} for name in names}
        assert len(names) == 1 or everyone in on.values()
        return
    assert len(splits) == len(names)
    for name, fold in zip(names, splits, strict=True):
        scored = {known[frame][0] for frame in fold["val"]}
        assert fold["val"] == [f for f in frames if known[f][1] == name]
        assert fold["train"] == [f for f in frames if known[f][0] not in scored]
        assert all(known[frame][1] != name for frame in fold["train"])
    assert sorted(f for fold in splits for f in fold["val"]) == sorted(frames)


SITES = {
    "no scanner": (
        (["a", "b", "c"], "ppq", ["A", "", ""], 2),
        (
            "2 of 3 labelled frames name no scanner: b, c. Fill in the column scanner of "
            "subjects.csv, or deal people into folds: --config.split_by=subject"
        ),
    ),
    "many without": (
        ([f"f{i}" for i in range(99)], "p" * 99, [""] * 99, 2),
        "f0, f1, f2, f3, f4, and 94 more. Fill in",
    ),
    "one scanner": (
        (["a", "b"], "pq", ["A", "A"], 2),
        (
            "all 2 labelled frames are of one scanner, A: without it there is nothing to "
            "train on. Add frames of another, or deal people"
        ),
    ),
    "other folds": (
        (["a", "b", "c"], "pqr", ["B", "A", "C"], 5),
        (
            "num_folds=5, but split_by=scanner makes one fold for each of 3 scanners: A, B, C. "
            "Write --config.num_folds=3"
        ),
    ),
    "everyone on one": (
        (["a", "b", "c", "d"], "pqpq", ["A", "A", "B", "B"], 2),
        "A: everyone was recorded with it\n  - B: everyone was recorded with it",
    ),
    "everyone on one of three": (
        (["a", "b", "c", "d"], "pqpq", ["A", "A", "B", "C"], 3),
        "A: everyone was recorded with it\nAdd people",
    ),
}


@pytest.mark.parametrize("form", SITES)
def test_scanners_that_make_no_folds_are_refused_with_the_mend(form):
    (frames, subjects, scanners, num_folds), words = SITES[form]
    with pytest.raises(InputError) as caught:
        leave_scanners_out(frames, list(subjects), scanners, num_folds=num_folds)
    assert words in str(caught.value)


def test_a_file_that_trains_on_a_scanner_it_scores_draws_a_warning(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    apart = {"subject": ["p", "q"], "scanner": ["A", "A"]}
    with pytest.warns(UserWarning, match=r"1 scanner\(s\).*\(A\).*new scanners"):
        load_or_create_splits(path, ["a", "b"], apart, list)
    apart["scanner"] = ["", ""]  # nobody knows
    load_or_create_splits(path, ["a", "b"], apart, list)
