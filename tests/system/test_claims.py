import json

import pytest

from nerve_jax.system import claims
from nerve_jax.system.errors import InputError

FILES = ("table.csv", "fold_*")


def check(folder, names=FILES, **options):
    claims.check_folder(folder, names, flag="--workdir", **options)


def claim(folder, names=FILES, mode="train"):
    claims.claim(folder, mode, names, flag="--workdir")


def bytes_of(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["table.csv", "fold_0", "fold_x/notes.txt"])
def test_what_no_marker_lists_is_refused_by_name(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match=f"--workdir=.*{name.split('/')[0]}"):
        check(tmp_path)
    assert bytes_of(tmp_path) == before
    claim(tmp_path)  # as if the marker had been there before
    check(tmp_path)


def test_files_under_other_names_do_not_matter(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "table.csv.old").write_text("mine")
    check(tmp_path)
    check(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def test_what_another_mode_has_written_is_no_strangers(tmp_path):
    claim(tmp_path, mode="pretrain")
    (tmp_path / "table.csv").write_text("ours")
    check(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"table.csv": ""}}'])
def test_what_is_no_marker_lists_nothing(tmp_path, text):
    (tmp_path / ".nerve_jax.train.json").write_text(text)
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(InputError, match="table.csv"):
        check(tmp_path)


def test_what_was_sealed_and_then_changed_is_somebodys(tmp_path):
    claim(tmp_path)
    (tmp_path / "table.csv").write_text("ours")
    claims.seal(tmp_path, "train")
    check(tmp_path)
    (tmp_path / "table.csv").write_text("corrected by hand")
    with pytest.raises(InputError, match=r"table.csv.*changed"):
        check(tmp_path)


def test_a_folder_of_its_own_is_new_or_empty(tmp_path):
    names = ("masks/a.png",)
    (tmp_path / ".hidden").write_text("")
    claims.check_alone(tmp_path, "predict", names, flag="--output")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"--output=.*notes.txt.*empty folder"):
        claims.check_alone(tmp_path, "predict", names, flag="--output")
    claim(tmp_path, names, "predict")
    claims.check_alone(tmp_path, "predict", names, flag="--output")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "other.png").write_text("mine")  # under any name
    with pytest.raises(InputError, match=r"masks/other.png"):
        claims.check_alone(tmp_path, "predict", names, flag="--output")


def test_own_files_are_removed_and_no_others(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path.parent / "outside.txt").write_text("mine")
    for name in ("masks/a.png", "masks/b.png", "notes.txt"):
        (tmp_path / name).write_text("")
    claim(tmp_path, ("masks/a.png", "../outside.txt", "masks/c.png"), "predict")
    claims.remove_own(tmp_path, "predict")
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {".nerve_jax.predict.json", "b.png", "notes.txt"}
    assert (tmp_path.parent / "outside.txt").exists()


@pytest.mark.parametrize("inside", ["file", "file/below", "file/below/it"])
def test_where_nothing_can_be_written_the_flag_is_named(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="--workdir=.*cannot be written"):
        check(tmp_path / inside)
    with pytest.raises(InputError, match="--workdir=.*cannot be written"):
        claim(tmp_path / inside)


def test_many_are_counted(tmp_path):
    for number in range(30):
        (tmp_path / f"fold_{number:02}").mkdir()
    with pytest.raises(InputError, match="fold_07 and 22 more"):
        check(tmp_path)


def test_a_marker_says_who_wrote_what(tmp_path):
    claim(tmp_path)
    content = json.loads((tmp_path / ".nerve_jax.train.json").read_text())
    assert content == {
        "program": "nerve_jax",
        "mode": "train",
        "files": {"fold_*": "", "table.csv": ""},
    }


def test_folders_are_whole_however_deep(tmp_path):
    names = ("masks/nerve/clip/00000.png", "masks/nerve/a.png")
    for name in (*names, "masks/nerve/clip/00001.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    claim(tmp_path, names, "import")
    with pytest.raises(
        InputError, match=r"overwrite masks/nerve/clip/00001.png, which"
    ):
        check(tmp_path, names)
    (tmp_path / "masks/nerve/clip/00001.png").unlink()
    check(tmp_path, names)
    claims.remove_own(tmp_path, "import")
    assert not (tmp_path / "masks").exists()


def test_what_a_command_would_remove_must_be_as_it_was_left(tmp_path):
    """Though it would write nothing of that name any more."""
    claim(tmp_path, ("labels/a.png", "masks/a.png"), "predict")
    for name in ("labels", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_text("ours")
    claims.seal(tmp_path, "predict")
    claims.check_alone(tmp_path, "predict", ("masks/a.png",), flag="--output")
    (tmp_path / "labels" / "a.png").write_text("corrected by hand")
    with pytest.raises(InputError, match="labels/a.png"):
        claims.check_alone(tmp_path, "predict", ("masks/a.png",), flag="--output")
