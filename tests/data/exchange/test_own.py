"""The project's own layout, read and written as other formats are."""

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from nerve_jax.data.exchange import own
from nerve_jax.data.exchange.formats import Format
from nerve_jax.data.exchange.pictures import Labelled
from nerve_jax.system.errors import InputError
from tests.data.exchange.making import check_round_trip, make_labelled, sets
from tests.samples import sweep, write_clip

MASK = np.eye(6, 9, dtype=bool)


@settings(deadline=None, max_examples=40)
@given(sets())
def test_what_is_written_is_read(pictures):
    check_round_trip(
        Format(own.read, lambda to, frames, _: own.write(to, frames)), *pictures
    )


def test_several_structures_have_a_folder_each(tmp_path):
    given = make_labelled(tmp_path, [((6, 9), {"nerve": MASK, "vein": ~MASK})])
    folder = tmp_path / "out"
    folder.mkdir()
    own.write(folder, given)
    for name, mask in given[0].masks.items():
        written = np.asarray(Image.open(folder / f"masks/{name}/p0_a.png"))
        assert np.array_equal(written, mask.astype(np.uint8) * 255)


def test_one_structure_has_no_folder_but_its_name(tmp_path):
    given = make_labelled(tmp_path, [((6, 9), {"vein": MASK})])
    folder = tmp_path / "out"
    folder.mkdir()
    own.write(folder, given)
    assert (folder / "masks/p0_a.png").is_file()
    assert (folder / "structures.csv").read_text() == "value,name\n255,vein\n"


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_clips_are_copied_and_their_masks_numbered(tmp_path, kind):
    frames = sweep(3, (32, 48))
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    if kind == "video":
        write_clip(source / "images/p1_c.mp4", frames)
    else:
        (source / "images/p1_c").mkdir()
        for number, values in enumerate(frames):
            Image.fromarray(values).save(source / f"images/p1_c/{number:03}.png")
    for number in range(3):
        mask = np.zeros((32, 48), np.uint8)
        mask[number, number + 2] = 255
        path = source / f"masks/p1_c/{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    given = list(own.read(source))
    assert [(one.name, one.number) for one in given] == [
        (f"p1_c#{n}", n) for n in range(3)
    ]
    assert all(one.masks["nerve"][n, n + 2] for n, one in enumerate(given))
    folder = tmp_path / "out"
    folder.mkdir()
    own.write(folder, given)
    files = {p.relative_to(source) for p in source.rglob("*") if p.is_file()}
    assert {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} == files
    for file in files:
        if file.parts[0] == "images":
            assert (folder / file).read_bytes() == (source / file).read_bytes()
    for found, one in zip(own.read(folder), given, strict=True):
        assert np.array_equal(found.masks["nerve"], one.masks["nerve"])


def test_what_is_own(tmp_path):
    assert not own.is_own(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks/nerve").mkdir(parents=True)
    assert not own.is_own(tmp_path)
    (tmp_path / "masks/nerve/a.png").write_bytes(b"")
    assert own.is_own(tmp_path)


def test_all_that_is_wrong_is_one_error(tmp_path):
    given = make_labelled(
        tmp_path, [((6, 9), {"nerve": MASK}), ((6, 9), {"nerve": MASK})]
    )
    folder = tmp_path / "out"
    folder.mkdir()
    own.write(folder, given)
    (folder / "masks/p0_a.png").write_bytes(b"no picture")
    Image.fromarray(MASK.T).save(folder / "masks/p1_a.png")
    with pytest.raises(InputError, match="2 problems"):
        own.read(folder)


def test_frames_without_masks_are_unlabelled(tmp_path):
    given = make_labelled(tmp_path, [((6, 9), {"nerve": MASK}), ((6, 9), {})])
    folder = tmp_path / "out"
    folder.mkdir()
    own.write(folder, given)
    found = list(own.read(folder))
    assert [set(one.masks) for one in found] == [{"nerve"}, set()]
    assert isinstance(found[0], Labelled)


def test_of_several_readers_the_first_who_gave_an_outline_is_taken(tmp_path):
    given = make_labelled(tmp_path, [((6, 9), {"nerve": MASK}), ((6, 9), {})])
    folder = tmp_path / "out"
    folder.mkdir()
    own.write(folder, given)
    (folder / "masks_reader2").mkdir()
    for one in given:
        mask = Image.fromarray(255 * (~MASK).astype(np.uint8))
        mask.save(folder / f"masks_reader2/{one.name}.png")
    source = own.open_folder(folder)
    assert (
        "readers reader1, reader2: outlines of reader1 are written"
        in source.remarks[-1]
    )
    first, second = source.frames
    assert np.array_equal(first.masks["nerve"], MASK)
    assert np.array_equal(second.masks["nerve"], ~MASK)
