"""The real command, from frames to scores, masks and a resumed run."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import rle

REPO = Path(__file__).parents[2]
SMALL = {
    "data.image_size": "(32,48)",
    "model.widths": "(8,16)",
    "batch_size": 4,
    "num_train_steps": 6,
    "eval_every_steps": 2,
    "num_folds": 3,
    "data.phantom.num_subjects": 4,
    "data.phantom.frames_per_subject": 4,
}
REPORTED = {
    "dice",
    "dice_nerve_present",
    "dice_empty_baseline",
    "pixel_accuracy",
    "num_frames",
    "surface_dice",
    "hd95_px",
    "assd_px",
    "presence_auroc",
    "calibration_error",
    "by_subject",
    "by_fold",
    "by_scanner",
    "decision_gain",
    "cleaned",
    "audit",
    "train_seconds",
    "images_per_second",
    "wall_seconds",
}


def command(*words, **overrides):
    flags = [f"--config.{name}={value}" for name, value in overrides.items()]
    return [sys.executable, "main.py", *map(str, words), *flags]


def environment():
    """This one, with programs compiled by one command kept for the next."""
    cache = jax.config.jax_compilation_cache_dir
    kept = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return kept | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache}


def run(*words, expect=0, **overrides):
    done = subprocess.run(
        command(*words, **overrides),
        cwd=REPO,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder of prepared records and of one whole cross-validation."""
    folder = tmp_path_factory.mktemp("runs")
    said = run(
        "--config=configs/unet.py",
        f"--workdir={folder / 'whole'}",
        **{"data.records_dir": folder / "records"},
        folds="(0,1,2)",
        **SMALL,
    )
    return folder, said


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, where there is one."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine")
    quiet = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
    quiet += ("--disable-background-networking", "--disable-component-update")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=list(quiet))
        yield browser
        browser.close()


def report(workdir):
    return json.loads((workdir / "report.json").read_text())


def probabilities(workdir, pattern):
    """Presence probability of each frame, by its id."""
    return {
        row["frame"]: row["presence_prob"]
        for path in workdir.glob(pattern)
        for row in csv.DictReader(path.read_text().splitlines())
    }


def checkpoint_arrays(workdir, fold=0):
    """The averaged weights of a fold's last checkpoint, by name."""
    from nerve_jax.runs import members

    return members.load_members(workdir)[fold]


def test_cross_validation_scores_every_frame_once_and_says_so(shared):
    folder, said = shared
    content = report(folder / "whole")
    assert REPORTED <= content.keys()
    assert content["num_frames"] == 16
    low, high = content["intervals"]["dice"]
    assert 0 <= low <= content["dice"] <= high <= 1
    assert content["folds"] == [0, 1, 2]
    assert content["config"]["data"]["records_dir"] == ""  # a report may travel
    assert str(folder) not in (folder / "whole" / "report.html").read_text()
    scored = []
    for fold in range(3):
        with (folder / "whole" / f"fold_{fold}" / "scores.csv").open() as file:
            rows = list(csv.DictReader(file))
        probs = np.load(folder / "whole" / f"fold_{fold}" / "val_probs.npy")
        assert probs.shape == (len(rows), 32, 48)
        assert probs.dtype == np.float16
        scored += [row["frame"] for row in rows]
    assert len(scored) == len(set(scored)) == 16
    by_fold = [row["dice"] * row["num_frames"] for row in content["by_fold"]]
    assert sum(by_fold) / 16 == pytest.approx(content["dice"])
    assert content["over_folds"]["std"]["dice"] >= 0
    found = content["audit"]
    assert found["doubtful"] == found["exact_duplicates"] == 0
    assert 0 <= found["near_duplicates"] <= 16 * 15 / 2
    assert content["audit"]["shared_subjects"] == []
    for part in ("predicting nothing", "pixel accuracy", "by fold", "report.json"):
        assert part in said


def test_scores_come_from_the_last_step_and_the_best_is_labelled(shared):
    folder, _ = shared
    summary = json.loads((folder / "whole" / "fold_0" / "summary.json").read_text())
    rows = (folder / "whole" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, rows) if row["fold"] == 0]
    assert [row["step"] for row in rows] == [2, 4, 6]
    content = report(folder / "whole")
    last = content["by_fold"][0]["dice_at_threshold"]
    assert last == pytest.approx(rows[-1]["dice"])
    events = list((folder / "whole" / "tensorboard" / "fold_0").iterdir())
    assert len(events) == 1
    best = max(rows, key=lambda row: (row["dice"], row["step"]))
    assert summary["best_step"] == best["step"]
    assert summary["dice_of_best_step_selected_on_these_frames"] == best["dice"]


def test_no_fold_is_decided_by_a_rule_that_was_fitted_on_it(shared):
    folder, _ = shared
    rules = [
        json.loads((folder / "whole" / place / "decision.json").read_text())
        for place in ("fold_0", "fold_1", "fold_2", ".")
    ]
    *of_folds, everywhere = rules
    parts = [part for fold in of_folds for part in fold]
    assert [part["threshold"] for part in parts] == [0.5] * 3
    people = [set(part["people"]) for part in parts]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    assert {row["part"] for row in everywhere["tried"]} <= {"outline", "presence"}
    content = report(folder / "whole")
    gain = content["dice"] - content["dice_at_threshold"]
    assert content["decision_gain"] == pytest.approx(gain)
    assert "decision_gain" in content["intervals"]


def test_a_finished_run_is_not_trained_again(shared):
    folder, _ = shared
    before = report(folder / "whole")
    run(
        "--config=configs/unet.py",
        f"--workdir={folder / 'whole'}",
        **{"data.records_dir": folder / "records"},
        folds="(0,1,2)",
        **SMALL,
    )
    after = report(folder / "whole")
    for key in ("dice", "train_seconds", "wall_seconds"):
        assert before[key] == after[key]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_bit_for_bit_the_same(shared):
    folder, _ = shared
    workdir = folder / "killed"
    words = ("--config=configs/unet.py", f"--workdir={workdir}")
    options = {"data.records_dir": folder / "records", **SMALL}
    with subprocess.Popen(
        command(*words, **options),
        cwd=REPO,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 240
        while not list(workdir.glob("fold_0/checkpoints/[24]")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (workdir / "report.json").exists()
    said = run(*words, **options)
    assert "going on from step" in said
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4, 6]
    resumed, whole = checkpoint_arrays(workdir), checkpoint_arrays(folder / "whole")
    assert resumed.keys() == whole.keys()
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


@pytest.mark.slow
def test_folds_together_and_streamed_frames_give_what_the_plain_run_gives(shared):
    """Two folds of two devices each, frames streamed, against fold after fold."""
    folder, _ = shared
    workdir = folder / "together"
    said = run(
        "--config=configs/unet.py",
        f"--workdir={workdir}",
        **{"data.records_dir": folder / "records", "data.max_resident_gb": 0.0},
        folds="(0,1)",
        folds_together=2,
        **SMALL,
    )
    assert "are streamed from the records" in said
    for fold in range(2):
        ours = checkpoint_arrays(workdir, fold)
        theirs = checkpoint_arrays(folder / "whole", fold)
        for name in theirs:
            np.testing.assert_allclose(
                ours[name], theirs[name], atol=1e-4, err_msg=name
            )
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    # Seconds that folds share count once.
    assert report(workdir)["train_seconds"] == pytest.approx(rows[-1]["train_seconds"])
    seen = [(row["step"], row["fold"]) for row in rows]
    assert seen == [(step, fold) for step in (2, 4, 6) for fold in (0, 1)]


def test_predict_writes_masks_overlays_tables_and_a_submission(shared, tmp_path):
    folder, _ = shared
    (tmp_path / "in").mkdir()
    sizes = {"1": (50, 70), "2": (64, 48), "3": (33, 33)}
    rng = np.random.default_rng(0)
    for stem, size in sizes.items():
        image = rng.integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / f"{stem}.tif")
    said = run(
        "--mode=predict",
        f"--workdir={folder / 'whole'}",
        f"--input={tmp_path / 'in'}",
        f"--output={tmp_path / 'out'}",
        "--submission",
    )
    assert "3 frames by 3 fold(s)" in said
    with (tmp_path / "out" / "submission.csv").open() as file:
        pixels = {row["img"]: row["pixels"] for row in csv.DictReader(file)}
    with (tmp_path / "out" / "predictions.csv").open() as file:
        assert [row["frame"] for row in csv.DictReader(file)] == list(sizes)
    for stem, size in sizes.items():
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{stem}.png"))
        assert mask.shape == size
        np.testing.assert_array_equal(rle.decode(pixels[stem], *size), mask > 0)
        assert (tmp_path / "out" / "overlays" / f"{stem}.png").exists()


def test_a_bad_frame_is_listed_and_the_exit_code_says_so(shared, tmp_path):
    folder, _ = shared
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"broken")
    said = run(
        "--mode=predict",
        f"--workdir={folder / 'whole'}",
        f"--input={tmp_path / 'in'}",
        f"--output={tmp_path / 'out'}",
        expect=1,
    )
    assert "bad.png" in said
    assert (tmp_path / "out" / "masks" / "good.png").exists()


def test_evaluate_scores_a_frame_by_folds_that_did_not_train_on_it(shared):
    """On its own data set that is the out-of-fold score; on another, all folds vote."""
    folder, _ = shared
    run("--mode=evaluate", f"--workdir={folder / 'whole'}")
    own = json.loads((folder / "whole" / "evaluation.json").read_text())
    assert "ensemble_gain" not in own
    content = report(folder / "whole")
    assert own["num_frames"] == 16
    assert probabilities(folder / "whole", "evaluation.csv") == probabilities(
        folder / "whole", "fold_*/scores.csv"
    )
    for key in ("dice", "iou", "pixel_accuracy"):
        assert own[key] == pytest.approx(content[key], abs=1e-4)
    words = ("--mode=evaluate", "--config=configs/unet.py")
    words += (f"--workdir={folder / 'whole'}",)
    elsewhere = {
        "data.records_dir": folder / "records",
        "data.phantom.seed": 5,
        "data.phantom.num_subjects": 2,
        "data.phantom.frames_per_subject": 3,
    }
    run(*words, **elsewhere, **{"decision.test_flips": True})
    other = json.loads((folder / "whole" / "evaluation.json").read_text())
    assert other["num_frames"] == 6
    assert (other["folds"], other["test_flips"]) == ([0, 1, 2], True)
    flipped = probabilities(folder / "whole", "evaluation.csv")
    for gain in ("flip_gain", "ensemble_gain", "decision_gain"):
        assert -1 <= other[gain] <= 1
        assert gain in other["intervals"]
    run(*words, **elsewhere, **{"decision.ensemble": False})
    alone = json.loads((folder / "whole" / "evaluation.json").read_text())
    assert alone["folds"] == [0]
    assert "flip_gain" not in alone
    assert "ensemble_gain" not in alone
    assert probabilities(folder / "whole", "evaluation.csv") != flipped
    assert report(folder / "whole") == content


def test_evaluate_leaves_out_what_all_folds_trained_on(shared, tmp_path):
    folder, _ = shared
    others = shutil.ignore_patterns("fold_1", "fold_2")
    shutil.copytree(folder / "whole", tmp_path / "one", ignore=others)
    said = run("--mode=evaluate", f"--workdir={tmp_path / 'one'}")
    content = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    split = json.loads((tmp_path / "one" / "fold_0" / "split.json").read_text())
    assert content["num_frames"] == len(split["val"]) < 16
    assert content["num_frames_left_out"] == 16 - content["num_frames"]
    assert "left out" in said


def test_a_folder_of_ones_own_trains_and_an_unlabelled_one_only_predicts(
    tmp_path, write_folder, blob_frames
):
    frames = blob_frames(4, 3)
    options = SMALL | {"data.name": "ultrasound_nerve/folder", "num_train_steps": 1}
    options["data.records_dir"] = tmp_path / "records"
    workdir = tmp_path / "run"
    run(
        "--config=configs/unet.py",
        f"--workdir={workdir}",
        **options,
        **{"data.manual_dir": write_folder(frames)},
    )
    assert report(workdir)["num_frames"] > 0
    bare = {stem: (image, None) for stem, (image, _) in frames.items()}
    bare = write_folder(bare, name="bare")
    said = run(
        "--config=configs/unet.py",
        f"--workdir={tmp_path / 'refused'}",
        **options,
        **{"data.manual_dir": bare},
        expect=2,
    )
    assert "none of 12 frames has a mask" in said
    assert not (tmp_path / "refused").exists()
    run(
        "--mode=predict",
        f"--workdir={workdir}",
        f"--input={bare}",
        f"--output={tmp_path / 'out'}",
    )
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 12


@pytest.mark.parametrize(
    ("words", "overrides", "message"),
    [
        ((), {}, "needs a configuration"),
        (
            ("--mode=predict", "--workdir=nowhere", "--input=i", "--output=o"),
            {},
            "nothing was|no config.json",
        ),
        (("--mode=predict", "--workdir=nowhere"), {}, "needs --input, --output"),
        (("--mode=train", "--workdir=nowhere"), {}, "needs a configuration"),
        (("--mode=trian", "--workdir=nowhere"), {}, "is not one of: train, pretrain"),
        (("--config=nowhere.py",), {}, "No such file"),
        (("--config=unet", "--input=x"), {}, "--mode=train does not take --input"),
        (
            ("--config=configs/unet.py",),
            {"optimizer.learning_rte": 0.1},
            "did you mean optimizer.learning_rate?",
        ),
        (("--config=configs/unet.py",), {"num_train_steps": "ten"}, "invalid literal"),
        (("--config=configs/unet.py",), {"folds": "()"}, "folds=()"),
        (("--config=configs/unet.py",), {"num_train_steps": 0}, "at least 1"),
        (
            ("--config=configs/unet.py",),
            {"data.name": "ultrasound_nerve/cat"},
            "phantom",
        ),
        (("--config=configs/unet.py",), {"data.phantom.num_subjects": 0}, "at least 1"),
        (("--config=configs/unet.py",), {"seed": -1}, "at least 0"),
        (("--config=configs/unet.py",), {"folds_together": 0}, "at least 1"),
        (
            ("--config=configs/unet.py",),
            {"folds_together": 2, "folds": "(0,1,2)"},
            "no multiple",
        ),
    ],
)
def test_wrong_commands_are_answered_in_a_sentence(tmp_path, words, overrides, message):
    import re

    place = (
        ()
        if "--workdir=nowhere" in words or not words
        else (f"--workdir={tmp_path}/x",)
    )
    said = run(*words, *place, **overrides, expect=2)
    assert re.search(re.escape(message).replace(r"\|", "|"), said)
    assert not (tmp_path / "x").exists()


def test_real_frames_are_trained_on_evaluated_and_predicted(tmp_path, usgra_dir):
    options = SMALL | {
        "data.name": "ultrasound_nerve/usgra",
        "data.manual_dir": usgra_dir,
        "data.records_dir": tmp_path / "records",
        "num_train_steps": 4,
    }
    workdir = tmp_path / "run"
    run("--config=configs/unet.py", f"--workdir={workdir}", **options)
    content = report(workdir)
    assert content["dice_empty_baseline"] == 0.0
    assert content["num_frames"] == pytest.approx(204 / 3, abs=3)
    run("--mode=evaluate", "--split=test", f"--workdir={workdir}")
    scores = json.loads((workdir / "evaluation.json").read_text())
    assert scores["num_frames"] == 40
    run(
        "--mode=predict",
        f"--workdir={workdir}",
        f"--input={usgra_dir / 'test' / 'images'}",
        f"--output={tmp_path / 'out'}",
    )
    for path in (usgra_dir / "test" / "images").iterdir():
        mask = Image.open(tmp_path / "out" / "masks" / f"{path.stem}.png")
        assert mask.size == Image.open(path).size


@pytest.mark.slow
def test_a_run_compared_with_itself_does_not_differ(shared, tmp_path):
    folder, _ = shared
    runs = f"--workdirs={folder / 'whole'},{folder / 'whole'}"
    said = run("--mode=compare", runs, f"--workdir={tmp_path}")
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["difference"] == 0
    assert content["num_frames"] == 16
    assert "too few to say whether it would hold for other subjects" in said
    run("--mode=compare", f"--workdir={tmp_path}", expect=2)


def test_an_audit_is_a_page_and_a_file(shared, tmp_path):
    folder, _ = shared
    said = run(
        "--mode=audit",
        "--config=configs/unet.py",
        f"--workdir={tmp_path}",
        **{
            "data.records_dir": folder / "records",
            "data.phantom.num_subjects": 4,
            "data.phantom.frames_per_subject": 4,
        },
    )
    content = json.loads((tmp_path / "audit.json").read_text())
    assert content["num_frames"] == 16
    assert content["shared_subjects"] == []
    assert "16 frames of 4 subjects" in said
    assert "data:image" in (tmp_path / "audit.html").read_text()


@pytest.mark.slow
def test_clean_train_drops_doubtful_frames_from_training_and_not_from_scores(
    tmp_path, write_folder, blob_frames
):
    """s0_9 and s1_9 repeat frames with a nerve and are labelled empty: neither is believed.

    And s8 is s2 under another number: folds keep the two together.
    """
    frames = blob_frames(4, 3)
    frames |= {f"s8_{i}": frames[f"s2_{i}"] for i in range(3)}
    for subject in ("s0", "s1"):
        image, mask = frames[f"{subject}_1"]
        frames[f"{subject}_9"] = (image, np.zeros_like(mask))
    options = SMALL | {"data.name": "ultrasound_nerve/folder", "num_train_steps": 1}
    options |= {"data.records_dir": tmp_path / "records", "num_folds": 2}
    said = run(
        "--config=configs/unet.py",
        f"--workdir={tmp_path / 'run'}",
        **options,
        **{"data.manual_dir": write_folder(frames), "data.clean_train": True},
        folds="(0,1)",
    )
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())
    for split in splits:
        dropped = {"s0_1", "s0_9", "s1_1", "s1_9"} & set(split["train"])
        assert f"clean_train: {len(dropped)} frames whose label" in said
        people = [{frame[:2] for frame in split[part]} for part in ("train", "val")]
        assert any({"s2", "s8"} <= side for side in people)
        assert not people[0] & people[1]
    content = report(tmp_path / "run")
    left_out = [row["num_frames_left_out_of_training"] for row in content["by_fold"]]
    assert sum(left_out) == 4
    assert content["num_frames"] == 17
    assert content["cleaned"]["num_frames"] == 13
    assert content["audit"]["doubtful"] == 4
    assert content["audit"]["shared_subjects"] == [["s2", "s8"]]
    assert "subjects that share frames are kept together in the folds: s2, s8" in said


@pytest.mark.parametrize("width", [400, 1400])
def test_the_report_asks_for_nothing_and_fits_the_screen(shared, width, browser):
    folder, _ = shared
    page = browser.new_page(viewport={"width": width, "height": 900})
    trouble, asked = [], []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = (folder / "whole" / "report.html").as_uri()
    page.goto(address)
    assert trouble == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    images = page.locator("img")
    assert images.count() > 12
    assert page.evaluate(
        "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    )
    assert page.get_by_text("predicting nothing").count()


@pytest.mark.slow
def test_predict_decides_by_the_rule_of_the_run_and_by_as_many_folds_as_told(
    shared, tmp_path
):
    folder, _ = shared
    workdir = tmp_path / "run"
    shutil.copytree(folder / "whole", workdir)
    (tmp_path / "in").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "in" / "1.png")
    words = ("--mode=predict", f"--workdir={workdir}", f"--input={tmp_path / 'in'}")
    words += (f"--output={tmp_path / 'out'}", "--config=configs/unet.py")

    def area(**options):
        said = run(*words, **options, **SMALL)
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "1.png"))
        return int((mask > 0).sum()), said

    for value, wanted in ((0.0, 2000), (2.0, 0)):
        rule = {"threshold": value, "outline": None, "presence": None}
        (workdir / "decision.json").write_text(json.dumps(rule))
        assert area()[0] == wanted
    found, said = area(**{"decision.threshold": 0.0, "decision.ensemble": False})
    assert found == 2000
    assert "by 1 fold(s)" in said
    (workdir / "decision.json").unlink()
    said = run(*words, **SMALL, expect=2)
    assert "give its training command once more" in said


@pytest.mark.slow
def test_a_refused_command_does_not_spoil_its_folder(shared, tmp_path):
    folder, _ = shared
    words = ("--config=configs/unet.py", f"--workdir={tmp_path / 'run'}")
    options = SMALL | {"data.records_dir": folder / "records", "num_train_steps": 1}
    for wrong in (
        {"num_folds": 9},
        {"model.widths": "(7,)", "model.num_groups": 3},
        {"loss.name": "l2"},
    ):
        said = run(*words, **(options | wrong), expect=2)
        assert "error: " in said
    run(*words, **options)


@pytest.mark.slow
def test_other_thresholds_may_be_tried_and_another_model_may_not(shared):
    folder, _ = shared
    words = ("--mode=evaluate", "--config=configs/unet.py")
    words += (f"--workdir={folder / 'whole'}",)
    run(*words, **{"decision.threshold": 0.0}, **SMALL)
    scores = json.loads((folder / "whole" / "evaluation.json").read_text())
    assert scores["presence_sensitivity"] == 1.0
    assert scores["presence_specificity"] == 0.0
    assert scores["decision_gain"] is None
    said = run(*words, **{"model.widths": "(16,32)"}, expect=2)
    assert "--config.model.widths=(16, 32)" in said
    assert "threshold" in said


@pytest.mark.slow
def test_pretraining_without_masks_gives_a_start(shared, tmp_path):
    folder, _ = shared
    source = tmp_path / "source"
    fields = SMALL | {"data.records_dir": folder / "records", "pretrain.patch_px": 16}
    said = run(
        "--mode=pretrain", "--config=configs/unet.py", f"--workdir={source}", **fields
    )
    assert "Explained" in said
    assert f"--config.start.workdir={source}" in said
    assert (source / "fold_0" / "summary.json").exists()


@pytest.mark.slow
def test_tuning_writes_a_page_and_a_configuration_that_trains(shared, tmp_path):
    folder, _ = shared
    workdir = tmp_path / "study"
    said = run(
        "--mode=tune",
        "--config=configs/tune_unet.py",
        f"--workdir={workdir}",
        **SMALL
        | {
            "data.records_dir": folder / "records",
            "tuning.num_trials": 1,
            "folds": "(0,)",
        },
    )
    assert "trial 0: " in said
    assert (workdir / "study.html").exists()
    best = f"--config={workdir / 'best_config.py'}"
    run(best, f"--workdir={tmp_path / 'run'}")
    tried = report(workdir / "trials" / "trial_0000")["config"]
    assert report(tmp_path / "run")["config"] == tried
    assert tried["optimizer"]["learning_rate"] != 2e-3  # the reference's


def test_a_plan_is_printed_and_written(shared, tmp_path):
    folder, _ = shared
    workdir = tmp_path / "plan"
    fields = SMALL | {"data.records_dir": folder / "records"}
    said = run(
        "--mode=plan", "--config=configs/unet.py", f"--workdir={workdir}", **fields
    )
    assert "16 frames of 4 people" in said
    assert "num_folds = 4: 4 people to deal" in said
    assert str(workdir / "planned_config.py") in said
