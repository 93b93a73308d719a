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
    write_table(directory, hits, num_subjects, area, scanners)
    (directory / "summary.json").write_text("{}")
    return folder


def write_table(directory, hits, num_subjects=12, area=100, scanners=""):
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


def write_structures(folder, **hits):
    """A run of several structures, in their order; of one that has None nothing is scored."""
    for number, (name, found) in enumerate(hits.items()):
        inner = f"structures/{name}" if number else ""
        if found is not None:
            write_table(folder / "fold_0" / inner, found)
    (folder / "fold_0" / "summary.json").write_text("{}")
    config = {"data": {"structures": list(hits)}}
    (folder / "config.json").write_text(json.dumps(config))
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


def test_a_structure_is_compared_wherever_it_stands(tmp_path, hits, capsys):
    """Nerve alone against nerve first, and against nerve last."""
    alone = write_structures(tmp_path / "alone", nerve=hits)
    runs = {
        "first": {"nerve": hits - 5, "vessel": hits - 20},
        "last": {"vessel": hits - 20, "nerve": hits - 5},
    }
    plain = write_run(tmp_path / "plain", hits - 5)
    expected = compare(alone, plain, tmp_path / "out")
    assert " Dice (95 %" in expected["sentence"]
    assert " on 60 frames" in expected["sentence"]
    for name, found in runs.items():
        both = write_structures(tmp_path / name, **found)
        content = compare(alone, both, tmp_path / "out")
        assert content["structure"] == "nerve"
        assert list(content["by_structure"]) == ["nerve"]
        for key in ("difference", "interval", "by_score", "num_frames"):
            np.testing.assert_equal(content[key], expected[key])
            np.testing.assert_equal(content["by_structure"]["nerve"][key], content[key])
        assert ") of nerve on 60 frames" in content["sentence"]
        back = compare(both, alone, tmp_path / "out")
        assert back["structure"] == "nerve"
        assert back["difference"] == pytest.approx(-content["difference"])
    assert "vessel: " not in capsys.readouterr().out


def test_every_structure_of_both_runs_has_its_difference(tmp_path, hits, capsys):
    first = write_structures(tmp_path / "a", nerve=hits, vessel=hits, bone=hits)
    second = write_structures(
        tmp_path / "b", vessel=hits[:40] - 20, muscle=hits, nerve=hits - 5, bone=None
    )
    content = compare(first, second, tmp_path / "out")
    assert content["structure"] == "nerve"
    assert list(content["by_structure"]) == ["nerve", "vessel"]
    vessel = content["by_structure"]["vessel"]
    assert vessel["num_frames"] == 40
    assert vessel["num_frames_of_one_run_only"] == 20
    assert vessel["interval"][0] > content["difference"]
    assert vessel["by_score"]["iou"]["difference"] > 0
    said = capsys.readouterr().out
    assert f"  vessel: {vessel['difference']:+.3f} Dice (+" in said
    assert "  bone: no frame in common that is labelled for it" in said
    assert "muscle" not in said
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["by_structure"]["vessel"]["difference"] == vessel["difference"]


def test_what_only_the_second_run_has_first_is_not_the_headline(tmp_path, hits):
    first = write_structures(tmp_path / "a", muscle=hits, vessel=hits)
    second = write_structures(tmp_path / "b", nerve=hits, vessel=hits - 5)
    content = compare(first, second, tmp_path / "out")
    assert content["structure"] == "vessel"
    assert content["difference"] > 0
    assert "of vessel on 60 frames" in content["sentence"]


def test_a_fold_may_have_no_frame_that_is_labelled_for_a_structure(tmp_path, hits):
    first = write_structures(tmp_path / "a", nerve=hits, vessel=hits)
    second = write_structures(tmp_path / "b", nerve=hits, vessel=hits - 5)
    for workdir in (first, second):
        (workdir / "fold_1").mkdir()
        (workdir / "fold_1" / "summary.json").write_text("{}")
        text = (workdir / "fold_0" / "scores.csv").read_text().replace("\nf", "\ng")
        (workdir / "fold_1" / "scores.csv").write_text(text)
    found = compare(first, second, tmp_path / "out")["by_structure"]
    assert {name: row["num_frames"] for name, row in found.items()} == {
        "nerve": 120,
        "vessel": 60,
    }


def test_runs_without_a_structure_or_frame_in_common_are_refused(tmp_path, hits):
    first = write_structures(tmp_path / "a", nerve=hits, vessel=hits)
    other = write_structures(tmp_path / "b", bone=hits, muscle=hits)
    with pytest.raises(InputError, match="a outlines nerve, vessel, and .*b bone, mus"):
        compare(first, other, tmp_path / "out")
    missing = write_structures(tmp_path / "c", vessel=hits, nerve=None)
    with pytest.raises(InputError, match="nerve/scores.csv not there"):
        compare(first, missing, tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no finished fold"):
        compare(other, tmp_path / "nowhere", tmp_path / "out")
    truth = write_structures(tmp_path / "d", nerve=hits)
    write_table(truth / "fold_0" / "structures" / "vessel", hits, area=101)
    config = {"data": {"structures": ["nerve", "vessel"]}}
    (truth / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="other truths of vessel .*f000"):
        compare(first, truth, tmp_path / "out")
    assert not (tmp_path / "out").exists()
