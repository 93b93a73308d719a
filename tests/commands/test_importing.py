"""Import: nothing that names a person is in anything that is written."""

import base64
import csv
import hashlib
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import signal

from nerve_jax.commands import importing, predict
from nerve_jax.data.frames import Storage
from nerve_jax.data.frames_folder import list_media, name_frame, read_frames
from nerve_jax.data.loading import load_split
from nerve_jax.data.phantom import people
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.errors import InputError, RunError
from tests.data.media.making import write_dicom

PRIVATE = ("Doelle", "Janina", "MRN-4711", "19700131", "General Hospital")
BURNED_IN, FONT_PX = "DOELLE JANINA", 24
SCREEN, CORNER = (360, 480), (60, 60)  # of the screen, and of the sector in it


@pytest.fixture(scope="module")
def sweep():
    """Frames of a phantom, of one person."""
    return [frame.image for frame in people.simulate_frames(1, 5, seed=3)]


def put_on_screen(image, name_at=(40, 8)):
    """A frame amid a scanner's screen, with a name and a depth scale."""
    screen = Image.new("L", SCREEN[::-1])
    screen.paste(Image.fromarray(image), CORNER[::-1])
    pen = ImageDraw.Draw(screen)
    pen.text(name_at, BURNED_IN, fill=255, font_size=FONT_PX)
    for row in range(60, 300, 20):
        pen.line((420, row, 430, row), fill=255)
    return np.asarray(screen)


def save_dicom(path, frames, **more):
    header = {
        "PatientBirthDate": "19700131",
        "InstitutionName": "General Hospital",
        "Manufacturer": "Maker",
        "ManufacturerModelName": "M 1",
    }
    write_dicom(path, np.stack(frames), **header | more)


@pytest.fixture
def exports(tmp_path, sweep):
    folder = tmp_path / "exports"
    folder.mkdir()
    save_dicom(folder / "IM_0001", [put_on_screen(image) for image in sweep])
    return folder


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def list_written(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def find_pictures(path):
    """Every picture in a file: a PNG, or those inside a page."""
    content = path.read_bytes()
    if path.suffix == ".png":
        return [content]
    found = re.findall(rb"data:image/\w+;base64,([\w+/=]+)", content)
    return [base64.b64decode(text) for text in found]


def match(picture, template):
    """The largest correlation of a template with any place of a picture."""
    if any(a < b for a, b in zip(picture.shape, template.shape, strict=True)):
        return 0.0
    flat = template - template.mean()
    flat /= np.linalg.norm(flat)
    ones = np.ones(template.shape)
    sums = signal.fftconvolve(picture, ones, "valid")
    squares = signal.fftconvolve(picture**2, ones, "valid") - sums**2 / ones.size
    along = signal.fftconvolve(picture, flat[::-1, ::-1], "valid")
    return float((along / np.sqrt(np.maximum(squares, 1.0))).max())


def draw_name(scale):
    box = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox(
        (0, 0), BURNED_IN, font_size=FONT_PX
    )
    picture = Image.new("L", (int(box[2]), int(box[3])))
    ImageDraw.Draw(picture).text((0, 0), BURNED_IN, fill=255, font_size=FONT_PX)
    size = [max(1, round(side * scale)) for side in picture.size]
    return np.asarray(picture.resize(size), float)


def check_nameless(folder):
    """No file below a folder names the person, in bytes or in pictures."""
    forms = [
        form.encode(code)
        for text in PRIVATE
        for form in (text, text.upper(), text.lower())
        for code in ("utf-8", "utf-16-le")
    ]
    num_pictures = 0
    for path in list_written(folder):
        content = path.read_bytes()
        assert not [form for form in forms if form in content], path
        for picture in find_pictures(path):
            image = Image.open(io.BytesIO(picture)).convert("L")
            grey = np.asarray(image, float)
            for scale in {1.0, image.width / SCREEN[1]}:
                assert match(grey, draw_name(scale)) < 0.6, path
            num_pictures += 1
    return num_pictures


def test_the_search_finds_a_name(tmp_path, sweep):
    for at in ((40, 8), (120, 200)):
        screen = put_on_screen(sweep[0], at).astype(float)
        assert match(screen, draw_name(1.0)) > 0.6
    Image.fromarray(put_on_screen(sweep[0])).save(tmp_path / "x.png")
    with pytest.raises(AssertionError):
        check_nameless(tmp_path)


@pytest.mark.parametrize("keep_marked", [False, True])
def test_no_name_is_in_anything_that_is_written(tmp_path, exports, sweep, keep_marked):
    inside = [put_on_screen(image, (120, 200)) for image in sweep]
    save_dicom(exports / "IM_0002", inside)
    Image.fromarray(inside[0]).save(exports / "Doelle_Janina.png")
    before = {p: hashlib.md5(p.read_bytes()).digest() for p in list_written(exports)}
    output = tmp_path / "out"
    importing.import_folder(exports, output, keep_marked=keep_marked)
    after = {p: hashlib.md5(p.read_bytes()).digest() for p in list_written(exports)}
    assert before.items() <= after.items()  # only the key has come
    assert [p.name for p in after.keys() - before.keys()] == ["pseudonyms.key"]
    rows = {row["source"]: row for row in read_rows(output / "imported.csv")}
    assert list(rows) == ["source", "IM_0001", "IM_0002"]
    assert rows["IM_0001"]["written"] == "5"
    assert rows["IM_0002"]["marked"] == "0-4"
    assert rows["IM_0002"]["reason"].startswith(
        "text remains inside the sector in 5 of"
    )
    assert rows["IM_0002"]["written"] == ("5" if keep_marked else "0")
    if not keep_marked:
        assert check_nameless(output) == 5 + 2 + 2  # frames, before and after, befores


def test_what_is_imported_is_a_data_set(tmp_path, exports, sweep):
    save_dicom(exports / "IM_0002", [put_on_screen(sweep[0])], PatientID="other")
    output = tmp_path / "out"
    importing.import_folder(exports, output)
    examples = load_split(
        "train",
        (24, 32),
        name="ultrasound_nerve/folder",
        records_dir=str(tmp_path / "records"),
        manual_dir=str(output),
    )
    assert examples.frames == (*(f"IM_0001#{i}" for i in range(5)), "IM_0002")
    assert len(set(examples.subjects)) == 2
    assert set(examples.clips) == {"IM_0001", ""}
    assert set(examples.scanners) == {"Maker M 1"}
    assert examples.storage == Storage(bits=0, is_cut=True)
    found, errors = list_media(exports).media, []
    for frame in read_frames(found, examples.storage, errors):
        place = examples.frames.index(name_frame(frame.medium, frame.number))
        np.testing.assert_array_equal(frame.cut, examples.original(place))
    assert not errors
    top, left = CORNER
    height, width = sweep[2].shape
    place = examples.frames.index("IM_0001#2")
    image = examples.original(place)
    row = read_rows(output / "imported.csv")[0]
    box = [int(row[edge]) for edge in ("top", "left", "bottom", "right")]
    wanted = [top, left, top + height, left + width]
    np.testing.assert_allclose(box, wanted, atol=4)
    cut = image[top - box[0] :, left - box[1] :][:height, :width]
    assert (cut == sweep[2][: cut.shape[0], : cut.shape[1]]).mean() > 0.98


def test_nothing_of_the_header_is_in_what_is_predicted(tmp_path, exports, sweep):
    save_dicom(exports / "IM_0002", [put_on_screen(sweep[1], (120, 200))])

    def bright(images):
        probs = (np.asarray(images)[:, None] > 128).astype(np.float32)
        return probs, probs.max((2, 3))

    output = tmp_path / "out"
    count = predict.predict_folder(
        exports,
        output,
        bright,
        image_size=(24, 32),
        submission=True,
        rules={"nerve": Rule(0.5)},
    )
    assert count == 6
    rows = read_rows(output / "predictions.csv")
    assert rows[3] | {"file": "IM_0001", "frame_number": "3"} == rows[3]
    assert rows[3]["frame"] == "IM_0001#3"
    assert {row["scanner"] for row in rows} == {"Maker M 1"}
    assert (output / "masks" / "IM_0001" / "00003.png").exists()
    assert (output / "masks" / "IM_0002.png").exists()
    assert check_nameless(output) == 2 * 6


def test_exports_of_the_same_frames_are_named_and_not_imported(
    tmp_path, exports, sweep
):
    save_dicom(exports / "IM_0002", [put_on_screen(sweep[0])])
    (exports / "BMP").mkdir()
    Image.fromarray(put_on_screen(sweep[0])).save(exports / "BMP" / "a.bmp")
    output = tmp_path / "out"
    importing.import_folder(exports, output)
    rows = {row["source"]: row for row in read_rows(output / "imported.csv")}
    assert rows["BMP/a.bmp"]["written"] == "0"
    assert rows["BMP/a.bmp"]["reason"] == "shows what IM_0002 shows"
    assert sum(int(row["written"]) for row in rows.values()) == 6


def test_a_bad_source_keeps_no_other_from_being_imported(tmp_path, exports):
    (exports / "IM_0000").write_bytes(bytes(128) + b"DICM" + bytes(64))
    whole = (exports / "IM_0001").read_bytes()
    (exports / "IM_0009").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((90, 120), np.uint8)).save(exports / "blank.png")
    output = tmp_path / "out"
    with pytest.raises(RunError, match=r"2 of 4 sources could not be read"):
        importing.import_folder(exports, output)
    rows = {row["source"]: row for row in read_rows(output / "imported.csv")}
    assert rows["blank.png"]["reason"] == "no scanned sector found"
    assert rows["IM_0001"]["written"] == "5"
    for name in ("IM_0000", "IM_0009", "blank.png"):
        assert rows[name]["written"] == "0"
    assert len(list((output / "images").iterdir())) == 5
    (exports / "IM_0009").unlink()
    (exports / "IM_0000").unlink()
    importing.import_folder(exports, output)  # into the folder of the first


def test_nothing_is_imported_while_an_extra_is_missing(
    tmp_path, exports, sweep, monkeypatch
):
    Image.fromarray(put_on_screen(sweep[0])).save(exports / "Doelle_Janina.png")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"DICOM files need the extra dicom: pip"):
        importing.import_folder(exports, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_refused(tmp_path, exports):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt"):
        importing.import_folder(exports, tmp_path / "out")
    for output in (exports, exports / "inside", tmp_path):
        with pytest.raises(InputError, match="name another folder"):
            importing.import_folder(exports, output)
    assert {p.name for p in exports.iterdir()} == {"IM_0001"}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no picture, DICOM file or clip"):
        importing.import_folder(empty, tmp_path / "other")
