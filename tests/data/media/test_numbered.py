import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import media
from nerve_jax.data.media.numbered import list_numbered, read_number
from tests.samples import sweep


def write(folder, names, size=(12, 16)):
    folder.mkdir(exist_ok=True)
    for name, values in zip(names, sweep(len(names), size), strict=True):
        Image.fromarray(values).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["00000.png", "00001.png", "00002.png"], [0, 1, 2]),
        (["1.png", "2.png", "10.png"], [1, 2, 10]),  # counted from 1, with gaps
        (["01.png", "02.png"], [1, 2]),
        (["frame_7.jpg", "frame_08.tif"], [7, 8]),
        (["2024-01-05 IMG0001.bmp", "2024-01-05 IMG0002.bmp"], [1, 2]),
    ],
)
def test_pictures_named_by_a_number_are_a_clip(tmp_path, names, numbers):
    folder = write(tmp_path / "clip", names)
    (folder / "Thumbs.db").write_bytes(b"litter")
    (folder / "notes.txt").write_text("any")
    medium = media.describe(folder)
    assert medium.kind == "folder"
    assert medium.is_clip
    assert list(medium.frame_numbers) == numbers
    shown = [grey.values for grey in media.read(medium)]
    for path, values in zip(list_numbered(folder).values(), shown, strict=True):
        np.testing.assert_array_equal(values, np.asarray(Image.open(path)))
    assert [colour.shape for colour in media.read_colour(medium)] == [
        (12, 16, 3) for _ in numbers
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["1.png"],
        ["1.png", "2.png", "title.png"],
        ["a1.png", "b2.png"],
        ["1.png", "01.png"],
        ["1.png", "1.bmp"],
        ["p01_a.png", "p02_b.png"],
    ],
)
def test_other_folders_are_no_clip(tmp_path, names):
    folder = write(tmp_path / "clip", names)
    assert list_numbered(folder) == {}
    with pytest.raises(ValueError, match="not of pictures named by a number"):
        media.describe(folder)


@pytest.mark.parametrize("name", ["masks", "Labels"])
def test_a_folder_of_masks_is_no_clip(tmp_path, name):
    assert list_numbered(write(tmp_path / name, ["1.png", "2.png"])) == {}


def test_a_folder_with_another_inside_is_no_clip(tmp_path):
    folder = write(tmp_path / "clip", ["1.png", "2.png"])
    write(folder / "inner", ["1.png"])
    assert list_numbered(folder) == {}


def test_pictures_of_two_sizes_are_refused_by_name(tmp_path):
    folder = write(tmp_path / "clip", ["1.png", "2.png"])
    write(folder, ["3.png"], (10, 16))
    for read in (media.read, media.read_colour):
        with pytest.raises(ValueError, match="two sizes: .*3.png"):
            list(read(media.describe(folder)))


def test_16_bits_are_kept(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in (1, 2):
        values = np.full((6, 8), 500 * number, np.uint16)
        Image.fromarray(values).save(folder / f"{number}.png")
    medium = media.describe(folder)
    assert media.read_brightest(medium) == 1000
    assert [grey.values.max() for grey in media.read(medium)] == [500, 1000]


def test_numbers_at_the_end_of_a_name():
    assert read_number("frame_0012") == 12
    assert read_number("12a") is None
    assert read_number("") is None
    assert read_number("frame٣") is None  # digits of other scripts sort otherwise
