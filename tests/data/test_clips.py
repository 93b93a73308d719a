"""Clips in folder data sets: their masks, their subjects, and every so many frames."""

import itertools

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import media
from nerve_jax.data.records import create_builder, prepare
from nerve_jax.data.splits import create_splits
from nerve_jax.data.ultrasound_nerve import layouts, reading
from nerve_jax.system.errors import InputError
from tests.conftest import REPO
from tests.samples import sweep, write_clip

SIZE = (24, 32)
SC_CLIPS = REPO.parent / "shared" / "data" / "sc-clips"
COUNT = 6


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


class Folder:
    """A folder data set of clips, written part by part."""

    def __init__(self, path, where="clips"):
        self.path, self.where = path, where
        (path / where).mkdir(parents=True)

    def add_clip(self, name="p01.mp4", count=COUNT, seed=0):
        path = self.path / self.where / name
        write_clip(path, sweep(count, SIZE, seed), codec="mpeg4")

    def add_masks(self, clip="p01", numbers=range(COUNT), name="{:05d}.png"):
        for number in numbers:
            mask = np.zeros(SIZE, np.uint8)
            mask[4 : 5 + number, 4:12] = 255
            save(self.path / "masks" / clip / name.format(number), mask)

    def write(self, name, text):
        (self.path / name).write_text(text)

    def list(self, stride=1):
        return layouts.list_folder(self.path, stride)

    def frames(self, stride=1):
        listing = self.list(stride)
        assert listing.problems == []
        return listing.splits["train"]

    def problem(self, stride=1):
        return "\n".join(self.list(stride).problems)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "set")


def create(folder, tmp_path, stride=1):
    return create_builder(
        "ultrasound_nerve/folder",
        manual_dir=str(folder.path),
        records_dir=str(tmp_path / "records"),
        frame_stride=stride,
    )


def load(folder, tmp_path, stride=1):
    builder = create(folder, tmp_path, stride)
    prepare(builder)
    return {r["frame"].decode(): r for r in builder.as_data_source("train")}


def test_records_are_the_frames_with_their_masks(tmp_path, folder):
    folder.add_clip()
    folder.add_masks()
    folder.add_clip("p02.avi", seed=1)  # without masks: unlabelled
    records = load(folder, tmp_path)
    frames = [f"{name}#{number}" for name in ("p01", "p02") for number in range(COUNT)]
    assert sorted(records) == sorted(frames)
    clip = media.describe(folder.path / "clips" / "p01.mp4")
    for number, grey in enumerate(media.read(clip)):
        record = records[f"p01#{number}"]
        np.testing.assert_array_equal(record["image"][..., 0], grey.values)
        assert record["mask"].sum() == 8 * (1 + number)
        assert record["clip"] == record["subject"] == b"p01"
        assert record["labelled"]
        assert not records[f"p02#{number}"]["labelled"]


@pytest.mark.parametrize("stride", [2, 4])
def test_a_stride_takes_images_and_masks_of_the_same_frames(tmp_path, folder, stride):
    folder.add_clip()
    folder.add_masks()
    every = load(folder, tmp_path)
    some = load(folder, tmp_path, stride)
    assert sorted(some) == [f"p01#{n}" for n in range(0, COUNT, stride)]
    for name, record in some.items():
        for part in ("image", "mask"):
            np.testing.assert_array_equal(record[part], every[name][part])


def test_masks_may_be_of_the_frames_that_a_stride_takes(folder):
    folder.add_clip()
    folder.add_masks(numbers=(0, 3))
    assert all(f.masks for f in folder.frames(3))
    assert "masks of 2 of 6 frames; none of 1, 2, 4, and 1 more" in folder.problem()
    assert "frame_stride=N" in folder.problem()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_stride_counts_in_each_clip_of_imported_pictures(tmp_path, stride):
    folder = Folder(tmp_path / "set", "images")
    rows = ["frame,subject,clip"]
    for clip, number in itertools.product("ab", range(5)):
        name = f"{clip}_{number:05d}"
        save(folder.path / "images" / f"{name}.png", sweep(1, SIZE)[0])
        rows.append(f"{name},s{clip},{clip}")
    save(folder.path / "images" / "still.png", sweep(1, SIZE)[0])
    folder.write("subjects.csv", "\n".join([*rows, "still,sa,"]))
    expected = [f"{clip}_{n:05d}" for clip in "ab" for n in range(0, 5, stride)]
    assert {f.frame for f in folder.frames(stride)} == {*expected, "still"}


def test_clips_that_a_table_unites_are_each_decoded_once(folder):
    for name in ("p01", "p02"):
        folder.add_clip(f"{name}.mp4")
        folder.add_masks(name, (0, 2, 4))
    rows = "p01.mp4,a,sweep\np02.mp4,a,sweep\n"
    folder.write("subjects.csv", f"frame,subject,clip\n{rows}")
    frames = folder.frames(2)
    assert [f.frame for f in frames] == [
        f"{name}#{n}" for name in ("p01", "p02") for n in (0, 2, 4)
    ]
    assert len(reading.part_by_file(frames)) == 2


def test_a_clip_is_decoded_once_to_check_and_once_to_write(
    tmp_path, folder, monkeypatch
):
    folder.add_clip()
    folder.add_masks()
    decoded = []

    def count(medium):
        decoded.append(medium.path.name)
        return read(medium)

    read = media.read
    monkeypatch.setattr(media, "read", count)
    assert len(load(folder, tmp_path, 2)) == 3
    assert decoded == ["p01.mp4"] * 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clips.csv", "clip,subject\nclips/p01.mp4,a\np02.avi,b\n"),
        ("clips.csv", "frames;clip;subject\n6;p01;a\n6;p02;b\n"),
        ("subjects.csv", "frame,subject\np01.mp4,a\np02,b\n"),
        (
            "subjects.csv",
            "frame,subject\n"
            + "".join(f"p0{c}#{n},{'ab'[c - 1]}\n" for c in (1, 2) for n in range(6)),
        ),
    ],
)
@pytest.mark.parametrize("stride", [1, 4])
def test_a_row_names_a_clip_or_each_of_its_frames(folder, name, text, stride):
    folder.add_clip()
    folder.add_clip("p02.avi")
    folder.write(name, text)
    subject_of = {f.frame: f.subject for f in folder.frames(stride)}
    numbers = range(0, COUNT, stride)
    assert subject_of == {f"p01#{n}": "a" for n in numbers} | {
        f"p02#{n}": "b" for n in numbers
    }


def test_a_clip_of_two_subjects_is_refused(folder):
    folder.add_clip()
    rows = [f"p01#{n},{'ab'[n > 3]}" for n in range(COUNT)]
    folder.write("subjects.csv", "\n".join(["frame,subject", *rows]))
    assert "line 6: clip 'p01' is of subject 'b', but of 'a'" in folder.problem()


def test_the_frames_of_a_clip_lie_on_one_side_of_every_fold(folder):
    for number in range(6):
        folder.add_clip(f"p{number}.mp4", count=4)
        folder.add_masks(f"p{number}", range(4))
    frames = folder.frames()
    clip_of = {f.frame: f.clip for f in frames}
    presence = np.arange(len(frames)) % 3 > 0
    folds = create_splits(
        list(clip_of), [f.subject for f in frames], presence, num_folds=3, seed=0
    )
    for fold in folds:
        sides = [{clip_of[frame] for frame in fold[side]} for side in ("train", "val")]
        assert all(sides)
        assert not set.intersection(*sides)


MISFITS = {
    "too few": (
        lambda f: f.add_masks(numbers=range(5)),
        "masks/p01: masks of 5 of 6 frames; none of 5. Add them",
    ),
    "too many": (
        lambda f: f.add_masks(numbers=range(8)),
        "does not have, e.g. 6, 7: its 6 frames are numbered 0 to 5. Name",
    ),
    "from 1": (
        lambda f: f.add_masks(numbers=range(1, 7)),
        "e.g. 6: its 6 frames are numbered 0 to 5. They seem to be numbered from 1.",
    ),
    "a number twice": (
        lambda f: (f.add_masks(), f.add_masks(name="m{}.png", numbers=[2])),
        "00002.png, m2.png are all masks of frame 2; keep one",
    ),
    "no number": (
        lambda f: (f.add_masks(), f.add_masks(name="nerve.png", numbers=[2])),
        "nerve.png: no number at the end of its name; name a mask by",
    ),
    "deeper": (
        lambda f: f.add_masks("p01/nerve"),
        "masks/p01: 6 frames in 1 deeper folder (nerve/ 6); put all into",
    ),
    "of no clip": (
        lambda f: (f.add_masks(), f.add_masks("p02")),
        "masks/p02: masks of a clip that is not in clips/; add it",
    ),
    "one for all": (
        lambda f: save(f.path / "masks" / "p01.png", np.zeros(SIZE, np.uint8)),
        "p01 is a clip; put its masks into",
    ),
    "clip and still": (
        lambda f: save(f.path / "clips" / "p01.png", sweep(1, SIZE)[0]),
        "clips/p01.png: they share one name",
    ),
    "two clips": (
        lambda f: f.add_clip("p01.avi"),
        "clips/p01.mp4: they share one name",
    ),
    "clip and folder": (
        lambda f: [
            save(f.path / "clips" / "p01" / f"{n}.png", sweep(1, SIZE)[0])
            for n in (1, 2)
        ],
        "clips/p01: they share one name",
    ),
    "two tables": (
        lambda f: [
            f.write("clips.csv", "clip,subject\np01,a\n"),
            f.write("subjects.csv", "frame,subject\np01,b\n"),
        ],
        "both subjects.csv and clips.csv; write all rows into subjects.csv",
    ),
    "empty clip": (
        lambda f: (f.path / "clips" / "p02.mp4").write_bytes(b""),
        "clips/p02.mp4: the file is empty",
    ),
    "masks among clips": (
        lambda f: [
            save(f.path / "clips" / "masks" / f"{n}.png", sweep(1, SIZE)[0])
            for n in (1, 2)
        ],
        "clips: 2 frames in 1 deeper folder (masks/ 2)",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_a_clip_is_named_with_its_mend(tmp_path, folder, name):
    change, text = MISFITS[name]
    folder.add_clip()
    change(folder)
    assert text in folder.problem()
    with pytest.raises(InputError, match="Nothing was written"):
        load(folder, tmp_path)
    assert not list((tmp_path / "records").rglob("*.array_record*"))


def test_masks_of_another_size_are_refused_by_frame(tmp_path, folder):
    folder.add_clip()
    folder.add_masks()
    save(folder.path / "masks" / "p01" / "00002.png", np.zeros((20, 32), np.uint8))
    with pytest.raises(
        InputError, match="00002.png: mask is 32x20 px, its image 32x24"
    ):
        load(folder, tmp_path)


def test_images_and_clips_are_not_both_read(folder):
    folder.add_clip()
    save(folder.path / "images" / "q.png", sweep(1, SIZE)[0])
    with pytest.raises(InputError, match="both images/ and clips/; put clips and"):
        folder.list()


def test_numbered_pictures_are_a_clip_under_their_own_numbers(tmp_path, folder):
    for number, values in enumerate(sweep(4, SIZE), 1):
        save(folder.path / "clips" / "p07" / f"f{number}.png", values)
    folder.add_masks("p07", range(1, 5), "f{}.png")
    records = load(folder, tmp_path)
    assert sorted(records) == [f"p07#{n}" for n in range(1, 5)]
    assert {r["clip"] for r in records.values()} == {b"p07"}
    assert [records[f"p07#{n}"]["mask"].sum() for n in (1, 4)] == [16, 40]


def test_records_are_named_after_content_and_stride(tmp_path, folder):
    folder.add_clip()
    folder.add_masks()

    def name(stride=1):
        return create(folder, tmp_path, stride).builder_config.name

    names = [name(), name(2), name(3)]
    assert len(set(names)) == 3
    assert [name(), name(2), name(3)] == names
    folder.add_clip(seed=5)
    assert name() not in names


@pytest.mark.slow
def test_the_open_clips_as_they_stand():
    if not SC_CLIPS.is_dir():
        pytest.skip(f"no copy of sc-clips at {SC_CLIPS}")
    listing = layouts.list_folder(SC_CLIPS, 10)
    assert listing.problems == []
    frames = listing.splits["train"]
    assert 700 < len(frames) < 760
    assert all(f.masks and f.clip and f.subject for f in frames)
    assert len({f.clip for f in frames}) == 40
    seen = [frame.frame for frame, _ in reading.read_frames(frames[:40])]
    assert seen == [f.frame for f in frames[:40]]
