"""Inputs as users bring them: each is read rightly, or refused with cause and mend.

One test per kind of input, from the files of a user to what a command says.
"""

import shutil
import unicodedata
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data.frames_folder import list_media
from nerve_jax.data.listing import describe_left_out
from nerve_jax.data.loading import load_split
from nerve_jax.system.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*name no subject")


@pytest.fixture
def load(tmp_path):
    """Return `load(folder, split, layout) -> Examples`, by way of records."""

    def load(folder, split="train", layout="folder"):
        return load_split(
            split,
            (24, 32),
            name=f"ultrasound_nerve/{layout}",
            records_dir=str(tmp_path / "records"),
            manual_dir=str(folder),
        )

    return load


@pytest.fixture
def refuse(load, tmp_path):
    """Return `refuse(folder) -> message`: 20 lines at most, and nothing is written.

    Nor is anything warned of before: the error is all that a user has to read.
    """

    def refuse(folder, **options) -> str:
        with warnings.catch_warnings(), pytest.raises(InputError) as caught:
            warnings.simplefilter("error", UserWarning)
            load(folder, **options)
        assert not (tmp_path / "records").exists()
        assert len(str(caught.value).splitlines()) <= 20
        return str(caught.value)

    return refuse


@pytest.fixture
def folder(write_folder, blob_frames):
    return write_folder(blob_frames(4, 3))


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_file_of_several_pages_is_refused(folder, refuse, part):
    pages = [Image.fromarray(np.full((40, 56), i, np.uint8)) for i in range(3)]
    (folder / part / "s0_1.png").unlink()
    path = folder / part / "s0_1.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    if part == "masks":
        assert f"{path}: cannot be decoded (several pages; save each" in refuse(folder)
    else:
        assert "s0_1.png: s0_1 is a clip; put its masks into" in refuse(folder)


def test_a_small_version_beside_the_picture_is_no_page(folder, load):
    path = folder / "images" / "s0_1.tif"
    image = Image.open(path.with_suffix(".png"))
    small = image.resize((14, 10))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    image.save(path, save_all=True, append_images=[small])
    path.with_suffix(".png").unlink()
    assert Image.open(path).n_frames == 2
    examples = load(folder)
    position = examples.frames.index("s0_1")
    np.testing.assert_array_equal(examples.original(position), np.asarray(image))


@pytest.mark.parametrize("name", ["Subjects.csv", "subjects.csv.txt", "subjects.xlsx"])
def test_a_table_of_people_by_another_name_is_named(folder, refuse, name):
    (folder / name).write_text("frame,subject\n")
    assert f"{folder / name}: is it the table of people?" in refuse(folder)


@pytest.mark.parametrize("wrong", ["table", "mask's name", "picture"])
def test_an_error_is_not_preceded_by_a_warning_that_it_explains(
    write_folder, blob_frames, refuse, wrong
):
    frames = dict(zip(("a_left", "b_left", "c_left"), blob_frames(3, 1).values()))
    folder = write_folder(frames)
    if wrong == "table":
        (folder / "Subjects.csv").write_text("frame,subject\n")
    elif wrong == "mask's name":
        (folder / "masks" / "a_left.png").rename(folder / "masks" / "a_left_mask.png")
    else:
        (folder / "images" / "a_left.png").write_bytes(b"broken")
    assert "frames cannot be used (1 problem)" in refuse(folder)


@pytest.mark.parametrize("wrong", [False, True])
def test_zips_are_read_beside_what_was_unpacked(kaggle_dir, load, refuse, wrong):
    for name in ("train", "test"):
        shutil.make_archive(str(kaggle_dir / name), "zip", kaggle_dir, name)
    shutil.rmtree(kaggle_dir / "test")
    table = (kaggle_dir / "train_masks.csv").read_text()
    (kaggle_dir / "train_masks.csv").unlink()
    with zipfile.ZipFile(kaggle_dir / "train_masks.csv.zip", "w") as archive:
        content = table.replace("1,1,", "1,1,1 1 ") if wrong else table
        archive.writestr("train_masks.csv", content)
    if wrong:
        message = refuse(kaggle_dir, layout="kaggle")
        said = (
            "1_1_mask.tif: differs from its row in train_masks.csv; download both again"
        )
        assert said in message
    else:
        assert len(load(kaggle_dir, layout="kaggle")) == 6
        assert len(load(kaggle_dir, "test", "kaggle")) == 3


@pytest.mark.parametrize("place", ["{}", "images/{}", "{}/images", "{}/week 1/scans"])
def test_predicting_folders_of_people_says_which_to_name(tmp_path, place):
    for person in ("p0", "p1"):
        folder = tmp_path / place.format(person)
        folder.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(np.zeros((8, 9), np.uint8)).save(folder / name)
    with pytest.raises(InputError) as caught:
        list_media(tmp_path)
    message = str(caught.value)
    assert "4 frames in 2 deeper folders (p0/ 2, p1/ 2). Name one of" in message
    assert "or put all frames into one folder, under names of their own" in message
    assert "left out" not in message
    named = tmp_path / ("images" if place.startswith("images") else "") / "p0"
    assert f"e.g. --input={named}, or" in message
    if "week" not in place:  # else the next error names the next folder
        assert len(list_media(named).media) == 2


@pytest.mark.parametrize("stray", [False, True])
def test_frames_in_folders_of_people_are_their_clips(folder, load, stray):
    for path in [*folder.glob("images/*"), *folder.glob("masks/*")]:
        person, name = path.name.split("_")
        (path.parent / person).mkdir(exist_ok=True)
        path.rename(path.parent / person / name)
        if stray and name == "0.png":
            shutil.copy(path.parent / person / name, path)
    examples = load(folder)
    assert len(examples) == 12 + 4 * stray
    assert set(examples.subjects) == {f"s{i}" for i in range(4)}
    assert set(examples.clips) - {""} == set(examples.subjects)
    assert examples.labelled.all()


def test_composed_and_decomposed_names_are_equal(folder, load):
    for part, form in (("images", "NFC"), ("masks", "NFD")):
        for path in (folder / part).iterdir():
            name = unicodedata.normalize(form, f"Zoë{path.name}")
            path.rename(path.with_name(name))
    examples = load(folder)
    assert examples.labelled.all()
    assert set(examples.subjects) == {f"Zoës{i}" for i in range(4)}


def test_a_pattern_of_names_is_named_once(folder, refuse):
    for path in (folder / "images").iterdir():
        path.rename(path.with_stem(f"{path.stem}_0000"))
    message = refuse(folder)
    assert "12 masks without an image" in message
    assert "frames end in _0000, masks do not" in message


@pytest.mark.parametrize(("values", "shown"), [((38,), "0, 38"), ((1, 2), "0, 1, 2")])
def test_other_labels_are_listed(folder, refuse, values, shown):
    for path in (folder / "masks").iterdir():
        labels = (np.asarray(Image.open(path)) > 0).astype(np.uint8) * values[-1]
        labels[:3, :3] = values[0]
        Image.fromarray(labels).save(path)
    message = refuse(folder)
    assert f"mask values {shown}; not [0, 1] or [0, 255]: save the" in message


def test_several_masks_of_a_frame_are_named(folder, refuse):
    for path in list((folder / "masks").iterdir()):
        shutil.copy(path, path.with_stem(f"{path.stem}_mask_1"))
        path.rename(path.with_stem(f"{path.stem}_mask"))
    message = refuse(folder)
    for end in ("_mask", "_mask_1"):
        assert f"masks end in {end}, frames do not" in message


def test_a_table_of_a_spreadsheet_is_read(folder, load):
    rows = [f"{p.stem};{p.stem[:2]};0,12;0,1" for p in folder.glob("images/*")]
    text = "\r\n".join(["Frame;Subject;spacing_y_mm;spacing_x_mm", *rows])
    (folder / "subjects.csv").write_bytes(text.encode("utf-16"))
    examples = load(folder)
    assert set(examples.subjects) == {"s0", "s1", "s2", "s3"}
    np.testing.assert_allclose(examples.spacing_mm, [[0.12, 0.1]] * 12, rtol=1e-6)


def test_what_predicting_leaves_out_is_counted(tmp_path):
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "1.png")
    for name in ("IM_0001", "a.mha", "b.MHA", "c.mp4", "d.nii.gz", "e.webp", "x/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = list_media(tmp_path)
    assert [medium.path.name for medium in listed.media] == ["1.png"]
    assert [name for name, _ in listed.errors] == ["c.mp4"]
    line = describe_left_out(listed.left_out)
    assert line == (
        "left out: 6 files (2 .mha, 1 .nii.gz, 1 .webp, 1 in x/, 1 without an ending)"
    )
    (tmp_path / "1.png").unlink()
    with pytest.raises(
        InputError, match=r"c.mp4: name the folder it lies in \(--input"
    ):
        list_media(tmp_path / "c.mp4")
    (tmp_path / "c.mp4").unlink()
    found = (
        r"no frames \(.png.*1 frame in 1 deeper folder.*Also left out: 5 files \(2 .mha"
    )
    with pytest.raises(InputError, match=found):
        list_media(tmp_path)
