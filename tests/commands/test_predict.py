import csv

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands import predict
from nerve_jax.data import frames_folder, rle
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.errors import InputError, RunError

SIZE = (24, 32)


def bright(images):
    """A model that takes bright pixels for nerve."""
    probs = (np.asarray(images) > 128).astype(np.float32)
    return probs, probs.max((1, 2))


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
            "rule": Rule(0.5),
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
    predict.write_submission(tmp_path / "s.csv", {"x": "8 1"}, masks)
    with pytest.raises(RunError, match="frame x does not decode"):
        predict.write_submission(tmp_path / "s.csv", {"x": "7 1"}, masks)


def test_run_lengths_may_be_longer_than_a_csv_field_usually_is(tmp_path):
    mask = np.zeros((400, 200), np.uint8)
    mask[::2] = 255
    Image.fromarray(mask).save(tmp_path / "x.png")
    runs = rle.encode(mask > 0)
    assert len(runs) > 2**17
    masks = {"x": tmp_path / "x.png"}
    predict.write_submission(tmp_path / "s.csv", {"x": runs}, masks)


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
