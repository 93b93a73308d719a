import dataclasses
import shutil

import pytest

from configs import unet
from nerve_jax.data.loading import load_examples
from nerve_jax.data.records import create_builder
from nerve_jax.runs import identity
from nerve_jax.runs.config import set_fields, to_plain
from nerve_jax.system import environment, locks
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import read_json, write_json


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


def test_fields_that_a_run_is_older_than_had_the_usual_value(begin_run, examples):
    workdir = begin_run()
    kept = read_json(workdir / "config.json")
    for name in ("structures", "reader"):
        del kept["data"][name]
    write_json(workdir / "config.json", kept)
    assert identity.check_run(workdir, reference_with(), examples) == ([], [])
    now = reference_with(**{"data.structures": ("vessel",)})
    with pytest.raises(InputError, match="data.structures: not there before"):
        identity.check_run(workdir, now, examples)
    with pytest.raises(InputError, match="--force cannot change"):
        identity.check_run(workdir, now, examples, force=True)


def test_a_run_of_an_older_version_is_refused(workdir, examples):
    write_json(workdir / "config.json", {"seed": 0, "widths": [8, 16]})
    with pytest.raises(InputError, match="config.json: an older version of this code"):
        identity.check_run(workdir, config(), examples)


def test_another_data_set_is_refused(workdir, examples):
    other = dataclasses.replace(examples, fingerprint="other/data:1.0.0")
    with pytest.raises(InputError, match=r"fingerprint: .*other/data:1.0.0 now"):
        identity.check_run(workdir, config(), other)


def read_code(workdir):
    return read_json(workdir / "code.json")


def code_with(**changes):
    return environment.describe_code() | changes


def test_other_code_is_refused_and_another_commit_of_the_same_is_not(
    workdir, examples, monkeypatch
):
    monkeypatch.setattr(identity.environment, "read_commit", lambda: "another")
    identity.check_run(workdir, config(), examples)
    code = code_with(nerve_jax="0123", optax="9.9")
    monkeypatch.setattr(identity.environment, "describe_code", lambda: code)
    with pytest.raises(InputError) as caught:
        identity.check_run(workdir, config(), examples)
    assert "0123 now" in str(caught.value)
    assert "optax: " in str(caught.value)


COMPUTING = ("jax", "jaxlib", "flax", "optax", "numpy")


@pytest.mark.parametrize("name", [*COMPUTING, "python", "orbax-checkpoint"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_another_release_is_refused_and_a_patch_is_noted(
    workdir, examples, monkeypatch, name, place
):
    before = read_code(workdir)[name]
    now = ".".join([*before.split(".")[:place], "99"])
    code = code_with(**{name: now})
    monkeypatch.setattr(identity.environment, "describe_code", lambda: code)
    line = f"{name}: {before} before, {now} now"
    if name in COMPUTING and place < 2:
        with pytest.raises(InputError, match=line):
            identity.check_run(workdir, config(), examples)
        return
    notes = identity.check_run(workdir, config(), examples)
    assert notes == ([], [line])
    identity.save_run(workdir, config(), examples, list(examples.subjects), notes=notes)
    assert read_code(workdir)["noted"] == [line]
    assert read_code(workdir)[name] == now


def test_a_finished_fold_goes_on_with_any_code_and_keeps_what_trained_it(
    workdir, examples, monkeypatch
):
    (workdir / "fold_0" / "summary.json").write_text("{}")
    before = read_code(workdir)
    code = code_with(nerve_jax="0123", numpy="99.0.0")
    monkeypatch.setattr(identity.environment, "describe_code", lambda: code)
    notes = identity.check_run(workdir, config(), examples)
    identity.save_run(workdir, config(), examples, list(examples.subjects), notes=notes)
    after = read_code(workdir)
    assert {name: after[name] for name in code} == {name: before[name] for name in code}
    assert len(after["noted"]) == 2
    with pytest.raises(InputError, match="numpy: "):  # a fold is to be trained by it
        identity.check_run(workdir, config(folds=[0, 1]), examples)


@pytest.fixture
def begin_run(tmp_path, examples):
    """Return `begin(task, finished) -> workdir` of a run of the reference, fold 0 begun."""

    def begin(task="segmentation", *, finished=False):
        workdir = tmp_path / "run"
        workdir.mkdir()
        plain = to_plain(unet.get_config())
        identity.save_run(workdir, plain, examples, list(examples.subjects), task=task)
        (workdir / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
        if finished:
            (workdir / "fold_0" / "summary.json").write_text("{}")
        return workdir

    return begin


def reference_with(**changes):
    return to_plain(set_fields(unet.get_config(), changes))


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("field", "value", "task", "outcome"),
    [
        ("eval_every_steps", 50, "segmentation", "noted"),
        ("steps_per_call", 3, "segmentation", "noted"),
        ("accumulate_steps", 2, "segmentation", "noted"),
        ("folds_together", 2, "segmentation", "free"),
        ("data.num_workers", 3, "segmentation", "free"),
        ("decision.ensemble", False, "segmentation", "free"),
        ("tuning.num_trials", 3, "segmentation", "free"),
        ("pretrain.patch_px", 32, "segmentation", "free"),
        ("pretrain.patch_px", 32, "pretraining", "refused"),
        ("loss.name", "focal_tversky", "pretraining", "free"),
        ("decision.threshold", 0.4, "pretraining", "free"),
        ("decision.threshold", 0.4, "segmentation", "refused"),
        ("decision.test_flips", True, "pretraining", "refused"),
        ("optimizer.learning_rate", 0.01, "segmentation", "refused"),
        ("num_train_steps", 900, "segmentation", "refused"),
        ("seed", 3, "segmentation", "refused"),
    ],
)
def test_only_what_changes_numbers_is_refused(
    begin_run, examples, field, value, task, outcome, finished
):
    workdir, now = begin_run(task, finished=finished), reference_with(**{field: value})
    if outcome == "refused":
        with pytest.raises(InputError, match=f"{field}: "):
            identity.check_run(workdir, now, examples, task=task)
        return
    forced, noted = identity.check_run(workdir, now, examples, task=task)
    assert forced == []
    assert [line.partition(":")[0] for line in noted] == [field] * (outcome == "noted")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.block", "residual"),
        ("model.num_groups", 4),
        ("model.widths", (8, 16)),
        ("data.image_size", (48, 64)),
        ("data.structures", ("nerve", "vessel")),
        ("data.structures", ("vessel",)),
        ("start.encoder_rate_factor", 0.5),
        ("start.encoder_frozen_steps", 5),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_force_refuses_what_checkpoints_are_built_by(
    begin_run, examples, field, value, finished
):
    workdir = begin_run(finished=finished)
    now = reference_with(**{field: value, "folds": (0, 1)})
    with pytest.raises(InputError, match=f"--force cannot change[\\s\\S]*{field}: "):
        identity.check_run(workdir, now, examples, force=True)


def test_force_goes_on_and_leaves_a_note(workdir, examples, capsys):
    notes = identity.check_run(workdir, config(seed=3), examples, force=True)
    assert identity.read_forced(workdir) == []
    subjects = list(examples.subjects)
    identity.save_run(workdir, config(seed=3), examples, subjects, notes=notes)
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
        with pytest.raises(
            InputError, match=rf"finished and have other values[\s\S]*{message}"
        ):
            identity.check_run(workdir, changed, frames, force=True)
    notes = identity.check_run(
        workdir, config(seed=3, folds=[0, 1]), examples, force=True
    )
    assert notes.forced == ["seed: 0 before, 3 now"]
