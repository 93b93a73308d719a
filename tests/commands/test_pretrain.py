import dataclasses
import json

import numpy as np
import pytest

from nerve_jax.commands import pretrain, setup
from nerve_jax.commands.evaluate import evaluate
from nerve_jax.commands.train import cross_validate
from nerve_jax.data import loading
from nerve_jax.data.population import find_people
from nerve_jax.runs.log import MetricsLog
from nerve_jax.system.errors import InputError
from tests.samples import bright_boxes, relabel


@pytest.fixture
def half_labelled(write_folder, blob_frames, small_config):
    """A configuration of frames of which the last two of each person have no mask."""
    frames = {
        stem: (image, mask if int(stem[-1]) < 2 else None)
        for stem, (image, mask) in blob_frames(4, 4, seed=1).items()
    }
    folder = write_folder(frames, name="half")
    return lambda **fields: small_config(**{"data.manual_dir": str(folder)}, **fields)


def test_frames_without_masks_are_learnt_from_but_for_validation_people(
    half_labelled, tmp_path
):
    """And the run is a start for others, but no segmenter itself."""
    source, config = tmp_path / "source", half_labelled(folds=(0, 1))
    pretrain.pretrain(config, source)
    scored = set()
    for fold in (0, 1):
        path = source / f"fold_{fold}" / "split.json"
        split = json.loads(path.read_text())
        people = {part: {f[:2] for f in frames} for part, frames in split.items()}
        assert len(split["train"]) == 8  # of two people all four frames
        assert not people["train"] & people["val"]
        scored |= set(split["val"])
    assert len(scored) == 8
    assert not any(frame[-1] in "23" for frame in scored)
    rows = MetricsLog(source).read()
    reached = [(row["fold"], row["step"]) for row in rows]
    assert reached == [(0, 2), (0, 4), (1, 2), (1, 4)]
    assert all(-1 < row["explained"] < 1 for row in rows)
    with pytest.raises(InputError, match="does not know nerves yet.*start.workdir"):
        evaluate(source, {}, "train")
    with pytest.raises(InputError, match="task: pretraining before, segmentation now"):
        cross_validate(config, source)
    cross_validate(half_labelled(**{"start.workdir": str(source)}), tmp_path / "run")
    noted = json.loads((tmp_path / "run" / "fold_0" / "init.json").read_text())
    assert noted["source"] == str(source)
    assert len(noted["taken"]) == 20


def test_frames_without_masks_of_a_scanner_left_out_are_not_learnt_from():
    """Nor those of an unknown one, nor labelled ones that are in no part of the fold."""
    frames = bright_boxes(16)  # four of each of s0 to s3
    frames = dataclasses.replace(
        relabel(frames, labelled=np.arange(16) % 4 < 2),
        scanners=(*"AAAA", *"BBBC", "C", "C", "A", "", *"BBBB"),
    )
    population = find_people(frames)._replace(groups=list(frames.subjects))
    split = {"train": ["f08", "f09"], "val": ["f00", "f01"]}
    by_subject = pretrain.add_unlabelled(split, population, "subject")
    later = ["f06", "f07", "f10", "f11", "f14", "f15"]
    assert by_subject == {"train": ["f08", "f09", *later], "val": ["f00", "f01"]}
    by_scanner = pretrain.add_unlabelled(split, population, "scanner")["train"]
    assert by_scanner == ["f08", "f09", "f06", "f07", "f14", "f15"]


@pytest.mark.slow
def test_without_any_mask_all_frames_are_dealt(
    write_folder, blob_frames, small_config, tmp_path
):
    frames = {stem: (image, None) for stem, (image, _) in blob_frames(4, 2).items()}
    config = small_config(**{"data.manual_dir": str(write_folder(frames, name="bare"))})
    pretrain.pretrain(config, tmp_path / "run")
    split = json.loads((tmp_path / "run" / "fold_0" / "split.json").read_text())
    assert len(split["train"]) == len(split["val"]) == 4
    with pytest.raises(InputError, match="nothing to train on"):
        cross_validate(config, tmp_path / "other")


@pytest.mark.slow
def test_it_learns_what_is_hidden(write_folder, small_config, tmp_path):
    """Stripes go on under a patch, so they can be guessed."""
    rng = np.random.default_rng(0)
    frames = {}
    for index in range(16):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 6)
        y, x = np.mgrid[:24, :32]
        wave = np.sin(0.9 * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        frames[f"s{index % 4}_{index}"] = ((120 + 90 * wave).astype(np.uint8), None)
    config = small_config(
        **{
            "data.manual_dir": str(write_folder(frames, name="stripes")),
            "model.widths": (8, 16, 16),
            "optimizer.learning_rate": 4e-3,
            "pretrain.hidden_share": 0.25,
        },
        num_train_steps=120,
        eval_every_steps=120,
    )
    for name in config.augment:
        if name not in ("elastic_cells", "flip_prob", "shift_fraction"):
            config.augment[name] = 0.0
    pretrain.pretrain(config, tmp_path / "run")
    (row,) = MetricsLog(tmp_path / "run").read()
    assert row["explained"] > 0.2


def test_all_frames_are_those_of_train_and_unlabelled_ones_of_other_splits(
    kaggle_dir, small_config
):
    config = small_config(
        **{"data.name": "ultrasound_nerve/kaggle", "data.manual_dir": str(kaggle_dir)},
    )
    train, test = (setup.load_frames(config, split) for split in ("train", "test"))
    assert not test.labelled.any()
    alone, joined = setup.load_frames_of_all_splits(config)
    assert alone.frames == train.frames
    assert joined.frames == (*train.frames, *test.frames)
    for place in (0, len(train), len(joined) - 1):
        split, row = (
            (train, place) if place < len(train) else (test, place - len(train))
        )
        np.testing.assert_array_equal(joined.original(place), split.original(row))
        np.testing.assert_array_equal(joined.images[place], split.images[row])


def test_labelled_frames_of_other_splits_stay_unseen(small_config, monkeypatch):
    config = small_config()
    train = setup.load_frames(config, "train")
    other = train.choose(np.arange(4))
    bare = relabel(other, labelled=np.array([True, False, True, False]))
    splits = {"train": train, "test": other, "more": bare}
    monkeypatch.setattr(loading.records, "list_splits", lambda builder: list(splits))
    monkeypatch.setattr(loading, "_load", lambda *arguments: splits[arguments[2]])
    _, joined = setup.load_frames_of_all_splits(config)
    assert joined.frames == (*train.frames, train.frames[1], train.frames[3])
