import dataclasses
import shutil

import pytest

from nerve_jax.data.loading import load_examples
from nerve_jax.data.records import create_builder
from nerve_jax.runs import identity
from nerve_jax.system import environment, locks
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import write_json


def config(**changes):
    """Plain values, as config.json holds them."""
    fields = {
        "seed": 0,
        "folds": [0],
        "data": {"records_dir": ""},
        "model": {"widths": [8, 16]},
        "augment": {"flip_prob": 0.5},
    }
    return fields | changes


@pytest.fixture
def examples(write_folder, blob_frames, tmp_path):
    """The frames of a small folder."""
    builder = create_builder(
        "ultrasound_nerve/folder",
        records_dir=str(tmp_path / "records"),
        manual_dir=str(write_folder(blob_frames(2, 2))),
    )
    return load_examples(builder, "train", (24, 32))


@pytest.fixture
def workdir(tmp_path, examples):
    """A folder in which a run was saved and fold 0 begun."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    identity.save_run(workdir, config(), examples, list(examples.subjects))
    (workdir / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
    return workdir


def test_another_configuration_is_refused_with_every_difference(workdir, examples):
    other = config(seed=3, augment={"flip_prob": 0.1}, extra=1)
    with pytest.raises(InputError) as caught:
        identity.check_run(workdir, other, examples)
    for part in (
        "seed: 0 before, 3 now",
        "augment.flip_prob: 0.5 before, 0.1 now",
        "extra: not there before, 1 now",
        "--workdir",
        "--force",
    ):
        assert part in str(caught.value)
    shutil.rmtree(workdir / "fold_0" / "checkpoints")
    identity.check_run(workdir, other, examples)  # nothing was trained yet
    with (
        locks.hold(workdir / "fold_0" / "lock"),  # but it is about to be
        pytest.raises(InputError, match="seed: 0 before"),
    ):
        identity.check_run(workdir, other, examples)


def test_folds_and_places_of_files_may_change(workdir, examples):
    identity.check_run(
        workdir, config(data={"records_dir": "/there"}, folds=[1, 2]), examples
    )


def test_a_run_of_an_older_version_is_refused(workdir, examples):
    write_json(workdir / "config.json", {"seed": 0, "widths": [8, 16]})
    with pytest.raises(InputError, match="config.json: an older version of this code"):
        identity.check_run(workdir, config(), examples)


def test_another_data_set_is_refused(workdir, examples):
    other = dataclasses.replace(examples, fingerprint="other/data:1.0.0")
    with pytest.raises(InputError, match=r"fingerprint: .*other/data:1.0.0 now"):
        identity.check_run(workdir, config(), other)


def test_other_code_is_refused_and_another_commit_of_the_same_is_not(
    workdir, examples, monkeypatch
):
    monkeypatch.setattr(identity.environment, "read_commit", lambda: "another")
    identity.check_run(workdir, config(), examples)
    code = environment.describe_code() | {"nerve_jax": "0123", "optax": "9.9"}
    monkeypatch.setattr(identity.environment, "describe_code", lambda: code)
    with pytest.raises(InputError) as caught:
        identity.check_run(workdir, config(), examples)
    assert "0123 now" in str(caught.value)
    assert "optax: " in str(caught.value)


def test_force_goes_on_and_leaves_a_note(workdir, examples, capsys):
    forced = identity.check_run(workdir, config(seed=3), examples, force=True)
    assert identity.read_forced(workdir) == []
    subjects = list(examples.subjects)
    identity.save_run(workdir, config(seed=3), examples, subjects, forced=forced)
    assert "seed: 0 before, 3 now" in capsys.readouterr().out
    assert identity.read_forced(workdir) == [["seed: 0 before, 3 now"]]
    identity.check_run(workdir, config(seed=3), examples)


def test_force_does_not_make_finished_folds_into_others(workdir, examples):
    (workdir / "fold_0" / "summary.json").write_text("{}")
    other = dataclasses.replace(examples, fingerprint="other/data:1.0.0")
    for changed, frames, message in (
        (
            config(model={"widths": [4]}, folds=[1]),
            examples,
            r"model.widths: \[8, 16\] before",
        ),
        (config(folds=[1]), other, "fingerprint: "),
        (config(seed=3), examples, "seed: 0 before"),  # and nothing is left to train
    ):
        with pytest.raises(InputError, match=rf"finished and have[\s\S]*{message}"):
            identity.check_run(workdir, changed, frames, force=True)
    forced = identity.check_run(
        workdir, config(seed=3, folds=[0, 1]), examples, force=True
    )
    assert forced == ["seed: 0 before, 3 now"]
