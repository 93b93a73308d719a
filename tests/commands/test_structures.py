"""A run of two structures, from training to what other commands make of it."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands.compare import compare
from nerve_jax.commands.evaluate import evaluate
from nerve_jax.commands.plan import plan
from nerve_jax.commands.predict import predict
from nerve_jax.commands.train import cross_validate
from nerve_jax.system.errors import InputError
from tests.samples import texture

SIZE = (40, 56)


def draw(folder, stem, seed):
    """A bright disc, the nerve, beside a dark one, the vessel, in tissue."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    top, left = np.random.default_rng(seed).integers((12, 12), (28, 20))
    nerve = np.hypot(y - top, x - left) < 8
    vessel = np.hypot(y - top, x - left - 24) < 8
    image = np.where(nerve, 230, np.where(vessel, 10, texture(seed, SIZE)))
    pictures = {
        "images": image,
        "masks/nerve": nerve * 255,
        "masks/vessel": vessel * 255,
    }
    for name, values in pictures.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{stem}.png")


@pytest.fixture
def trained(tmp_path, small_config):
    for number in range(8):
        draw(tmp_path / "set", f"s{number // 2}_{number}", number)
    config = small_config(
        **{
            "data.manual_dir": str(tmp_path / "set"),
            "data.structures": ("nerve", "vessel"),
        }
    )
    cross_validate(config, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_of_two_structures_is_predicted_and_compared(trained, tmp_path, capsys):
    frames = tmp_path / "set" / "images"
    count = predict(trained, {}, frames, tmp_path / "out", submission=True)
    said = capsys.readouterr().out
    assert "  masks/, labels/ and overlays/, submission.csv" in said
    assert "label maps of " in said
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert count == 8
    assert len(rows) == 16
    for row in rows:
        path = tmp_path / "out" / "masks" / row["structure"] / f"{row['frame']}.png"
        assert np.asarray(Image.open(path)).shape == SIZE
    content = compare(trained, trained, tmp_path / "same")
    assert list(content["by_structure"]) == ["nerve", "vessel"]
    assert content["by_structure"]["vessel"]["difference"] == 0
    assert "  vessel: +0.000 Dice" in capsys.readouterr().out
    # As where no scored frame is labelled for the vessel.
    shutil.rmtree(trained / "structures")
    predict(trained, {}, frames, tmp_path / "out", submission=False)
    assert "vessel: no frame that" in capsys.readouterr().out
    (trained / "report.json").unlink()
    with pytest.raises(InputError, match=r"vessel/decision\.json not there"):
        predict(trained, {}, frames, tmp_path / "out", submission=False)
    assert json.loads((tmp_path / "same" / "compare.json").read_text())["structure"]


def test_a_set_that_lacks_a_structure_is_scored_for_the_others(
    trained, write_folder, blob_frames, capsys
):
    evaluate(trained, {}, "train")
    assert (trained / "evaluation_vessel.csv").exists()
    others = write_folder(blob_frames(3, 3, seed=9), name="others")
    found = evaluate(trained, {"data.manual_dir": str(others)}, "train")
    assert list(found["by_structure"]) == ["nerve"]
    assert found["num_frames"] == 9
    assert "no frame to score is labelled for vessel" in capsys.readouterr().out
    assert {path.name for path in trained.glob("evaluation*")} == {
        *("evaluation.json", "evaluation.csv", "evaluation.png")
    }
    (others / "structures.csv").write_text("value,name\n255,artery\n")
    with pytest.raises(InputError, match=r'has \("artery",\)'):
        evaluate(trained, {"data.manual_dir": str(others)}, "train")


def test_a_plan_is_of_the_first_structure_by_its_name(
    trained, small_config, tmp_path, capsys
):
    config = small_config(
        **{
            "data.manual_dir": str(tmp_path / "set"),
            "data.structures": ("vessel", "nerve"),
        }
    )
    found = plan(config, tmp_path / "plan")
    assert found["measured"]["structure"] == "vessel"
    assert "show vessel" in found["why"]["model.presence_head"]
    said = capsys.readouterr().out
    assert "  vessel in 100% of labelled frames" in said
    assert "nerve in" not in said


def read(path):
    return json.loads(path.read_text())


def test_simulated_vessels_and_two_readers_are_trained_reported_and_evaluated(
    tmp_path, small_config, capsys
):
    config = small_config(
        **{
            "data.name": "ultrasound_nerve/phantom",
            "data.manual_dir": "",
            "data.phantom.num_subjects": 6,
            "data.phantom.frames_per_subject": 3,
            "data.phantom.num_readers": 2,
            "data.structures": ("nerve", "vessel"),
            "folds": (0, 1),
        }
    )
    workdir = tmp_path / "run"
    content = cross_validate(config, workdir)
    report = read(workdir / "report.json")
    assert (
        list(report["by_structure"]) == list(report["readers"]) == ["nerve", "vessel"]
    )
    for name, value in report["by_structure"]["nerve"].items():
        if name != "by_fold":  # which has the times of training, too
            assert report[name] == value
    assert report["by_structure"]["vessel"]["num_frames"] == 18
    assert (
        report["dice_empty_baseline"]
        != report["by_structure"]["vessel"]["dice_empty_baseline"]
    )
    for table in report["readers"].values():
        names = [(row["first"], row["second"]) for row in table["pairs"]]
        assert names[0] == ("reader1", "reader2")
        assert {second for _, second in names[1:]} == {"model"}
        assert 0.5 < table["between_readers"]["dice"] < 1
        assert table["num_frames"] == 18
    printed = capsys.readouterr().out
    assert "by structure" in printed
    assert "vessel: two readers of one frame agree with Dice" in printed
    page = (workdir / "report.html").read_text()
    for text in ("By structure", 'id="vessel"', "Dice, vessel present", "reader2"):
        assert text in page
    for fold in (0, 1):
        for name in ("scores.csv", "examples.png", "decision.json", "val_probs.npy"):
            assert (workdir / f"fold_{fold}" / "structures" / "vessel" / name).exists()
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    assert {"dice", "vessel/dice"} <= json.loads(rows[-1]).keys()
    found = evaluate(
        workdir,
        {"data.phantom.seed": 1, "decision.test_flips": True},
        "train",
    )
    assert list(found["by_structure"]) == list(found["readers"]) == ["nerve", "vessel"]
    assert "flip_gain" in found["by_structure"]["vessel"]
    assert found["num_frames"] == found["by_structure"]["vessel"]["num_frames"] == 18
    assert (workdir / "evaluation_vessel.csv").exists()
    assert content["dataset"] != found["dataset"]


def test_sets_that_are_labelled_for_different_structures_train_together(
    tmp_path, small_config
):
    """One hospital outlined nerves alone: its frames say nothing of vessels."""
    for number in range(8):
        draw(tmp_path / "set", f"s{number // 2}_{number}", number)
    for number in range(4):
        (
            tmp_path / "set" / "masks" / "vessel" / f"s{number // 2}_{number}.png"
        ).unlink()
    config = small_config(
        **{
            "data.manual_dir": str(tmp_path / "set"),
            "data.structures": ("nerve", "vessel"),
            "num_folds": 4,
            "folds": (0, 1, 2, 3),
        }
    )
    report = cross_validate(config, tmp_path / "run")
    assert report["num_frames"] == 8
    vessel = report["by_structure"]["vessel"]
    assert vessel["num_frames"] == 4
    assert vessel["num_subjects"] == 2
    assert len(vessel["by_fold"]) == 2
    assert report["readers"] == {}


@pytest.mark.slow
def test_a_structure_that_is_in_no_frame_has_a_section_without_its_size(
    tmp_path, small_config
):
    for number in range(8):
        draw(tmp_path / "set", f"s{number // 2}_{number}", number)
    empty = Image.fromarray(np.zeros(SIZE, np.uint8))
    for path in (tmp_path / "set" / "masks" / "vessel").iterdir():
        empty.save(path)
    config = small_config(
        **{
            "data.manual_dir": str(tmp_path / "set"),
            "data.structures": ("nerve", "vessel"),
        },
        num_train_steps=1,
    )
    report = cross_validate(config, tmp_path / "run")
    assert np.isnan(report["by_structure"]["vessel"]["dice_nerve_present"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Frames that show nerve: score" in page
    assert "Frames that show vessel: score" not in page


def test_a_run_whose_headline_structure_is_on_no_scored_frame_ends_in_a_sentence(
    tmp_path, small_config
):
    for number in range(8):
        draw(tmp_path / "set", f"s{number // 2}_{number}", number)
    for number in range(1, 8):
        (tmp_path / "set" / "masks" / "nerve" / f"s{number // 2}_{number}.png").unlink()
    config = small_config(
        **{
            "data.manual_dir": str(tmp_path / "set"),
            "data.structures": ("nerve", "vessel"),
            "num_folds": 4,
        }
    )
    for fold in range(4):
        config.folds = (fold,)
        try:
            cross_validate(config, tmp_path / f"run{fold}")
        except InputError as error:
            assert "no scored frame is labelled for nerve, the first" in str(error)
            assert not list((tmp_path / f"run{fold}").rglob("checkpoints"))
            break
    else:
        pytest.fail("every fold scored a nerve, which one frame has")


def test_a_structure_that_is_not_asked_for_changes_no_bit(tmp_path, small_config):
    for number in range(8):
        draw(tmp_path / "both", f"s{number // 2}_{number}", number)
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "both" / "images", alone / "images")
    shutil.copytree(tmp_path / "both" / "masks" / "nerve", alone / "masks")
    runs = []
    for folder in (tmp_path / "both", alone):
        workdir = tmp_path / f"run_{folder.name}"
        cross_validate(small_config(**{"data.manual_dir": str(folder)}), workdir)
        fold = workdir / "fold_0"
        arrays = [np.load(fold / f"val_{name}.npy") for name in ("probs", "presence")]
        losses = [
            json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").open()
        ]
        runs.append((*arrays, losses, (fold / "scores.csv").read_text()))
    for ours, theirs in zip(*runs, strict=True):
        np.testing.assert_array_equal(ours, theirs)
