import pytest

from nerve_jax.runs import folder
from nerve_jax.system.errors import InputError


def test_a_fold_is_not_trained_on_with_other_frames(tmp_path):
    split = {"train": ["a", "b"], "val": ["c"]}
    folder.save_split(tmp_path, 0, split)
    folder.save_split(tmp_path, 0, split | {"val": ["d"]})  # nothing trained yet
    (tmp_path / "fold_0" / "checkpoints" / "5").mkdir(parents=True)
    folder.save_split(tmp_path, 0, split | {"val": ["d"]})
    with pytest.raises(InputError, match="fold 0 other frames"):
        folder.save_split(tmp_path, 0, split)


def test_finished_folds_are_those_with_a_summary(tmp_path):
    for fold in (0, 2, 10):
        folder.fold_dir(tmp_path, fold).mkdir()
    (tmp_path / "fold_0_old").mkdir()
    (tmp_path / "fold_0_old" / "summary.json").write_text("{}")
    for fold in (10, 2):
        (folder.fold_dir(tmp_path, fold) / "summary.json").write_text("{}")
    assert folder.finished_folds(tmp_path) == [2, 10]
