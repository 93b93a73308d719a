"""What a folder of a user's own holds: read, left out and counted, or refused in words."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import listing
from nerve_jax.data.loading import load_split
from nerve_jax.data.ultrasound_nerve import checking, layouts, sources
from nerve_jax.system.errors import InputError, raise_if_any

pytestmark = pytest.mark.filterwarnings("ignore:.*name no subject")


@pytest.fixture
def folder(write_folder, blob_frames):
    return write_folder(blob_frames(3, 2))


def refuse(folder: Path, layout="folder") -> str:
    """The refusal of a folder, which names and tables alone must cause."""
    with pytest.raises(InputError) as caught:
        listed = layouts.LAYOUTS[layout](folder)
        raise_if_any(listed.problems, "frames", "mend")
    message = str(caught.value)
    assert str(folder) in message
    assert message.count("\n") < 21
    return message


def list_plainly(folder: Path, layout="folder") -> sources.Listing:
    """What is listed of a folder in which nothing is wrong."""
    listed = layouts.LAYOUTS[layout](folder)
    assert listed.problems == []
    return listed


def save(path: Path, value=0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 56), value, np.uint8)).save(path)


def move_all(folder: Path, part: str, new_name) -> None:
    """Rename every file of a part; `new_name` makes a path of a stem."""
    for path in sorted((folder / part).iterdir()):
        target = folder / part / f"{new_name(path.stem)}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.dcm", ".dcm"),
        ("A.DCM", ".dcm"),
        ("a.nii.gz", ".nii.gz"),
        ("a.tar.gz", ".tar.gz"),
        ("clip.mp4", ".mp4"),
        ("IM_0001", "without an ending"),
        ("1.2.840.113619", "without an ending"),
        ("a.b.npy", ".npy"),
        ("x.", "without an ending"),
    ],
)
def test_kinds_are_endings(name, kind):
    assert listing.name_kind(Path(name)) == kind


def test_what_is_left_out_is_counted_by_kind(folder):
    for name in ("x.mha", "y.mha", "IM_0001", "z.nrrd", "old.zip", "s0_0.txt"):
        (folder / "images" / name).write_bytes(b"x")
    for name in ("notes.docx", "stray.png", "more.zip"):
        (folder / name).write_bytes(b"x")
    save(folder / "exports" / "deep" / "1.png")
    (folder / "exports" / "clip.avi").write_bytes(b"x")
    assert list_plainly(folder).left_out == {
        ".mha": 2,
        "without an ending": 1,
        ".nrrd": 1,
        ".zip": 1,
        ".txt": 1,
        ".docx beside images/": 1,
        ".png beside images/": 1,
        ".zip beside images/": 1,
        "in exports/": 2,
    }
    line = listing.describe_left_out(list_plainly(folder).left_out)
    assert line.startswith("left out: 11 files (2 .mha, 2 in exports/, 1 ")
    assert line.endswith("1 of other kinds)")
    assert listing.describe_left_out({}) == ""


def test_litter_and_documents_are_passed_over(folder):
    before = list_plainly(folder)
    for name in (
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "~$subjects.xlsx",
        "._s0_0.png",
    ):
        for part in ("", "images", "masks"):
            (folder / part / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    save(folder / "__MACOSX" / "._1.png")
    (folder / "README.md").write_text("of whom and by whom")
    assert list_plainly(folder) == before
    assert not before.left_out


def test_every_load_says_what_was_read(folder, tmp_path, capsys):
    (folder / "images" / "x.mha").write_bytes(b"x")
    (folder / "masks" / "s0_0.png").unlink()
    source = {"name": "ultrasound_nerve/folder", "records_dir": str(tmp_path / "r")}
    said = []
    for manual_dir in (str(folder), str(folder), ""):  # the last: from records alone
        load_split("train", (24, 32), manual_dir=manual_dir, **source)
        said.append(capsys.readouterr().out.splitlines()[-2:])
    assert said[0][0].endswith("split train: 6 frames (5 labelled) of 3 people")
    assert said[0][1] == "  read 11 files (5 of them masks); left out: 1 file (1 .mha)"
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize(
    ("of_frame", "of_mask", "words"),
    [
        ("{}_0000", "{}", "frames end in _0000, masks do not"),
        ("{}", "{}_mask", "masks end in _mask, frames do not"),
        ("{}", "mask_{}", "masks begin with mask_, frames do not"),
        ("{}_img", "{}_seg", "frames end in img, masks end in seg"),
        ("img_{}", "mask_{}", "frames begin with img, masks begin with mask"),
        ("S{}", "s{}", "names differ in capitals, blanks or zeros"),
        ("{}", "0{}", "names differ in capitals, blanks or zeros"),
    ],
)
def test_patterns_of_names_that_do_not_pair_are_summed_up(
    write_folder, blob_frames, of_frame, of_mask, words
):
    frames = blob_frames(12, 3, size=(8, 8)).values()
    folder = write_folder({f"{i // 3 + 1}_{i % 3}": f for i, f in enumerate(frames)})
    move_all(folder, "images", of_frame.format)
    move_all(folder, "masks", of_mask.format)
    message = refuse(folder)
    assert "36 masks without an image of the same name, e.g. " in message
    assert words in message
    assert message.count("\n") < 5


def test_several_masks_of_a_frame_are_named(folder):
    move_all(folder, "masks", "{}_mask".format)
    for stem in ("s0_0", "s1_1"):
        save(folder / "masks" / f"{stem}_mask_1.png")
    message = refuse(folder)
    assert "6 masks without" in message
    assert "masks end in _mask, frames do not" in message
    assert "2 masks without" in message
    assert "masks end in _mask_1, frames do not" in message
    assert "unite several" in message


def test_masks_among_the_frames_are_no_frames(folder):
    for path in (folder / "masks").iterdir():
        path.rename(folder / "images" / f"{path.stem}_mask.png")
    assert "6 files named as masks of other frames there" in refuse(folder)


@pytest.mark.parametrize("stray", [False, True])
def test_a_folder_per_person_is_counted_and_refused(folder, stray):
    for part in ("images", "masks"):
        move_all(folder, part, lambda stem: stem.replace("_", "/x") + "y")
        if stray:
            save(folder / part / "s0_0.png")
    message = refuse(folder)
    for part in ("images", "masks"):
        found = "6 frames in 3 deeper folders (s0/ 2, s1/ 2, s2/ 2)"
        assert f"{folder / part}: {found}" in message
    assert "PERSON_FRAME" in message


@pytest.mark.parametrize(
    "name", ["mask", "Masks", "MASKS", "labels", "maskss", "labelsTr", "ground_truth"]
)
def test_masks_under_another_name_are_not_missing(folder, name):
    (folder / "masks").rename(folder / name)
    assert f"no masks/ there, but {name}/;" in refuse(folder)
    shutil.make_archive(str(folder / "masks"), "zip", folder / name)
    shutil.rmtree(folder / name)
    assert "no masks/ there, but masks.zip;" in refuse(folder)
    (folder / "masks.zip").unlink()
    listed = list_plainly(folder)
    assert listed.notes == [f"no masks in {folder / 'masks'}: frames are unlabelled"]


@pytest.mark.parametrize("ending", ["webp", "nii.gz", "npy", "json"])
def test_a_mask_or_frame_of_a_kind_that_is_not_read_is_refused(folder, ending):
    for part in ("masks", "images"):
        moved = folder / part / f"s0_1.{ending}"
        (folder / part / "s0_1.png").rename(moved)
        message = refuse(folder)
        assert f"{moved}: of a kind that is not read; save it as PNG" in message
        moved.rename(folder / part / "s0_1.png")


def test_why_images_is_not_there(folder, tmp_path):
    inner, file = folder / "images", folder / "images" / "s0_0.png"
    assert "a file, not the folder that holds images/" in refuse(file)
    assert "but 6 frames in the folder itself" in refuse(inner)
    assert "nor that folder itself" in refuse(tmp_path / "absent")
    (tmp_path / "outer").mkdir()
    assert "it is empty" in refuse(tmp_path / "outer")
    shutil.copytree(folder, tmp_path / "outer" / "set")
    assert "there is one in set" in refuse(tmp_path / "outer")
    for name in ("image", "Images", "imgs", "frames", "imagesTr"):
        inner = inner.rename(folder / name)
        assert f"is it {name}/?" in refuse(folder)
    shutil.make_archive(str(folder / "images"), "zip", inner)
    shutil.rmtree(inner)
    assert "is it images.zip?" in refuse(folder)


def test_no_frames_among_other_files(folder):
    for path in (folder / "images").iterdir():
        path.rename(path.with_suffix(".webp"))
    shutil.rmtree(folder / "masks")
    assert "there; left out: 6 files (6 .webp). Save frames as PNG" in refuse(folder)


@pytest.mark.parametrize(
    "name",
    [
        "Subjects.csv",
        "SUBJECTS.CSV",
        "subjects.csv.txt",
        "subject.csv",
        "subjects.xlsx",
        "subjects.tsv",
        "subjects",
        "subjects (1).csv",
        "patients.csv",
        "participants.tsv",
        "images/subjects.csv",
    ],
)
def test_a_table_of_people_under_another_name_is_refused(folder, name):
    (folder / name).write_text("frame,subject\n")
    message = refuse(folder)
    assert f"{folder / name}: is it the table of people?" in message
    (folder / "subjects.csv").write_text(
        "frame,subject\n" + "".join(f"s{i // 2}_{i % 2},p{i // 2}\n" for i in range(6))
    )
    assert sum(list_plainly(folder).left_out.values()) == 1  # with the right one beside


def test_names_of_a_mac_pair_with_those_of_others(folder):
    rows = ["frame,subject"]
    for part, form in (("images", "\u00fc"), ("masks", "u\u0308")):
        move_all(folder, part, lambda stem, form=form: stem.replace("s", form))
    rows += [
        f"u\u0308{i // 2}_{i % 2}.png,J\u00fcrgen u\u0308{i // 2}" for i in range(6)
    ]
    listed = list_plainly(folder).splits["train"]
    assert all(f.masks for f in listed)
    assert {f.subject for f in listed} == {"\u00fc0", "\u00fc1", "\u00fc2"}
    (folder / "subjects.csv").write_text("\n".join(rows))
    named = {f.subject for f in list_plainly(folder).splits["train"]}
    assert named == {f"J\u00fcrgen \u00fc{i}" for i in range(3)}
    save(folder / "images" / "u\u03080_0.png")
    assert "its name stands for two files" in refuse(folder)


def test_names_of_one_person_in_two_spellings_are_refused(write_folder, blob_frames):
    frames = dict(zip(("p7_0", "p007_1", "q1_0", "q1_1"), blob_frames(2, 2).values()))
    (problem,) = layouts.list_folder(write_folder(frames)).problems
    assert problem.startswith("subjects 'p007' and 'p7' look like one person")


def test_names_of_which_no_two_share_a_person_draw_a_warning(write_folder, blob_frames):
    frames = {f"scan{i}_left": f for i, f in enumerate(blob_frames(2, 2).values())}
    (warning,) = layouts.list_folder(write_folder(frames)).warnings
    assert warning.startswith("4 of 4 frames name no subject that others share")


def test_frames_with_people_draw_no_warning(folder, recwarn):
    assert list_plainly(folder).warnings == []
    assert not recwarn.list


def test_the_open_set_counts_what_lies_beside(tmp_path, folder):
    root = tmp_path / "open"
    for part in (root, root / "test"):
        shutil.copytree(folder, part, dirs_exist_ok=True)
    (root / "LICENSE").write_text("CC-BY")
    (root / "test" / "images" / "x.mha").write_bytes(b"x")
    save(root / "test" / "extra" / "1.png")
    assert list_plainly(root, "usgra").left_out == {".mha": 1, "in extra/": 1}
    (root / "test" / "masks").rename(root / "test" / "Masks")
    assert "no masks/ there, but Masks/;" in refuse(root, "usgra")


def zip_up(path: Path, folder: Path, names) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(folder / name, name)


def test_kaggle_half_unpacked_is_read_together(kaggle_dir):
    whole = list_plainly(kaggle_dir, "kaggle")
    before = checking.fingerprint(whole.splits)
    names = sorted(
        p.relative_to(kaggle_dir).as_posix() for p in kaggle_dir.rglob("*.*")
    )
    train = [n for n in names if n.startswith("train/")]
    zip_up(kaggle_dir / "train.zip", kaggle_dir, train)
    zip_up(kaggle_dir / "test.zip", kaggle_dir, [n for n in names if n[:5] == "test/"])
    zip_up(kaggle_dir / "train_masks.csv.zip", kaggle_dir, ["train_masks.csv"])
    shutil.rmtree(kaggle_dir / "test")
    (kaggle_dir / "train_masks.csv").unlink()
    for name in train[:5]:  # unpacking broke off
        (kaggle_dir / name).unlink()
    again = list_plainly(kaggle_dir, "kaggle")
    assert checking.fingerprint(again.splits) == before
    assert all(f.runs is not None for f in again.splits["train"])
    assert not again.left_out


def test_kaggle_counts_and_refuses_what_it_does_not_read(kaggle_dir):
    (kaggle_dir / "train" / "9_1.dcm").write_bytes(b"x")
    (kaggle_dir / "more.7z").write_bytes(b"x")
    save(kaggle_dir / "pictures" / "a.png")
    (kaggle_dir / "sample_submission.csv").write_text("img,pixels\n")
    (kaggle_dir / "train" / "Thumbs.db").write_bytes(b"x")
    left_out = list_plainly(kaggle_dir, "kaggle").left_out
    assert left_out == {".dcm": 1, ".7z": 1, ".png": 1}
    save(kaggle_dir / "train" / "12" / "12_1.tif")
    assert "1 frame in folders below train/" in refuse(kaggle_dir, "kaggle")
    shutil.rmtree(kaggle_dir / "train" / "12")
    (kaggle_dir / "train_masks.csv").rename(kaggle_dir / "train_masks.csv.txt")
    assert "is it the table of masks?" in refuse(kaggle_dir, "kaggle")
    (kaggle_dir / "train_masks.csv.txt").unlink()
    for path in (kaggle_dir / "train").glob("*_mask.tif"):
        path.unlink()
    notes = list_plainly(kaggle_dir, "kaggle").notes
    assert notes == ["no *_mask files in train/: frames are unlabelled"]
    shutil.rmtree(kaggle_dir / "test")
    assert list_plainly(kaggle_dir, "kaggle").notes[0] == "no test/*.tif"
