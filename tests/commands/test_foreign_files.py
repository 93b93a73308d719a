"""Files and folders of somebody else: every command leaves them byte for byte."""

import json

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands import audit, compare, evaluate, plan, predict, setup
from nerve_jax.commands.pretrain import pretrain
from nerve_jax.commands.train import cross_validate
from nerve_jax.commands.tune import tune
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.errors import InputError


def read_all(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def bright(images):
    """A model that takes bright pixels for nerve."""
    probs = (np.asarray(images)[:, None] > 128).astype(np.float32)
    return probs, probs.max((2, 3))


def must_not_run(images):
    raise AssertionError("frames are predicted")


def predict_into(output, frames, model=bright):
    return predict.predict_folder(
        frames,
        output,
        model,
        image_size=(24, 32),
        rules={"nerve": Rule(0.5)},
        submission=True,
    )


WRITERS = {
    "train": lambda config, folder: cross_validate(config, folder),
    "pretrain": lambda config, folder: pretrain(config, folder),
    "tune": lambda config, folder: tune(config, folder),
    "plan": lambda config, folder: plan.plan(config, folder),
    "audit": lambda config, folder: audit.audit(
        setup.load_frames(config, "train"), folder
    ),
    "compare": lambda config, folder: compare.compare(folder, folder, folder),
    "evaluate": lambda config, folder: evaluate.evaluate(folder, {}, "train"),
}
NAMES = [
    *(("train", name) for name in ("config.json", "code.json", "report.html")),
    *(("train", name) for name in ("fold_0/scores.csv", "tensorboard/events")),
    *(("train", "metrics.jsonl"), ("pretrain", "config.json")),
    *(("tune", name) for name in ("study.db", "best_config.py", "trials/notes")),
    *(("plan", name) for name in ("plan.json", "planned_config.py")),
    *(("audit", name) for name in ("audit.json", "audit.html")),
    ("compare", "compare.json"),
    *(("evaluate", f"evaluation.{kind}") for kind in ("json", "csv", "png")),
]


@pytest.mark.parametrize(("mode", "name"), NAMES)
def test_no_command_writes_over_a_file_that_is_not_its_own(
    small_config, tmp_path, mode, name
):
    path = tmp_path / "work" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    before = read_all(tmp_path / "work")
    with pytest.raises(InputError, match=f"--workdir=.*{name.split('/')[0]}"):
        WRITERS[mode](small_config(), tmp_path / "work")
    assert read_all(tmp_path / "work") == before


@pytest.mark.parametrize("mode", ["train", "pretrain", "tune", "plan"])
def test_a_folder_that_cannot_be_written_is_named_before_frames_are_loaded(
    small_config, tmp_path, monkeypatch, mode
):
    def fail(*_):
        raise AssertionError("frames are loaded")

    monkeypatch.setattr(setup, "load_frames", fail)
    monkeypatch.setattr(setup, "load_frames_of_all_splits", fail)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"--workdir=.*file/run: cannot be written"):
        WRITERS[mode](small_config(), tmp_path / "file" / "run")


@pytest.mark.slow
def test_a_run_goes_on_in_its_folder_and_others_work_there(small_config, tmp_path):
    config, folder = small_config(folds=(0,)), tmp_path / "run"
    (tmp_path / "run").mkdir()
    (folder / "notes.txt").write_text("mine")
    for mode in ("train", "train", "plan", "plan", "audit", "audit"):
        WRITERS[mode](config, folder)
    for marker in folder.glob(".nerve_jax.*"):
        marker.unlink()  # as where hidden files were not copied
    WRITERS["train"](config, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="planned_config.py"):
        WRITERS["plan"](config, folder)


def test_a_planned_configuration_that_was_edited_is_kept(small_config, tmp_path):
    folder = tmp_path / "plan"
    WRITERS["plan"](small_config(), folder)
    path = folder / "planned_config.py"
    path.write_text(path.read_text() + "# my own learning rate\n")
    before = read_all(folder)
    with pytest.raises(InputError, match="planned_config.py"):
        WRITERS["plan"](small_config(), folder)
    assert read_all(folder) == before


@pytest.fixture
def data(write_folder, blob_frames):
    return write_folder(blob_frames(2, 3), name="data")


@pytest.mark.parametrize(
    ("frames", "output"),
    [
        *(("", ""), ("images", ""), ("images", "images"), ("", "images")),
        *(("", "masks"), ("images", "masks"), ("masks", "masks"), ("", "..")),
        *(("", "images/new"), ("images", "images/a/b"), ("masks", "masks/new")),
    ],
)
def test_predictions_never_land_on_the_data(data, frames, output):
    before = read_all(data.parent)
    with pytest.raises(InputError, match="--output="):
        predict_into(data / output, data / frames, model=must_not_run)
    assert read_all(data.parent) == before


def test_predictions_never_land_on_other_data_without_masks(data, tmp_path):
    (tmp_path / "other" / "images").mkdir(parents=True)
    Image.new("L", (32, 24)).save(tmp_path / "other" / "images" / "z.png")
    with pytest.raises(InputError, match=r"--output=.*images.*empty"):
        predict_into(tmp_path / "other", data, model=must_not_run)
    assert not (tmp_path / "other" / "masks").exists()


def test_a_link_to_the_frames_is_the_frames(data, tmp_path):
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(InputError, match="holds the frames"):
        predict_into(tmp_path / "link", data, model=must_not_run)


def test_no_mask_of_an_earlier_prediction_stays(data, tmp_path):
    output = tmp_path / "out"
    predict_into(output, data)
    (output / "notes.txt").write_text("mine")
    (data / "images" / "s0_1.png").unlink()
    (data / "images" / "s1_1.png").write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=r"s1_1\.png"):
        predict_into(output, data)
    for folder in ("masks", "overlays"):
        left = {path.stem for path in (output / folder).iterdir()}
        assert left == {"s0_0", "s0_2", "s1_0", "s1_2"}
    assert (output / "notes.txt").read_text() == "mine"
    (data / "images" / "s1_1.png").unlink()
    predict_into(output, data)
    assert not (output / "errors.csv").exists()


def test_a_prediction_that_was_killed_is_begun_again(data, tmp_path):
    def fail(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_into(tmp_path / "out", data, model=fail)
    assert predict_into(tmp_path / "out", data) == 6


def test_a_mask_corrected_by_hand_is_kept(data, tmp_path):
    output = tmp_path / "out"
    predict_into(output, data)
    Image.new("L", (56, 40), 255).save(output / "masks" / "s0_1.png")
    before = read_all(output)
    with pytest.raises(InputError, match=r"masks/s0_1.png.*changed"):
        predict_into(output, data)
    assert read_all(output) == before


def test_a_marker_of_predictions_lists_every_file(data, tmp_path):
    predict_into(tmp_path / "out", data)
    content = json.loads((tmp_path / "out" / ".nerve_jax.predict.json").read_text())
    files = {str(p.relative_to(tmp_path / "out")) for p in read_all(tmp_path / "out")}
    sealed = {name for name, digest in content["files"].items() if digest}
    assert sealed == files - {".nerve_jax.predict.json"}
