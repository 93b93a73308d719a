"""LabelMe's files, read and written."""

import base64
import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from nerve_jax.data.exchange import labelme
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.breaking import broken
from tests.data.exchange.making import check_round_trip, make_labelled, sets

SIZE = (10, 20)
MASK = np.zeros(SIZE, bool)
MASK[2:5, 4:9] = True
SQUARE = [[4, 2], [9, 2], [9, 5], [4, 5]]


def shape(points=SQUARE, kind="polygon", **changes):
    return {"label": "nerve", "points": points, "shape_type": kind} | changes


def png(part):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(part, np.uint8)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def masked(points, part=((1, 0), (1, 1))):
    return shape(points, "mask", mask=png(part))


@pytest.fixture
def folder(tmp_path):
    """Return `folder(*shapes, **fields)`: a file beside its picture."""

    def make(*shapes, name="a", **changes):
        Image.new("L", SIZE[::-1]).save(tmp_path / f"{name}.png")
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{name}.png",
            "imageData": None,
            "imageHeight": SIZE[0],
            "imageWidth": SIZE[1],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content | changes))
        return tmp_path

    return make


def read_masks(folder):
    return {one.name: one.masks for one in labelme.read(folder)}


@settings(deadline=None, max_examples=40)
@given(sets())
def test_what_is_written_is_read(pictures):
    check_round_trip(FORMATS["labelme"], *pictures)


def test_a_mask_is_written_as_the_png_of_its_box(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    given = make_labelled(tmp_path / "in", [(SIZE, {"nerve": MASK})])
    labelme.write(tmp_path / "out", iter(given), ("nerve", "vessel"))
    content = json.loads((tmp_path / "out/p0_a.json").read_text())
    (found,) = content["shapes"]
    part = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["mask"]))))
    assert found["points"] == [[4, 2], [8, 4]] and np.array_equal(part, np.ones((3, 5)))
    assert (content["imageHeight"], content["imageWidth"]) == SIZE
    assert (tmp_path / "out" / content["imagePath"]).is_file()
    assert content["flags"] == {"labelled: nerve": True, "labelled: vessel": False}


def disc(x, y, radius):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return np.hypot(rows - y, columns - x) < radius


def one(*pixels):
    mask = np.zeros(SIZE, bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


SHAPES = {
    "polygon": (shape(), MASK),
    "before kinds": (shape(kind=None), MASK),
    "oriented": (shape(kind="oriented_rectangle"), MASK),
    "rectangle": (shape([[9, 5], [4, 2]], "rectangle"), MASK),
    "circle": (shape([[9, 5], [9, 1]], "circle"), disc(9, 5, 4)),
    "mask": (masked([[4, 2], [5, 3]]), one((2, 4), (3, 4), (3, 5))),
    "mask at the edge": (masked([[-1, 2], [0, 3]]), one((3, 0))),
    "mask at the end": (masked([[19, 9], [20, 10]]), one((9, 19))),
}


@pytest.mark.parametrize(("found", "mask"), SHAPES.values(), ids=SHAPES)
def test_each_kind_of_shape_is_drawn(folder, found, mask):
    masks = read_masks(folder(found, shape(label="Vessel")))["a"]
    assert np.array_equal(masks["nerve"], mask)
    assert np.array_equal(masks["vessel"], MASK)


def test_shapes_of_a_label_are_united(folder):
    masks = read_masks(folder(shape(), masked([[10, 5], [11, 6]])))["a"]
    assert np.array_equal(masks["nerve"], MASK | one((5, 10), (6, 10), (6, 11)))


def test_a_picture_without_a_file_is_unlabelled_and_one_without_shapes_empty(folder):
    folder(shape())
    root = folder(name="b")
    Image.new("L", (3, 3)).save(root / "c.png")
    masks = read_masks(root)
    assert (
        masks["c"] == {} and not masks["b"]["nerve"].any() and masks["a"]["nerve"].any()
    )


def test_flags_say_which_labels_were_looked_for(folder):
    flags = {"labelled: nerve": False, "labelled: vessel": True, "blurred": True}
    folder(shape())
    masks = read_masks(folder(name="b", flags=flags))
    assert masks["b"].keys() == {"vessel"} and masks["a"].keys() == {"nerve", "vessel"}


PATHS = ("a.png", "../images/a.png", "..\\images\\a.png", "C:\\x\\a.png")


@pytest.mark.parametrize("path", PATHS)
def test_a_picture_is_where_its_path_says_or_has_its_name(folder, path):
    root = folder(shape(), imagePath=path)
    for name, inner in (("a.json", "labels"), ("a.png", "images")):
        (root / inner).mkdir()
        (root / name).rename(root / inner / name)
    assert read_masks(root)["a"]["nerve"].any()


def test_without_a_stated_size_that_of_the_picture_counts(folder):
    sizeless = {"imageHeight": None, "imageWidth": None}
    assert np.array_equal(read_masks(folder(shape(), **sizeless))["a"]["nerve"], MASK)
    with pytest.raises(InputError, match="beyond its frame of 20x10 px by 5.0 px"):
        labelme.read(folder(shape([[0, 0], [25, 0], [0, 9]]), **sizeless))


BAD = {
    "outside": (
        [shape([[0, 0], [22, 0], [0, 9]])],
        {},
        r"a.json, shape 1 \(nerve\): rea",
    ),
    "circle outside": ([shape([[2, 5], [8, 5]], "circle")], {}, "reaches beyond"),
    "mask outside": ([masked([[20, 2], [21, 3]])], {}, "reaches beyond"),
    "not a number": (
        [shape([[0, 0], [float("nan"), 0], [0, 9]])],
        {},
        "reaches beyond",
    ),
    "linestrip": ([shape(kind="linestrip")], {}, "a linestrip is no outline"),
    "line": ([shape([[1, 1], [2, 2]], "line")], {}, "a line is no outline"),
    "point": ([shape([[1, 1]], "point")], {}, "a point is no outline"),
    "two corners": ([shape([[1, 1], [2, 2]])], {}, "three corners"),
    "box of three": ([shape([[1, 1]] * 3, "rectangle")], {}, "a rectangle of 3 points"),
    "flat": ([shape([1, 2, 3])], {}, "points that are not x and y each"),
    "no points": ([{"label": "nerve"}], {}, "not as its program writes it"),
    "no mask": ([shape([[1, 1], [2, 2]], "mask")], {}, "not as its program writes it"),
    "mask of another box": (
        [masked([[1, 1], [3, 3]])],
        {},
        r"\(2, 2\) in a box of another size",
    ),
    "no png": ([shape([[1, 1], [2, 2]], "mask", mask="aaaa")], {}, "cannot be decoded"),
    "no label": ([{"points": SQUARE}], {}, "not as its program writes it"),
    "odd label": ([shape(label="1x")], {}, "begins with a letter"),
    "alike": ([shape(), shape(label="Nerve")], {}, "both structure nerve"),
    "size": (
        [shape()],
        {"imageHeight": 11},
        "labels of 20x11 px, but the picture is 20x",
    ),
    "odd size": ([shape()], {"imageWidth": "20"}, "of no picture"),
    "huge": ([shape()], {"imageWidth": 10**12}, "labels of 1000000000000x10 px"),
    "not there": ([shape()], {"imagePath": "x.png"}, "1 picture .* not .*: x.png"),
    "inside": ([shape()], {"imagePath": "x.png", "imageData": "a"}, "not in .*: x.png"),
    "no path": ([shape()], {"imagePath": None}, "not as its program writes it"),
    "shapes": ([], {"shapes": 3}, "not as its program writes it"),
    "no labels": ([], {}, "no file of LabelMe with a shape"),
}


@pytest.mark.parametrize(("shapes", "changes", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_refused(folder, shapes, changes, message):
    with pytest.raises(InputError, match=message):
        labelme.read(folder(*shapes, **changes))


def test_a_mask_of_too_many_pixels_is_refused_before_it_is_decoded(folder):
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\0\0\0\0"
    mask = base64.b64encode(header + b"\xeb\x84\x4f\x7d" + b"\0" * 20).decode()
    with pytest.raises(InputError, match="too many|cannot be decoded"):
        labelme.read(folder(shape([[1, 1], [2, 2]], "mask", mask=mask)))


def test_two_files_of_one_picture_are_refused(folder):
    folder(shape())
    with pytest.raises(InputError, match="2 entries of one picture"):
        labelme.read(folder(shape(), name="b", imagePath="a.png"))


def test_pictures_that_are_not_there_are_named_and_counted(folder):
    for number in range(31):
        root = folder(shape(), name=f"no{number:02}")
        (root / f"no{number:02}.png").unlink()
    with pytest.raises(InputError, match="31 pictures .* no19.png, and 11 more"):
        labelme.read(root)


@pytest.mark.parametrize("text", ['{"shapes": [', "[" * 100_000, "\xff"])
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="a.json: not JSON"):
        labelme.read(tmp_path)


def test_a_folder_without_a_file_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="no file of LabelMe"):
        labelme.read(tmp_path)


WHOLE = {
    "flags": {"labelled: nerve": True},
    "shapes": [
        shape(),
        masked([[4, 2], [5, 3]]),
        shape([[9, 5], [9, 2]], "circle"),
        shape([[9, 5], [4, 2]], "rectangle"),
    ],
    "imagePath": "a.png",
    "imageData": None,
    "imageHeight": 10,
    "imageWidth": 20,
}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=broken(WHOLE))
def test_any_one_wrong_value_is_refused_or_read(folder, content):
    root = folder()
    (root / "a.json").write_text(json.dumps(content))
    with contextlib.suppress(InputError):
        assert all(one.masks.keys() <= {"nerve", "x"} for one in labelme.read(root))
