"""Who may score whom: frames that weights have seen, whatever they are called."""

import json

import numpy as np
import pytest

from nerve_jax.commands.evaluate import evaluate
from nerve_jax.commands.train import cross_validate
from nerve_jax.runs.seen import load_seen
from nerve_jax.system import processes
from nerve_jax.system.errors import InputError
from tests.samples import texture


def make_frames(people, first=0):
    """Textured frames with a nerve, three of each person."""
    mask = np.zeros((96, 128), np.uint8)
    mask[30:60, 40:80] = 255
    return {
        f"p{person:02d}_{index}": (texture(3 * person + index), mask)
        for person in range(first, first + people)
        for index in range(3)
    }


@pytest.fixture
def trained(small_config, write_folder, tmp_path):
    """A run on six people, both folds of it."""
    folder = write_folder(make_frames(6), name="trained")
    config = small_config(
        **{"data.manual_dir": str(folder), "folds": (0, 1)}, num_train_steps=1
    )
    cross_validate(config, tmp_path / "run")
    return tmp_path / "run"


def shifted(image):
    return np.where(image < 255, image + 1, image).astype(np.uint8)


def score(run, folder):
    return evaluate(run, {"data.manual_dir": str(folder)}, "train")


def test_frames_one_grey_level_off_under_other_names_are_left_out_and_counted(
    trained, write_folder, capsys
):
    frames = make_frames(6)
    copies = {
        f"x{n[1:]}": (shifted(image), mask) for n, (image, mask) in frames.items()
    }
    strangers = make_frames(2, first=20)
    folder = write_folder(copies | strangers, name="others")
    # Everybody was trained on by one of the two folds, and may be scored by the other.
    content = score(trained, folder)
    assert content["num_frames"] == len(copies | strangers)
    assert content["num_frames_left_out"] == 0
    (trained / "fold_1" / "summary.json").unlink()
    capsys.readouterr()
    content = score(trained, folder)
    left_out = len(load_seen(trained, 0, "train").digests)
    assert content["num_frames"] == len(copies | strangers) - left_out
    assert content["num_frames_left_out"] == left_out
    assert content["num_frames_left_out_by_likeness"] == left_out
    assert f"{left_out} of which are known by likeness alone" in capsys.readouterr().out


def test_all_frames_of_a_person_are_left_out_for_one_that_is_like(
    trained, write_folder
):
    (trained / "fold_1" / "summary.json").unlink()
    known = json.loads((trained / "splits.json").read_text())[0]["train"][0]
    image, mask = make_frames(6)[known]
    frames = make_frames(3, first=20) | {"p20_9": (shifted(image), mask)}
    content = score(trained, write_folder(frames, name="others"))
    assert content["num_frames"] == 6
    assert content["num_frames_left_out_by_likeness"] == 4


def test_of_its_own_frames_names_decide_who_scores_whom(trained, monkeypatch):
    shared, spread = [], processes.spread

    def spy(function, *items):
        rows = list(zip(*items, strict=True))
        shared.append(len(rows))
        return spread(function, *zip(*rows, strict=True))

    monkeypatch.setattr(processes, "spread", spy)
    content = evaluate(trained, {}, "train")
    assert content["num_frames"] == 18
    assert shared == [18]  # of several processes each scores its part
    assert content["num_frames_left_out_by_likeness"] == 0


def test_a_run_without_thumbnails_says_that_it_knows_equal_frames_only(
    trained, write_folder, capsys
):
    (trained / "thumbnails.npy").unlink()
    (trained / "fold_1" / "summary.json").unlink()
    frames = make_frames(6)
    copies = {
        f"x{n[1:]}": (shifted(image), mask) for n, (image, mask) in frames.items()
    }
    equal = {f"y{n[1:]}": pair for n, pair in frames.items()}
    content = score(trained, write_folder(copies | equal, name="others"))
    assert "keeps no thumbnails" in capsys.readouterr().out
    seen = len(load_seen(trained, 0, "train").digests)
    assert content["num_frames_left_out"] == seen
    assert content["num_frames_left_out_by_likeness"] == 0


def test_where_all_are_known_there_is_nothing_to_score(trained, write_folder):
    (trained / "fold_1" / "summary.json").unlink()
    seen = json.loads((trained / "splits.json").read_text())[0]["train"]
    frames = make_frames(6)
    copies = {f"x{n[1:]}": (shifted(frames[n][0]), frames[n][1]) for n in seen}
    with pytest.raises(InputError, match="no frame to score"):
        score(trained, write_folder(copies, name="others"))
