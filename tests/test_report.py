import subprocess

import numpy as np
import pytest

from nerve_jax import metrics, report
from nerve_jax.scores import Scored, compute_summary

COUNTS = np.array([[5, 1, 2, 92], [0, 0, 0, 100], [0, 0, 8, 92], [0, 3, 0, 97]])


def scores_of(counts):
    names = [str(i) for i in range(len(counts))]
    return compute_summary(Scored(names, names, counts, np.zeros(len(counts))))


def rows():
    return [
        {"fold": fold, **metrics.compute_scores(COUNTS[part])}
        for fold, part in enumerate((slice(0, 2), slice(2, 4)))
    ]


def test_folds_are_summarised_by_mean_and_sample_deviation():
    over = report.summarise_folds(rows())
    values = [row["dice"] for row in rows()]
    assert over["mean"]["dice"] == pytest.approx(np.mean(values))
    assert over["std"]["dice"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert np.isnan(report.summarise_folds(rows()[:1])["std"]["dice"])


def test_the_table_shows_each_score_beside_its_baseline(capsys):
    report.print_scores(scores_of(COUNTS), title="a run", folds=rows())
    said = capsys.readouterr().out
    for part in (
        "a run",
        "predicting nothing",
        "Dice, nerve present",
        "by fold",
        "std",
    ):
        assert part in said
    line = next(line for line in said.splitlines() if "pixel accuracy" in line)
    assert "0.965" in line
    assert "0.963" in line  # 0.9625


def test_a_score_over_no_frames_is_a_dash(capsys):
    report.print_scores(scores_of(COUNTS[1:2]), title="empty")
    assert "–" in capsys.readouterr().out


def test_the_environment_names_versions_devices_and_commit():
    environment = report.describe_environment()
    assert environment["packages"]["jax"].count(".") == 2
    assert environment["num_devices"] == 4
    assert environment["device"]
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if head.returncode == 0:
        assert environment["commit"].rstrip("+") == head.stdout.strip()


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(report.subprocess, "run", missing)
    assert report.describe_environment()["commit"] == ""
