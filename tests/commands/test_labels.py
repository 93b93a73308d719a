"""--mode=import --labels: labels of other programs in and out, by the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands import importing, labels
from nerve_jax.commands.request import Request
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.data.ultrasound_nerve.layouts import list_source
from nerve_jax.system.errors import InputError
from tests.data.media.making import region, speckle, write_dicom
from tests.samples import sweep, write_clip

REPO = Path(__file__).parents[2]
SIZE = (10, 14)


def bytes_of(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".json")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.fixture
def own_folder(tmp_path):
    """Three frames of the project's layout, the last unlabelled, and a table."""
    folder = tmp_path / "own"
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for name in ("p1_a", "p1_b", "p2_a"):
        values = rng.integers(0, 255, SIZE, np.uint8)
        Image.fromarray(values).save(folder / f"images/{name}.png")
    for name in ("p1_a", "p1_b"):
        mask = rng.random(SIZE) < (0.3 if name == "p1_a" else 0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"masks/{name}.png")
    (folder / "subjects.csv").write_text("frame,subject\np1_a,1\np1_b,1\np2_a,2\n")
    (folder / "imported.csv").write_text("source\n")
    return folder


def masks_of(folder, structure=""):
    paths = sorted((folder / "masks" / structure).rglob("*.png"))
    return {p.name: np.asarray(Image.open(p)).tolist() for p in paths}


@pytest.mark.parametrize("name", FORMATS)
def test_out_and_in_again(tmp_path, own_folder, name, capsys):
    labels.convert(own_folder, tmp_path / "other", name)
    labels.convert(tmp_path / "other", tmp_path / "back", name)
    assert masks_of(tmp_path / "back") == masks_of(own_folder)
    before, after = bytes_of(own_folder), bytes_of(tmp_path / "back")
    assert {n for n in before if "masks" not in n} == {
        n for n in after if "masks" not in n
    }
    for file in ("images/p1_a.png", "images/p2_a.png", "subjects.csv", "imported.csv"):
        assert before[file] == after[file]
    printed = capsys.readouterr().out
    assert "3 frames, 2 of them labelled: nerve" in printed
    assert f"--config.data.manual_dir={tmp_path / 'back'} " in printed
    assert "--config.data.structures='(\"nerve\",)'" in printed


@pytest.mark.parametrize("name", FORMATS)
def test_several_structures_go_out_and_in_again(tmp_path, own_folder, name, capsys):
    (own_folder / "masks").rename(own_folder / "nerve")
    (own_folder / "masks").mkdir()
    (own_folder / "nerve").rename(own_folder / "masks/nerve")
    (own_folder / "masks/vessel").mkdir()
    for number, path in enumerate(sorted((own_folder / "masks/nerve").iterdir())):
        free = np.asarray(Image.open(path)) == 0
        free[number:] = False
        mask = Image.fromarray(free.astype(np.uint8) * 255)
        mask.save(own_folder / "masks/vessel" / path.name)
    labels.convert(own_folder, tmp_path / "other", name)
    labels.convert(tmp_path / "other", tmp_path / "back", name)
    for structure in ("nerve", "vessel"):
        found, given = (masks_of(f, structure) for f in (tmp_path / "back", own_folder))
        assert found == given and len(given) == 2
    printed = capsys.readouterr().out
    assert '--config.data.structures=\'("nerve","vessel")\'' in printed


@pytest.mark.parametrize("name", FORMATS)
def test_frames_of_clips_become_pictures(tmp_path, name):
    folder = tmp_path / "own"
    (folder / "images").mkdir(parents=True)
    (folder / "masks/p1_c").mkdir(parents=True)
    write_clip(folder / "images/p1_c.mp4", sweep(3, (32, 48)))
    (folder / "subjects.csv").write_text(
        "frame,subject,spacing_y_mm,spacing_x_mm\np1_c,anna,0.25,0.25\n"
    )
    for number in range(3):
        mask = np.zeros((32, 48), np.uint8)
        mask[number, 5:20] = 255
        Image.fromarray(mask).save(folder / f"masks/p1_c/{number:05}.png")
    labels.convert(folder, tmp_path / "other", name)
    labels.convert(tmp_path / "other", tmp_path / "back", name)
    for number in range(3):
        mask = np.asarray(Image.open(tmp_path / f"back/masks/p1_c#{number}.png"))
        assert np.array_equal(np.argwhere(mask)[:, 0], [number] * 15)
        picture = np.asarray(Image.open(tmp_path / f"back/images/p1_c#{number}.png"))
        assert picture.shape == (32, 48) and picture.std() > 10
    listing = list_source("folder", tmp_path / "back")
    assert listing.problems == []
    known = [(f.subject, f.clip, *f.spacing_mm) for f in listing.splits["train"]]
    assert known == [("anna", "p1_c", 0.25, 0.25)] * 3


def test_nothing_is_left_where_something_is_wrong(tmp_path, own_folder):
    labels.convert(own_folder, tmp_path / "other", "coco")
    path = tmp_path / "other/annotations/instances_default.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "nowhere.png"
    path.write_text(json.dumps(content))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="nowhere.png"):
        labels.convert(tmp_path / "other", tmp_path / "back", "coco")
    assert set(tmp_path.rglob("*")) == before


def test_an_earlier_import_is_replaced_and_nobody_elses_files(tmp_path, own_folder):
    output = tmp_path / "other"
    labels.convert(own_folder, output, "coco")
    (own_folder / "masks/p1_b.png").unlink()
    (own_folder / "images/p1_b.png").unlink()
    (own_folder / "subjects.csv").unlink()
    labels.convert(own_folder, output, "coco")
    assert sorted(p.name for p in (output / "images").iterdir()) == [
        "p1_a.png",
        "p2_a.png",
    ]
    (output / "images/p1_a.png").write_text("mine")
    with pytest.raises(InputError, match="images/p1_a.png"):
        labels.convert(own_folder, output, "coco")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"--output=.*notes.txt"):
        labels.convert(own_folder, tmp_path / "full", "coco")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "voc"}, "--labels=voc is not one of: coco"),
        ({"labels": "coco", "keep_marked": True}, "--keep_marked does not go with"),
        ({"labels": "coco", "input": "nowhere"}, "no such folder"),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, own_folder, fields, message):
    folders = {"input": str(own_folder), "output": str(tmp_path / "out")}
    with pytest.raises(InputError, match=message):
        importing.run(Request("import", **(folders | fields)))


def test_by_the_command_line(tmp_path, own_folder):
    flags = [f"--input={own_folder}", f"--output={tmp_path / 'out'}", "--labels=coco"]
    command = [sys.executable, "main.py", "--mode=import", *flags]
    done = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 of them labelled" in done.stdout
    assert (tmp_path / "out/annotations/instances_default.json").is_file()


@pytest.mark.parametrize("name", FORMATS)
def test_dicom_files_become_pictures_of_their_region_without_a_header(tmp_path, name):
    folder = tmp_path / "own"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    frames = speckle(1)
    box = {"SequenceOfUltrasoundRegions": [region(8, 4, 47, 35)]}
    write_dicom(folder / "images/p1_a.dcm", frames, **box)
    mask = np.zeros(frames.shape[1:], np.uint8)
    mask[10:20, 12:30] = 255
    Image.fromarray(mask).save(folder / "masks/p1_a.png")
    labels.convert(folder, tmp_path / "other", name)
    written = b"".join(
        p.read_bytes() for p in tmp_path.rglob("other/**/*.*") if p.is_file()
    )
    assert b"Doelle" not in written and b"4711" not in written
    labels.convert(tmp_path / "other", tmp_path / "back", name)
    picture = np.asarray(Image.open(tmp_path / "back/images/p1_a.png"))
    assert np.array_equal(picture, frames[0, 4:36, 8:48])
    found = np.asarray(Image.open(tmp_path / "back/masks/p1_a.png"))
    assert np.array_equal(found, mask[4:36, 8:48])
    frame = list_source("folder", tmp_path / "back").splits["train"][0]
    assert frame.spacing_mm == (0.1, 0.1) and frame.subject not in ("", "p1")
