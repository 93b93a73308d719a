import csv

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands import predict, predicted
from nerve_jax.data import frames_folder, rle
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.errors import InputError, RunError
from tests.samples import sweep, write_clip

SIZE = (24, 32)


def bright(images):
    """A model that takes bright pixels for nerve."""
    probs = (np.asarray(images)[:, None] > 128).astype(np.float32)
    return probs, probs.max((2, 3))


@pytest.fixture(autouse=True)
def two_at_a_time(monkeypatch):
    monkeypatch.setattr(frames_folder, "FRAMES_IN_MEMORY", 2)


def run(folder, output, model=bright, **options):
    return predict.predict_folder(
        folder,
        output,
        model,
        **{
            "image_size": SIZE,
            "rules": {"nerve": Rule(0.5)},
            "submission": False,
        }
        | options,
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, size in (("2", (48, 64)), ("10", (60, 40)), ("1", (24, 32))):
        image = np.full(size, 20, np.uint8)
        if number != "1":
            image[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 230
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def test_masks_have_the_frames_own_size_and_the_table_says_what_is_in_them(
    tmp_path, folder
):
    assert run(folder, tmp_path / "out") == 3
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = {row["frame"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["1", "2", "10"]  # numbers by value
    for stem, row in rows.items():
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{stem}.png"))
        image = np.asarray(Image.open(folder / f"{stem}.png"))
        assert mask.shape == image.shape
        assert set(np.unique(mask)) <= {0, 255}
        assert int(row["area"]) == (mask == 255).sum()
        assert row["presence"] == str(int(mask.any()))
        truth = image > 128
        if truth.any():
            assert (
                2 * (truth & (mask > 0)).sum() / (truth.sum() + (mask > 0).sum()) > 0.9
            )
        overlay = np.asarray(Image.open(tmp_path / "out" / "overlays" / f"{stem}.png"))
        assert overlay.shape == (*image.shape, 3)
    assert rows["1"]["presence"] == "0"
    assert float(rows["1"]["probability"]) == 0.0


def test_the_submission_decodes_to_the_masks(tmp_path, folder):
    run(folder, tmp_path / "out", submission=True)
    with (tmp_path / "out" / "submission.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["img"] for row in rows] == ["1", "2", "10"]
    for row in rows:
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{row['img']}.png"))
        np.testing.assert_array_equal(rle.decode(row["pixels"], *mask.shape), mask > 0)
    assert rows[0]["pixels"] == ""


def test_a_submission_that_is_not_the_masks_on_disk_is_an_error(tmp_path):
    mask = np.zeros((3, 4), np.uint8)
    mask[1, 2] = 255
    Image.fromarray(mask).save(tmp_path / "x.png")
    masks = {"x": tmp_path / "x.png"}
    predicted.write_submission(tmp_path / "s.csv", {"x": "8 1"}, masks)
    with pytest.raises(RunError, match="frame x does not decode"):
        predicted.write_submission(tmp_path / "s.csv", {"x": "7 1"}, masks)


def test_run_lengths_may_be_longer_than_a_csv_field_usually_is(tmp_path):
    mask = np.zeros((400, 200), np.uint8)
    mask[::2] = 255
    Image.fromarray(mask).save(tmp_path / "x.png")
    runs = rle.encode(mask > 0)
    assert len(runs) > 2**17
    masks = {"x": tmp_path / "x.png"}
    predicted.write_submission(tmp_path / "s.csv", {"x": runs}, masks)


def test_a_bad_frame_keeps_no_good_one_from_being_done(tmp_path, folder):
    (folder / "3.png").write_bytes(b"broken")
    with pytest.raises(RunError, match=r"1 of 4[\s\S]*3\.png: cannot be decoded"):
        run(folder, tmp_path / "out")
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 3
    assert "3.png" in (tmp_path / "out" / "errors.csv").read_text()
    (folder / "3.png").unlink()
    run(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "errors.csv").exists()


def test_what_is_alike_is_said_once_and_listed_in_full(tmp_path, folder):
    for number in range(3, 8):
        (folder / f"{number}.tif").write_bytes(b"no picture")
    with pytest.raises(RunError) as caught:
        run(folder, tmp_path / "out")
    head, line, _ = str(caught.value).splitlines()
    assert head.startswith("5 of 8 files could not be read")
    assert line.startswith("  - 3.tif and 4 more: cannot be decoded (it is none of PNG")
    with (tmp_path / "out" / "errors.csv").open() as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            f"{number}.tif" for number in range(3, 8)
        ]


def test_no_bar_is_left_where_no_terminal_shows_it(tmp_path, folder, capsys):
    run(folder, tmp_path / "out")
    assert capsys.readouterr().out == ""


def test_large_frames_are_not_all_held_at_once(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(frames_folder, "FRAMES_IN_MEMORY", 64)
    monkeypatch.setattr(frames_folder, "PIXELS_IN_MEMORY", 3000)
    held = []

    def count(images):
        held.append(len(images))
        return bright(images)

    run(folder, tmp_path / "out", count)
    assert held == [2, 1]  # 24x32 and 48x64 px are 3,840; then 60x40


def test_folders_without_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        run(tmp_path / "absent", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no frames"):
        run(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_two_frames_that_would_share_a_mask_file_the_first_is_done(tmp_path, folder):
    Image.open(folder / "1.png").save(folder / "2.bmp")
    with pytest.raises(RunError, match="2.png: would share one mask file with 2.bmp"):
        run(folder, tmp_path / "out")
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 3


def add_clip(folder, name="clip.mp4", count=5):
    return write_clip(folder / name, sweep(count), codec="mpeg4")


def test_a_clip_may_have_the_name_of_a_picture_and_not_of_another_clip(
    tmp_path, folder
):
    add_clip(folder, "1.mp4", 3)  # beside 1.png
    assert run(folder, tmp_path / "out") == 3 + 3
    masks = tmp_path / "out" / "masks"
    assert (masks / "1.png").exists()
    assert len(list((masks / "1").iterdir())) == 3
    add_clip(folder, "1.avi", 3)
    with pytest.raises(RunError, match="1.mp4: would share one mask file with 1.avi"):
        run(folder, tmp_path / "out")


def read_rows(output, name="predictions.csv"):
    with (output / name).open() as file:
        return list(csv.DictReader(file))


def list_files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_pictures_and_clips_are_predicted_together(tmp_path, folder):
    add_clip(folder)
    add_clip(folder, "other.avi", 3)
    for number in (3, 5):
        values = sweep(1, (24, 32))[0]
        (folder / "numbered").mkdir(exist_ok=True)
        Image.fromarray(values).save(folder / "numbered" / f"f{number}.png")
    output = tmp_path / "out"
    assert run(folder, output, submission=True) == 3 + 5 + 3 + 2
    clips = [f"clip/{n:05d}.png" for n in range(5)]
    clips += [f"other/{n:05d}.png" for n in range(3)]
    clips += ["numbered/00003.png", "numbered/00005.png"]
    masks = {"1.png", "2.png", "10.png", *clips}
    for part in ("masks", "overlays"):
        assert list_files(output / part) == masks
    rows = read_rows(output)
    assert list(rows[0]) == list(predicted.COLUMNS)
    assert [row["frame"] for row in rows][:4] == ["1", "2", "10", "clip#0"]
    assert {(row["file"], row["frame_number"]) for row in rows} == {
        *((f"{n}.png", "") for n in (1, 2, 10)),
        *(("clip.mp4", str(n)) for n in range(5)),
        *(("other.avi", str(n)) for n in range(3)),
        *(("numbered", str(n)) for n in (3, 5)),
    }
    assert {row["scanner"] for row in rows} == {""}
    runs = {row["img"]: row["pixels"] for row in read_rows(output, "submission.csv")}
    assert list(runs) == [row["frame"] for row in rows]
    for row in rows:
        name, _, number = row["frame"].partition("#")
        path = f"{name}/{int(number):05d}.png" if number else f"{name}.png"
        mask = np.asarray(Image.open(output / "masks" / path))
        decoded = rle.decode(runs[row["frame"]], *mask.shape)
        np.testing.assert_array_equal(decoded, mask > 0)
        assert int(row["area"]) == (mask > 0).sum()


def test_masks_of_a_clip_are_those_of_its_frames_in_order(tmp_path, folder):
    frames = sweep(7)
    frames[frames != 230] //= 4
    write_clip(folder / "clip.avi", frames, codec="rawvideo", pixels="gray")
    run(folder, tmp_path / "out")
    for number, frame in enumerate(frames):
        path = tmp_path / "out" / "masks" / "clip" / f"{number:05d}.png"
        mask = np.asarray(Image.open(path)) > 0
        assert mask.shape == frame.shape
        truth = frame == 230
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.6


def make_bad(path, kind):
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "another":
        path.write_bytes(b"no clip at all, but called so")
    elif kind == "uneven":
        write_clip(path, sweep(9), rate=[70 * n + 60 * (n % 2) for n in range(9)])
    else:
        add_clip(path.parent, path.name, 20)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 3 // 4])


@pytest.mark.parametrize("kind", ["empty", "another", "uneven", "cut"])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_a_bad_clip_keeps_no_other_from_being_done(tmp_path, folder, kind, ending):
    if (kind, ending) == ("uneven", "avi"):
        pytest.skip("an avi file holds no times")
    add_clip(folder, "after.mp4")
    make_bad(folder / f"aa.{ending}", kind)
    with pytest.raises(RunError, match=rf"1 of 5 files [\s\S]*aa.{ending}: "):
        run(folder, tmp_path / "out")
    assert [row["file"] for row in read_rows(tmp_path / "out", "errors.csv")] == [
        f"aa.{ending}"
    ]
    assert len(read_rows(tmp_path / "out")) == 3 + 5
    assert not (tmp_path / "out" / "masks" / "aa").exists()


def test_a_clip_that_is_damaged_inside_keeps_no_other_from_being_done(tmp_path, folder):
    path = add_clip(folder, "aa.mp4", 20)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 600
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    add_clip(folder, "after.mp4")
    with pytest.raises(RunError, match="aa.mp4: "):
        run(folder, tmp_path / "out")
    rows = read_rows(tmp_path / "out")
    assert len([row for row in rows if row["file"] != "aa.mp4"]) == 3 + 5
    listed = {row["frame"] for row in rows}
    masks = list_files(tmp_path / "out" / "masks")
    assert {m for m in masks if m.startswith("aa/")} == {
        f"aa/{int(f[3:]):05d}.png" for f in listed if f.startswith("aa#")
    }


def test_a_second_command_removes_clips_that_the_first_has_left(tmp_path, folder):
    path, output = add_clip(folder), tmp_path / "out"
    run(folder, output, submission=True)
    add_clip(folder, "clip.mp4", 2)
    run(folder, output)
    assert {m for m in list_files(output / "masks") if "/" in m} == {
        "clip/00000.png",
        "clip/00001.png",
    }
    assert not (output / "submission.csv").exists()
    path.unlink()
    run(folder, output)
    for part in ("masks", "overlays"):
        assert list_files(output / part) == {"1.png", "2.png", "10.png"}
        assert not (output / part / "clip").exists()


@pytest.mark.parametrize(
    "name", ["masks/clip/notes.txt", "masks/clip/00001.png", "overlays/clip/mine.png"]
)
@pytest.mark.parametrize("before", [False, True])
def test_files_of_others_in_the_folder_of_a_clip_are_refused(
    tmp_path, folder, name, before
):
    add_clip(folder)
    output = tmp_path / "out"
    if before:
        run(folder, output)
    else:
        run(folder, output)
        (folder / "clip.mp4").unlink()
        run(folder, output)
        add_clip(folder)
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).write_text("mine")
    kept = {path: (output / path).read_bytes() for path in list_files(output)}
    with pytest.raises(InputError, match=f"would overwrite {name}"):
        run(folder, output)
    assert {p: (output / p).read_bytes() for p in list_files(output)} == kept


@pytest.mark.parametrize("name", ["notes.txt", "00001.png"])
def test_what_was_changed_in_the_folder_of_a_clip_that_is_gone_stays(
    tmp_path, folder, name
):
    path, output = add_clip(folder), tmp_path / "out"
    run(folder, output)
    path.unlink()
    (output / "masks" / "clip" / name).write_text("mine")  # a mask corrected by hand
    with pytest.raises(InputError, match=f"masks/clip/{name}, which no command"):
        run(folder, output)
    assert (output / "masks" / "clip" / name).read_text() == "mine"


def test_frames_of_a_clip_are_not_all_held_at_once(tmp_path, folder):
    add_clip(folder, count=9)
    held = []

    def count(images):
        held.append(len(images))
        return bright(images)

    run(folder, tmp_path / "out", count)
    assert max(held) == 2
