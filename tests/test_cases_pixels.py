"""Folders whose files store frames and masks in unusual ways, from file to frame."""

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands import predict
from nerve_jax.commands.audit import audit
from nerve_jax.commands.train import warn_implausible
from nerve_jax.data import frames
from nerve_jax.data.frames import Storage
from nerve_jax.data.loading import load_split
from nerve_jax.data.ultrasound_nerve import checking, layouts
from nerve_jax.runs import folder as run_folder
from nerve_jax.runs.identity import save_run
from nerve_jax.scoring.decide import Outline, Rule
from nerve_jax.system.errors import InputError

SIZE = (48, 64)


def make_pairs(num_people=6, each=2):
    """Image and mask of a bright disc, by stem."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    rng = np.random.default_rng(0)
    for person in range(num_people):
        for index in range(each):
            centre = rng.uniform(0.3, 0.7, 2) * SIZE
            mask = np.hypot(y - centre[0], x - centre[1]) < 10
            image = rng.integers(0, 90, SIZE) + 120 * mask
            yield f"p{person}_{index}", image.astype(np.uint8), mask


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, **options)


@pytest.fixture
def load(tmp_path):
    """Return `load(store_image, store_mask) -> Examples` of a folder so stored."""

    def load(store_image=None, store_mask=None):
        folder = tmp_path / "frames"
        for number, (stem, image, mask) in enumerate(make_pairs()):
            if store_image:
                store_image(image, folder / "images" / stem)
            else:
                save(image, folder / "images" / f"{stem}.png")
            if store_mask:
                store_mask(mask, folder / "masks" / stem, number)
            else:
                save(mask * np.uint8(255), folder / "masks" / f"{stem}.png")
        return load_split(
            "train",
            SIZE,
            name="ultrasound_nerve/folder",
            records_dir=str(tmp_path / "records"),
            manual_dir=str(folder),
        )

    return load


def assert_same(examples, grey_error=0.0):
    for place, (stem, image, mask) in enumerate(make_pairs()):
        assert examples.frames[place] == stem
        np.testing.assert_array_equal(examples.truth(place), mask)
        difference = examples.original(place).astype(float) - image
        assert np.abs(difference).mean() <= grey_error


def test_palettes_that_list_white_first(load):
    def store(mask, path, _):
        picture = Image.fromarray((~mask).astype(np.uint8), "P")
        picture.putpalette([255, 255, 255, 0, 0, 0])
        save(picture, path.with_suffix(".png"))

    assert_same(load(store_mask=store))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_the_bits_of_the_set_are_stretched_and_said(load, bits, capsys):
    def store(image, path):
        deep = np.rint(image / 255 * (2**bits - 1)).astype(np.uint16)
        deep[0, 0] = 2**bits - 1 if path.name == "p0_0" else 0  # elsewhere darker
        save(deep, path.with_suffix(".tif"))

    assert_same(load(store), grey_error=0.3)
    assert f"taken as {bits}-bit grey" in capsys.readouterr().out


def test_a_mask_is_turned_with_its_frame(load):
    exif = Image.Exif()
    exif[0x0112] = 6

    def store(image, path):
        stored = np.rot90(image)
        save(stored.copy(), path.with_suffix(".jpg"), exif=exif, quality=98)

    def store_mask(mask, path, _):
        save(np.rot90(mask).copy() * np.uint8(255), path.with_suffix(".png"))

    assert_same(load(store, store_mask), grey_error=6)


def test_a_mask_that_may_be_turned_or_not_is_refused(load):
    exif = Image.Exif()
    exif[0x0112] = 3

    def store(image, path):
        save(image, path.with_suffix(".jpg"), exif=exif)

    with pytest.raises(InputError, match="EXIF orientation 3 and the mask has none"):
        load(store)


def test_masks_saved_as_jpeg_are_cut_and_counted(load, capsys):
    def store(mask, path, _):
        save(mask * np.uint8(255), path.with_suffix(".jpg"), quality=85)

    assert_same(load(store_mask=store))
    assert (
        "cut at half, for values near 0 and one other: 12 masks"
        in capsys.readouterr().out
    )


def test_one_colour_here_and_another_there_is_refused(load):
    """Each alone is plain; together they are two structures."""

    def store(mask, path, number):
        colours = np.zeros((*mask.shape, 3), np.uint8)
        colours[mask] = (255, 0, 0) if number % 3 else (0, 255, 0)
        save(colours, path.with_suffix(".png"))

    with pytest.raises(InputError, match=r"#ff0000 in 8 masks \(.*; #00ff00 in 4"):
        load(store_mask=store)


def test_one_colour_throughout_is_the_nerve(load):
    def store(mask, path, _):
        colours = np.zeros((*mask.shape, 3), np.uint8)
        colours[mask] = (255, 0, 0)
        save(colours, path.with_suffix(".png"))

    assert_same(load(store_mask=store))


def test_masks_the_wrong_way_round_are_said_in_train_and_audit(load, tmp_path, capsys):
    def store(mask, path, _):
        save((~mask) * np.uint8(255), path.with_suffix(".png"))

    examples = load(store_mask=store)
    with pytest.warns(UserWarning, match="the wrong way round"):
        warn_implausible(examples)
    content = audit(examples, tmp_path / "audit")
    assert "the wrong way round" in content["implausible"][0]
    said = capsys.readouterr().out
    assert "the wrong way round" in said
    count = len(content["implausible"])
    assert f"warnings of the set as a whole: {count}\n" in said
    assert "the wrong way round" in (tmp_path / "audit" / "audit.html").read_text()


def test_records_of_another_decoder_are_not_served(write_folder, monkeypatch):
    folder = write_folder({"a_0": (np.zeros((4, 5), np.uint8), None)})
    listed = layouts.list_folder(folder).splits
    before = checking.fingerprint(listed)
    assert checking.fingerprint(listed) == before
    monkeypatch.setattr(checking, "DECODER_VERSION", frames.DECODER_VERSION + 1)
    assert checking.fingerprint(listed) != before


def test_predict_takes_the_range_of_all_frames_and_of_those_trained_on(
    tmp_path, capsys
):
    """A dark 12-bit frame is as dark, beside a bright one or alone, as for training."""
    for name, brightest in (("in/dark", 1000), ("in/bright", 4095), ("one/dark", 1000)):
        image = np.linspace(0, brightest, 48 * 64).reshape(48, 64).astype(np.uint16)
        save(image, tmp_path / f"{name}.tif")
    seen = []

    def keep(images):
        seen.append(images)
        probs = np.zeros((len(images), 1, *images.shape[1:]), np.float32)
        return probs, probs.max((2, 3))

    def predict_images(folder, bits):
        predict.predict_folder(
            tmp_path / folder,
            tmp_path / f"{folder}_out",
            keep,
            image_size=(48, 64),
            rules={"nerve": Rule(0.5, Outline("expected_dice", 1.0))},
            submission=False,
            trained=Storage(bits),
        )

    predict_images("in", bits=0)
    bright, dark = seen.pop()
    assert bright.max() == 255
    assert dark.max() == round(1000 * 255 / 4095)
    assert "taken as 12-bit grey, 4095 as white\n" in capsys.readouterr().out
    predict_images("one", bits=12)
    assert seen.pop().max() == dark.max()
    assert "12-bit grey, 4095 as white, as in the frames" in capsys.readouterr().out
    predict_images("in", bits=10)  # of another scanner
    assert seen.pop()[0].max() == 255


def test_a_run_keeps_how_many_bits_its_frames_use(tmp_path):
    ramp = np.linspace(0, 4095, 48 * 64).reshape(48, 64).astype(np.uint16)
    for name in ("a_1", "b_1"):
        save(ramp, tmp_path / "frames" / "images" / f"{name}.tif")
        save(
            np.zeros((48, 64), np.uint8), tmp_path / "frames" / "masks" / f"{name}.png"
        )
    source = {
        "name": "ultrasound_nerve/folder",
        "records_dir": str(tmp_path / "records"),
        "manual_dir": str(tmp_path / "frames"),
    }
    for _ in ("prepared", "found prepared"):
        examples = load_split("train", (48, 64), **source)
        assert examples.storage.bits == 12
        assert examples.choose(np.array([1])).storage.bits == 12
    save_run(tmp_path, {"folds": [0]}, examples, list(examples.subjects))
    assert run_folder.load_storage(tmp_path).bits == 12
