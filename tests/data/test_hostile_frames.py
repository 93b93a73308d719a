"""Files from strangers: read, or refused in words; never a crash, nothing lost."""

import csv
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nerve_jax.commands import predict
from nerve_jax.data.frames import MAX_PIXELS, read_file, read_image
from nerve_jax.data.labels import read_label, read_mask
from nerve_jax.scoring.decide import Outline, Rule
from nerve_jax.system.errors import RunError
from nerve_jax.system.files import show

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")
KINDS = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "WEBP", "PPM")


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


@st.composite
def image_files(draw):
    """An image of any mode in any format that takes it."""
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    noise = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, size[::-1])
    image = Image.fromarray(noise.astype(np.uint8)).convert("RGB")
    mode = draw(st.sampled_from(MODES))
    image = image.convert("I").convert(mode) if ";" in mode else image.convert(mode)
    kind = draw(st.sampled_from(KINDS))
    options = {"exif": exif(draw(st.integers(1, 8)))} if kind != "BMP" else {}
    try:
        return encode(image, kind, **options)
    except (OSError, KeyError, ValueError):
        return encode(image.convert("L"), kind)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@st.composite
def damaged_files(draw):
    """An image file cut short, with bytes changed, doubled or put before it."""
    content = bytearray(draw(image_files()))
    for _ in range(draw(st.integers(0, 4))):
        where = draw(st.integers(0, max(len(content) - 1, 0)))
        what = draw(st.sampled_from(["cut", "set", "insert", "repeat", "prefix"]))
        if what == "cut":
            content = content[:where]
        elif what == "set" and content:
            content[where] = draw(st.integers(0, 255))
        elif what == "insert":
            content[where:where] = draw(st.binary(max_size=8))
        elif what == "repeat":
            content += content[where:]
        else:
            content = bytearray(draw(st.binary(max_size=8))) + content
    return bytes(content)


def assert_read_or_refused(read, content, dtype):
    try:
        found = read(content)
    except ValueError as error:
        assert str(error)
        return
    assert found.dtype == dtype
    assert found.ndim == 2
    assert 0 < found.size <= MAX_PIXELS


@settings(max_examples=2500, deadline=None)
@given(st.one_of(image_files(), damaged_files(), st.binary(max_size=200)))
def test_any_file_is_read_as_a_frame_or_refused_in_words(content):
    assert_read_or_refused(read_image, content, np.uint8)


@settings(max_examples=2500, deadline=None)
@given(st.one_of(image_files(), damaged_files(), st.binary(max_size=200)))
def test_any_file_is_read_as_a_mask_or_refused_in_words(content):
    assert_read_or_refused(read_mask, content, np.bool_)


@pytest.mark.parametrize(
    "values",
    [{"a": 255}, {"a": 1, "b": 2}, {"a": (255, 0, 0)}, {"a": (0, 0, 9), "b": (1,) * 3}],
)
@settings(max_examples=600, deadline=None)
@given(content=st.one_of(image_files(), damaged_files()))
def test_any_file_is_read_as_a_label_map_or_refused_in_words(values, content):
    def read(content):
        masks = read_label(content, values).masks
        assert list(masks) == list(values)
        assert sum(masks.values()).max() <= 1
        return masks["a"]

    assert_read_or_refused(read, content, np.bool_)


def bomb(width, height):
    """A PNG of a few bytes that says it is large."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data)


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_frames_that_say_they_are_huge_are_refused_before_they_are_decoded(size):
    with pytest.raises(ValueError, match="exceeds limit"):
        read_image(bomb(*size))


def test_a_whole_frame_that_is_too_large_is_refused():
    content = encode(Image.new("1", (8000, 5001)), "PNG")
    assert len(content) < 10_000
    with pytest.raises(ValueError, match="8000x5001 px are too many"):
        read_image(content)
    with pytest.raises(ValueError, match="8000x5001 px are too many"):
        read_mask(content)


def test_a_frame_that_a_camera_turned_is_turned_back():
    upright = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = Image.fromarray(np.rot90(upright, -1).copy())
    np.testing.assert_array_equal(
        read_image(encode(turned, "PNG", exif=exif(8))), upright
    )


def test_other_formats_are_refused_whatever_the_file_is_called():
    for kind in ("GIF", "WEBP", "PPM"):
        with pytest.raises(ValueError, match="cannot be decoded"):
            read_image(encode(Image.new("L", (4, 4)), kind))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "."):
        with pytest.raises(OSError, match="not a file"):
            read_file(tmp_path / name)


def test_names_are_shown_on_one_line():
    assert show("Ä b\n\x1b[31m\udcff") == "Ä b\\n\\x1b[31m\\udcff"


def bright(images):
    probs = (np.asarray(images)[:, None] > 128).astype(np.float32)
    return probs, probs.max((2, 3))


def test_a_folder_of_everything(tmp_path):
    """Good frames come out as they would alone; bad ones are listed; nothing else is."""
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    good = Image.new("L", (64, 48), 20)
    good.paste(230, (10, 10, 30, 30))
    good.save(outside / "there.png")
    names = ["a b", "é ñ", "new\nline", "-rf", "=1+1", "x" * 250]
    for name in names:
        good.save(folder / f"{name}.png")
    good.save(os.fsencode(folder) + b"/\xff\xfe.png")
    for mode in ("1", "P", "RGBA", "I;16"):
        picture = (
            good.convert("I").convert(mode) if mode == "I;16" else good.convert(mode)
        )
        picture.save(folder / f"mode_{MODES.index(mode)}.png")
    good.convert("CMYK").save(folder / "mode_cmyk.tif")
    Image.new("L", (1, 1)).save(folder / "one.png")
    Image.new("L", (20_000, 3)).save(folder / "wide.png")
    (folder / "link.png").symlink_to(outside / "there.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(outside / "gone.png")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes(encode(good, "PNG")[:60])
    (folder / "text.png").write_text("frame,subject\n")
    (folder / "bomb.png").write_bytes(bomb(20_000, 20_000))
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(folder / "nan.tif")
    before = {p: p.stat().st_mtime_ns for p in outside.iterdir()}

    rule = Rule(0.5, Outline("expected_dice", 1.0))
    with pytest.raises(RunError, match="9 of 24 files could not be read"):
        predict.predict_folder(
            folder,
            tmp_path / "out",
            bright,
            image_size=(24, 32),
            rules={"nerve": rule},
            submission=True,
        )
    with (tmp_path / "out" / "errors.csv").open(newline="") as file:
        bad = {row["file"] for row in csv.DictReader(file)}
    assert {name.split(".")[0] for name in bad} == {
        "loop", "gone", "folder", "pipe", "empty", "cut", "text", "bomb", "nan",
    }  # fmt: skip
    expected = np.asarray(good) > 128
    for name in [*names, "link", "mode_3", "mode_5", os.fsdecode(b"\xff\xfe")]:
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{name}.png")) > 0
        overlap = 2 * (mask & expected).sum() / (mask.sum() + expected.sum())
        assert overlap > 0.9, name
    assert before == {p: p.stat().st_mtime_ns for p in outside.iterdir()}
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out", "outside"}


@pytest.mark.slow
def test_fuzzing_the_readers_finds_nothing():
    pytest.importorskip("atheris")
    done = subprocess.run(
        [sys.executable, "tests/fuzz_readers.py", "-runs=20000", "-seed=1"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 20000 runs" in done.stderr
