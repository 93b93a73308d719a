import numpy as np
import pytest

from nerve_jax.scoring.summary import compute_summary, summarise, summarise_scanners
from tests.samples import COUNTS, table

PROBS = [0.8, 0.1, 0.7, 0.75]


def test_a_summary_is_overall_by_subject_and_with_intervals():
    summary = compute_summary(table(COUNTS, PROBS), fitted=True)
    assert summary["dice"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    assert summary["by_subject"]["p"]["dice"] == pytest.approx((2 / 3 + 1) / 2)
    assert summary["by_subject"]["q"]["num_frames"] == 2
    assert summary["num_subjects"] == 2
    assert summary["presence_auroc"] == 0.75  # of four pairs one is the wrong way round
    for name in ("dice", "iou", "surface_dice", "hd95_px", "presence_sensitivity"):
        low, high = summary["intervals"][name]
        assert low <= summary[name] <= high, name
    assert summary["surface_dice"] == 0.25
    assert summary["surface_dice_empty_baseline"] == 0.5


def test_each_scanner_has_a_summary_of_its_own_frames():
    scanners = ["B", "A", "A", "A"]
    summary = compute_summary(table(COUNTS, PROBS, scanners=scanners), fitted=True)
    assert list(summary["by_scanner"]) == ["A", "B"]
    own = summary["by_scanner"]["A"]
    assert (own["num_frames"], own["num_subjects"]) == (3, 2)
    assert own["dice"] == pytest.approx(2 / 3)
    low, high = own["intervals"]["dice"]
    assert low <= own["dice"] <= high
    assert summary["by_scanner"]["B"]["dice"] == pytest.approx(2 / 3)
    assert np.isnan(summary["by_scanner"]["B"]["intervals"]["dice"]).all()  # one person


@pytest.mark.parametrize(
    ("scanners", "found"),
    [(["", "", "", ""], {}), (["A", "", "A", ""], {"A": 2, "unknown": 2})],
)
def test_frames_without_a_scanner_are_one_where_others_have_one(scanners, found):
    by_scanner = summarise_scanners(table(COUNTS, PROBS, scanners=scanners))
    assert {name: row["num_frames"] for name, row in by_scanner.items()} == found


def test_distances_are_means_over_the_frames_that_have_one():
    scores = summarise(table(COUNTS, PROBS))
    assert scores["hd95_px"] == 3
    assert scores["num_frames_with_distances"] == 2
    none = summarise(table(COUNTS[1:2], PROBS[:1]))
    assert np.isnan(none["hd95_px"])
    assert np.isnan(none["presence_auroc"])
    assert none["dice"] == 1


def test_the_gain_of_a_decision_is_on_the_plain_threshold_and_only_if_it_was_fitted():
    scored = table(COUNTS, PROBS)
    summary = compute_summary(scored, fitted=True)
    assert summary["decision_gain"] == pytest.approx(summary["dice"] - 0.5)
    low, high = summary["intervals"]["decision_gain"]
    assert low <= summary["decision_gain"] <= high
    plain = compute_summary(scored, fitted=False)
    assert np.isnan(plain["decision_gain"])
    assert "decision_gain" not in plain["intervals"]


def test_cleaned_scores_leave_doubtful_frames_out_and_stand_beside_the_raw_ones():
    summary = compute_summary(table(COUNTS, PROBS, doubtful=(0, 0, 0, 1)), fitted=True)
    assert summary["num_frames"] == 4
    assert summary["cleaned"]["num_frames"] == 3
    assert summary["cleaned"]["dice"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert "dice" in summary["cleaned"]["intervals"]


def test_no_score_has_an_interval_of_no_width():
    """Nine people of whom each frame is right: nobody knows of a tenth."""
    right = np.array([[8, 0, 0, 92], [0, 0, 0, 100]] * 9)
    subjects = [f"p{i // 2}" for i in range(18)]
    scored = table(right, [0.9, 0.1] * 9, subjects, range(18), [0] * 18)
    scored.surface.update(surface_dice_5px=np.ones(18))
    summary = compute_summary(scored, fitted=True)
    for name in (
        "dice",
        "dice_nerve_present",
        "presence_specificity",
        "presence_auroc",
    ):
        assert summary[name] == 1
        low, high = summary["intervals"][name]
        assert low == pytest.approx(0.664, abs=5e-4)
        assert high == 1
    empty = scored._replace(presence_probs=1 - scored.presence_probs)
    assert compute_summary(empty, fitted=True)["intervals"]["presence_auroc"][0] == 0


def test_the_interval_of_a_distance_begins_at_0_or_above_and_may_end_above_1():
    scored = table(np.array([[8, 0, 0, 92]] * 4), [0.9] * 4, doubtful=[0] * 4)
    scored.surface.update(hd95_px=np.array([0.0, 0.0, 9.0, 9.0]))
    low, high = compute_summary(scored, fitted=False)["intervals"]["hd95_px"]
    assert low == 0
    assert high > 9
