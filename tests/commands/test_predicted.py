"""Several structures: their masks, label maps, overlays and rows."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nerve_jax.commands import predict, predicted
from nerve_jax.data import rle
from nerve_jax.data.loading import load_split
from nerve_jax.data.outlines import Wanted
from nerve_jax.reports.pictures import STRUCTURE_COLOURS
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.errors import InputError
from tests.samples import sweep, write_clip

SIZE = (24, 32)
BOTH = ("nerve", "vessel")
TISSUE, NERVE, VESSEL, SHARED = 20, 230, 130, 190


def see(images, structures=BOTH):
    """A model: nerve is brighter than 160, vessel between 100 and 210."""
    of = {"nerve": images > 160, "vessel": (images > 100) & (images < 210)}
    probs = np.stack([of[name] for name in structures], 1).astype(np.float32)
    return probs, probs.max((2, 3))


def run(folder, output, structures=BOTH, model=see, **options):
    return predict.predict_folder(
        folder,
        output,
        lambda images: model(images, structures),
        image_size=SIZE,
        rules=dict.fromkeys(structures, Rule(0.5)),
        submission=options.pop("submission", False),
        **options,
    )


def draw(nerve=True, vessel=True, shared=False):
    image = np.full(SIZE, TISSUE, np.uint8)
    image[4:10, 4:12] = NERVE if nerve else TISSUE
    image[12:20, 16:26] = VESSEL if vessel else TISSUE
    image[14:16, 4:8] = SHARED if shared else TISSUE
    return image


def save(folder, **images):
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def folder(tmp_path):
    """Frames with both, one, neither, and with overlap; one is called as a structure is."""
    frames = {"a_1": draw(), "a_2": draw(vessel=False), "b_1": draw(False, False)}
    return save(tmp_path / "in", **frames, nerve=draw(), b_2=draw(shared=True))


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def read(path):
    return np.asarray(Image.open(path))


def list_files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_each_structure_has_its_masks_and_its_rows(tmp_path, folder):
    output = tmp_path / "out"
    assert run(folder, output, submission=True) == 5
    rows = read_rows(output / "predictions.csv")
    assert list(rows[0]) == list(predicted.COLUMNS)
    frames = ["a_1", "a_2", "b_1", "b_2", "nerve"]
    assert [(row["frame"], row["structure"]) for row in rows] == [
        (frame, structure) for frame in frames for structure in BOTH
    ]
    for row in rows:
        image = read(folder / f"{row['frame']}.png")
        truth = dict(zip(BOTH, see(image[None])[0][0] > 0, strict=True))
        mask = read(output / "masks" / row["structure"] / f"{row['frame']}.png")
        np.testing.assert_array_equal(mask, 255 * truth[row["structure"]])
        assert int(row["area"]) == (mask > 0).sum()
        assert row["presence"] == str(int(mask.any()))
    for row in read_rows(output / "submission.csv"):
        mask = read(output / "masks" / "nerve" / f"{row['img']}.png")
        np.testing.assert_array_equal(rle.decode(row["pixels"], *SIZE), mask > 0)


def test_each_structure_is_decided_by_its_own_rule(tmp_path, folder):
    def unsure(images, structures):
        probs, presence = see(images, structures)
        return probs * np.float32(0.6), presence

    predict.predict_folder(
        folder,
        tmp_path / "out",
        lambda images: unsure(images, BOTH),
        image_size=SIZE,
        rules={"nerve": Rule(0.5), "vessel": Rule(0.7)},
        submission=False,
    )
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    assert {r["presence"] for r in rows if r["structure"] == "vessel"} == {"0"}
    assert {r["presence"] for r in rows if r["structure"] == "nerve"} == {"0", "1"}


def test_frames_without_overlap_have_a_label_map(tmp_path, folder, capsys):
    output = tmp_path / "out"
    run(folder, output)
    assert "label maps of 4 frames; masks of 1 other frame overlap" in (
        capsys.readouterr().out
    )
    names = {"a_1.png", "a_2.png", "b_1.png", "nerve.png"}
    assert list_files(output / "labels") == names
    assert (output / "structures.csv").read_text() == "value,name\n1,nerve\n2,vessel\n"
    label = read(output / "labels" / "a_1.png")
    assert label.dtype == np.uint8
    image = read(folder / "a_1.png")
    np.testing.assert_array_equal(label, (image == NERVE) + 2 * (image == VESSEL))


@pytest.mark.parametrize("kind", ["label maps", "folders of masks"])
def test_what_is_written_is_read_as_a_data_set(tmp_path, folder, kind):
    """Label maps as masks/ of a set; or the output folder itself with images/ in it."""
    (folder / "b_2.png").unlink()
    (folder / "nerve.png").rename(folder / "b_3.png")
    output = tmp_path / "out"
    run(folder, output)
    copied = shutil.copytree(output, tmp_path / "set")
    shutil.copytree(folder, copied / "images")
    if kind == "label maps":
        shutil.rmtree(copied / "masks")
        (copied / "labels").rename(copied / "masks")
    examples = load_split(
        "train",
        SIZE,
        Wanted(BOTH),
        name="ultrasound_nerve/folder",
        manual_dir=str(copied),
        records_dir=str(tmp_path / "records"),
    )
    assert examples.frames == ("a_1", "a_2", "b_1", "b_3")
    for name in BOTH:
        own = examples.of(name)
        assert own.labelled.all()
        for place, frame in enumerate(own.frames):
            mask = read(output / "masks" / name / f"{frame}.png") > 0
            np.testing.assert_array_equal(own.truth(place), mask)


def test_overlays_show_each_structure_in_its_colour_above_a_legend(tmp_path, folder):
    output = tmp_path / "out"
    run(folder, output)
    drawn = read(output / "overlays" / "a_1.png")
    assert drawn.shape[1:] == (SIZE[1], 3)
    assert drawn.shape[0] > SIZE[0]
    top, legend = drawn[: SIZE[0]], drawn[SIZE[0] :]
    np.testing.assert_array_equal(top[4, 4], STRUCTURE_COLOURS[0])
    np.testing.assert_array_equal(top[12, 16], STRUCTURE_COLOURS[1])
    np.testing.assert_array_equal(top[6, 6], [NERVE] * 3)
    for colour in STRUCTURE_COLOURS[:2]:
        assert (legend == colour).all(-1).any()


def test_a_run_of_one_structure_writes_what_it_always_has(tmp_path, folder):
    output = tmp_path / "out"
    assert run(folder, output, ("vessel",)) == 5
    frames = {f"{name}.png" for name in ("a_1", "a_2", "b_1", "b_2", "nerve")}
    pictures = {f"{part}/{name}" for part in ("masks", "overlays") for name in frames}
    assert list_files(output) - {".nerve_jax.predict.json"} == {
        *pictures,
        "predictions.csv",
    }
    assert read(output / "overlays" / "a_1.png").shape == (*SIZE, 3)
    rows = read_rows(output / "predictions.csv")
    assert {row["structure"] for row in rows} == {"vessel"}


def add_clips(folder):
    """A clip called as a structure, beside a picture of that name, and one of overlap."""
    write_clip(folder / "nerve.mp4", sweep(3, SIZE), codec="mpeg4")
    for number in range(2):
        save(folder / "vessel", **{f"v{number}": draw(shared=True)})


@pytest.mark.parametrize("after", [BOTH, BOTH[::-1], ("nerve",), ("vessel",)])
def test_a_later_command_with_other_structures_leaves_nothing_of_an_earlier(
    tmp_path, folder, after
):
    add_clips(folder)
    fresh, output = tmp_path / "fresh", tmp_path / "out"
    count = run(folder, fresh, after)
    assert count == 5 + 3 + 2
    for before in (BOTH, ("nerve",), ("artery", *BOTH)):
        run(folder, output, before, model=see_any)
        run(folder, output, after)
        assert list_files(output) == list_files(fresh)
        for name in list_files(fresh):
            assert (output / name).read_bytes() == (fresh / name).read_bytes(), name
        folders = [
            {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_dir()}
            for place in (fresh, output)
        ]
        assert folders[0] == folders[1]


def see_any(images, structures):
    """`see`, and nothing of any other structure."""
    probs = np.zeros((len(images), len(structures), *SIZE), np.float32)
    found, _ = see(images)
    for place, name in enumerate(structures):
        if name in BOTH:
            probs[:, place] = found[:, BOTH.index(name)]
    return probs, probs.max((2, 3))


@pytest.mark.parametrize("after", [BOTH, ("nerve",)])
@pytest.mark.parametrize(
    "name",
    [
        *("masks/nerve/a_1.png", "masks/nerve/nerve/00001.png", "labels/a_1.png"),
        *("structures.csv", "masks/nerve/nerve/notes.txt", "labels/mine.png"),
        *("labels/b_2.png", "labels/vessel/00000.png"),  # where none could be written
    ],
)
def test_what_others_changed_or_added_since_is_refused(tmp_path, folder, name, after):
    add_clips(folder)
    output = tmp_path / "out"
    run(folder, output)
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).write_text("mine")
    kept = {path: (output / path).read_bytes() for path in list_files(output)}
    # A folder of others' is named, not each file in it.
    with pytest.raises(InputError, match=f"would overwrite ({name}|labels/vessel,)"):
        run(folder, output, after)
    assert {p: (output / p).read_bytes() for p in list_files(output)} == kept


@given(st.data())
def test_label_maps_and_overlap_are_what_counting_says(data):
    count = data.draw(st.integers(1, 4))
    bits = data.draw(st.lists(st.booleans(), min_size=12 * count, max_size=12 * count))
    masks = list(np.array(bits).reshape(count, 3, 4))
    counted = np.sum(masks, axis=0)
    assert predicted.do_overlap(masks) == bool((counted > 1).any())
    if not predicted.do_overlap(masks):
        label = predicted.draw_label(masks)
        assert label.dtype == np.uint8
        for value, mask in enumerate(masks, 1):
            np.testing.assert_array_equal(label == value, mask)
        assert ((label == 0) == (counted == 0)).all()
