import dataclasses
import shutil

import pytest
from ml_collections import ConfigDict

from nerve_jax import config_files, environment, locks, workdirs
from nerve_jax.builders import create_builder
from nerve_jax.errors import InputError
from nerve_jax.examples import load_examples


def config(**changes):
    fields = {
        "seed": 0,
        "widths": (8, 16),
        "folds": (0,),
        "augment": {"flip_prob": 0.5},
    }
    return ConfigDict(fields | changes)


@pytest.fixture
def examples(write_folder, blob_frames, tmp_path):
    """The frames of a small folder."""
    builder = create_builder(
        "ultrasound_nerve/folder",
        data_dir=str(tmp_path / "records"),
        manual_dir=str(write_folder(blob_frames(2, 2))),
    )
    return load_examples(builder, "train", (24, 32))


@pytest.fixture
def workdir(tmp_path, examples):
    """A folder in which a run was saved and fold 0 begun."""
    folder = tmp_path / "run"
    folder.mkdir()
    workdirs.save_run(folder, config(), examples, list(examples.subjects))
    (folder / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
    return folder


def test_config_comes_back_as_it_was(workdir):
    loaded = workdirs.load_config(workdir)
    assert loaded.widths == (8, 16)
    assert loaded.augment.flip_prob == 0.5
    assert config_files.to_plain(loaded) == config_files.to_plain(config())


def test_another_configuration_is_refused_with_every_difference(workdir, examples):
    other = config(seed=3, augment={"flip_prob": 0.1}, extra=1)
    with pytest.raises(InputError) as caught:
        workdirs.check_run(workdir, other, examples)
    for part in (
        "seed: 0 before, 3 now",
        "augment.flip_prob: 0.5 before, 0.1 now",
        "extra: not there before, 1 now",
        "--workdir",
        "--force",
    ):
        assert part in str(caught.value)
    shutil.rmtree(workdir / "fold_0" / "checkpoints")
    workdirs.check_run(workdir, other, examples)  # nothing was trained yet
    with (
        locks.hold(workdir / "fold_0" / "lock"),  # but it is about to be
        pytest.raises(InputError, match="seed: 0 before"),
    ):
        workdirs.check_run(workdir, other, examples)


def test_folds_and_places_of_files_may_change(workdir, examples):
    workdirs.check_run(workdir, config(data_dir="/there", folds=(1, 2)), examples)


def test_another_data_set_is_refused(workdir, examples):
    other = dataclasses.replace(examples, fingerprint="other/data:1.0.0")
    with pytest.raises(InputError, match=r"fingerprint: .*other/data:1.0.0 now"):
        workdirs.check_run(workdir, config(), other)


def test_other_code_is_refused_and_another_commit_of_the_same_is_not(
    workdir, examples, monkeypatch
):
    monkeypatch.setattr(workdirs.environment, "read_commit", lambda: "another")
    workdirs.check_run(workdir, config(), examples)
    code = environment.describe_code() | {"nerve_jax": "0123", "optax": "9.9"}
    monkeypatch.setattr(workdirs.environment, "describe_code", lambda: code)
    with pytest.raises(InputError) as caught:
        workdirs.check_run(workdir, config(), examples)
    assert "0123 now" in str(caught.value)
    assert "optax: " in str(caught.value)


def test_force_goes_on_and_leaves_a_note(workdir, examples, capsys):
    forced = workdirs.check_run(workdir, config(seed=3), examples, force=True)
    assert workdirs.read_forced(workdir) == []
    subjects = list(examples.subjects)
    workdirs.save_run(workdir, config(seed=3), examples, subjects, forced=forced)
    assert "seed: 0 before, 3 now" in capsys.readouterr().out
    assert workdirs.read_forced(workdir) == [["seed: 0 before, 3 now"]]
    workdirs.check_run(workdir, config(seed=3), examples)


def test_force_does_not_make_finished_folds_into_others(workdir, examples):
    (workdir / "fold_0" / "summary.json").write_text("{}")
    other = dataclasses.replace(examples, fingerprint="other/data:1.0.0")
    for changed, frames, message in (
        (config(widths=(4,), folds=(1,)), examples, r"widths: \[8, 16\] before"),
        (config(folds=(1,)), other, "fingerprint: "),
        (config(seed=3), examples, "seed: 0 before"),  # and nothing is left to train
    ):
        with pytest.raises(InputError, match=rf"finished and have[\s\S]*{message}"):
            workdirs.check_run(workdir, changed, frames, force=True)
    forced = workdirs.check_run(
        workdir, config(seed=3, folds=(0, 1)), examples, force=True
    )
    assert forced == ["seed: 0 before, 3 now"]


def test_a_fold_is_not_trained_on_with_other_frames(tmp_path):
    split = {"train": ["a", "b"], "val": ["c"]}
    workdirs.save_split(tmp_path, 0, split)
    workdirs.save_split(tmp_path, 0, split | {"val": ["d"]})  # nothing trained yet
    (tmp_path / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
    workdirs.save_split(tmp_path, 0, split | {"val": ["d"]})
    with pytest.raises(InputError, match="fold 0 other frames"):
        workdirs.save_split(tmp_path, 0, split)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no config.json"), ("{", "not JSON")]
)
def test_a_folder_without_a_run_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        workdirs.load_config(tmp_path)


def test_finished_folds_are_those_with_a_summary(tmp_path):
    for fold in (0, 2, 10):
        workdirs.fold_dir(tmp_path, fold).mkdir()
    (tmp_path / "fold_0_old").mkdir()
    (tmp_path / "fold_0_old" / "summary.json").write_text("{}")
    for fold in (10, 2):
        (workdirs.fold_dir(tmp_path, fold) / "summary.json").write_text("{}")
    assert workdirs.finished_folds(tmp_path) == [2, 10]
