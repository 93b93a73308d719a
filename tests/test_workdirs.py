import pytest
from ml_collections import ConfigDict

from nerve_jax import workdirs
from nerve_jax.errors import InputError


def config(**changes):
    fields = {
        "seed": 0,
        "widths": (8, 16),
        "folds": (0,),
        "augment": {"flip_prob": 0.5},
    }
    return ConfigDict(fields | changes)


def test_config_comes_back_as_it_was(tmp_path):
    workdirs.save_config(tmp_path, config())
    loaded = workdirs.load_config(tmp_path)
    assert loaded.widths == (8, 16)
    assert loaded.augment.flip_prob == 0.5
    assert workdirs.to_plain(loaded) == workdirs.to_plain(config())


def test_another_configuration_is_refused_with_every_difference(tmp_path):
    workdirs.save_config(tmp_path, config())
    other = config(seed=3, augment={"flip_prob": 0.1}, extra=1)
    workdirs.check_config(tmp_path, other)  # nothing was trained yet
    (tmp_path / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        workdirs.check_config(tmp_path, other)
    for part in (
        "seed: 0 before, 3 now",
        "augment.flip_prob: 0.5 before, 0.1 now",
        "extra: not there before, 1 now",
        "--workdir",
    ):
        assert part in str(caught.value)


def test_folds_and_places_of_files_may_change(tmp_path):
    workdirs.save_config(tmp_path, config(data_dir="/here"))
    (tmp_path / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
    workdirs.check_config(tmp_path, config(data_dir="/there", folds=(1, 2)))


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
