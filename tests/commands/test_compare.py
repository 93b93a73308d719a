import json

import numpy as np
import pytest

from nerve_jax.commands.compare import compare, run
from nerve_jax.commands.request import Request
from nerve_jax.runs.score_table import write_scores
from nerve_jax.scoring.scores import Scored
from nerve_jax.system.errors import InputError


def write_run(folder, hits, num_subjects=12, area=100, scanners=""):
    """A finished fold that finds `hits` of each frame's nerve pixels."""
    directory = folder / "fold_0"
    directory.mkdir(parents=True)
    hits = np.asarray(hits).astype(int)
    nothing = np.zeros(len(hits))
    people = [f"p{i % num_subjects}" for i in range(len(hits))]
    scored = Scored(
        [f"f{i:03d}" for i in range(len(hits))],
        people,
        people,
        list(scanners or [""] * len(hits)),
        np.stack([hits, 0 * hits, area - hits, 0 * hits + 900], 1),
        nothing,
        nothing,
        nothing.astype(bool),
        {"surface_dice_5px": hits / area, "hd95_px": np.full(len(hits), np.nan)},
    )
    write_scores(directory / "scores.csv", scored)
    (directory / "summary.json").write_text("{}")
    return folder


@pytest.fixture
def hits():
    rng = np.random.default_rng(0)
    people = rng.uniform(30, 90, 12)
    return np.clip(people[np.arange(60) % 12] + rng.normal(0, 5, 60), 0, 100)


def test_the_difference_on_each_scanner_is_said(tmp_path, hits, capsys):
    gain = np.where(np.arange(60) < 20, 0, -5)
    better = write_run(tmp_path / "a", hits, scanners=["A"] * 20 + ["B"] * 39 + [""])
    found = compare(better, write_run(tmp_path / "b", hits + gain), tmp_path / "out")
    assert list(found["by_scanner"]) == ["A", "B"]
    assert found["by_scanner"]["A"]["difference"] == 0
    row = found["by_scanner"]["B"]
    assert row["num_frames"] == 39
    assert 0 < row["interval"][0] < row["difference"] < row["interval"][1]
    assert "  A: +0.000 Dice on 20 frames\n  B: +0.0" in capsys.readouterr().out
    silent = compare(tmp_path / "b", better, tmp_path / "out")
    assert silent["by_scanner"] == {}


def test_a_small_but_steady_difference_is_told_by_pairing(tmp_path, hits):
    better = write_run(tmp_path / "a", np.minimum(hits + 4, 100))
    worse = write_run(tmp_path / "b", hits)
    found = compare(better, worse, tmp_path / "out")
    low, high = found["interval"]
    assert 0 < low < found["difference"] < high < 0.1
    assert "can be distinguished from the chance" in found["sentence"]
    assert "another seed" in found["sentence"]
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["interval"] == [
        low,
        high,
    ]
    assert found["by_score"]["surface_dice"]["interval"][0] > 0
    assert np.isnan(found["by_score"]["hd95_px"]["difference"])
    back = compare(worse, better, tmp_path / "out")
    assert back["difference"] == pytest.approx(-found["difference"])


def test_noise_is_not_taken_for_a_difference(tmp_path, hits):
    noise = np.random.default_rng(1).normal(0, 5, 60)
    first = write_run(tmp_path / "a", hits)
    second = write_run(tmp_path / "b", np.clip(hits + noise - noise.mean(), 0, 100))
    found = compare(first, second, tmp_path)
    assert found["interval"][0] < 0 < found["interval"][1]
    assert "cannot be distinguished from the chance" in found["sentence"]


def test_only_shared_frames_count(tmp_path, hits):
    first = write_run(tmp_path / "a", hits)
    second = write_run(tmp_path / "b", hits[:36])
    found = compare(first, second, tmp_path)
    assert found["num_frames"] == 36
    assert found["num_frames_of_one_run_only"] == 24
    assert found["difference"] == 0
    assert found["interval"] == (0, 0)


def test_one_subject_gives_no_interval(tmp_path, hits):
    first = write_run(tmp_path / "a", hits, num_subjects=1)
    second = write_run(tmp_path / "b", hits - 5, num_subjects=1)
    assert "no interval" in compare(first, second, tmp_path)["sentence"]


def test_few_subjects_give_an_interval_and_no_verdict(tmp_path, hits):
    first = write_run(tmp_path / "a", hits, num_subjects=4)
    second = write_run(tmp_path / "b", hits - 5, num_subjects=4)
    found = compare(first, second, tmp_path)
    assert found["interval"][0] > 0
    assert "too few" in found["sentence"]


def test_runs_that_cannot_be_compared_are_refused(tmp_path, hits):
    run = write_run(tmp_path / "a", hits)
    with pytest.raises(InputError, match="no finished fold"):
        compare(run, tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match="other truths.*f000"):
        compare(run, write_run(tmp_path / "b", hits, area=101), tmp_path)
    (tmp_path / "c" / "fold_0").mkdir(parents=True)
    (tmp_path / "d" / "fold_0").mkdir(parents=True)
    (tmp_path / "d" / "fold_0" / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="training command once more"):
        compare(run, tmp_path / "d", tmp_path)
    other = (run / "fold_0" / "scores.csv").read_text().replace("\nf", "\ng")
    (tmp_path / "c" / "fold_0" / "scores.csv").write_text(other)
    (tmp_path / "c" / "fold_0" / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="no frame in common") as caught:
        compare(run, tmp_path / "c", tmp_path)
    for part in (
        f"{run} scored 60 frames, e.g. f000, of fold 0; ",
        f"{tmp_path / 'c'} scored 60 frames, e.g. g000, of fold 0. ",
        "name two runs of one data set that have finished the same folds",
    ):
        assert part in str(caught.value)


def test_measures_that_one_of_the_runs_lacks_are_left_out(tmp_path):
    """A run of other code may have measured other distances."""
    ours = write_run(tmp_path / "a", np.full(24, 80))
    theirs = write_run(tmp_path / "b", np.full(24, 60))
    path = theirs / "fold_0" / "scores.csv"
    path.write_text(path.read_text().replace("hd95_px", "hd95_old_px"))
    content = compare(ours, theirs, tmp_path / "out")
    assert "hd95_px" not in content["by_score"]
    assert content["by_score"]["iou"]["difference"] > 0


def test_a_comma_in_a_path_is_explained():
    request = Request("compare", workdirs=("a", "1", "b"), workdir="c")
    with pytest.raises(InputError, match="names 3 folders.*comma goes into quotes"):
        run(request)
