"""CVAT for images 1.1, read and written."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from nerve_jax.data.exchange import cvat, cvat_shapes
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.making import check_round_trip, make_labelled, sets

SIZE = (6, 9)
NERVE = "<label><name>nerve</name><type>any</type></label>"


def in_image(shapes, name="a.png", size=SIZE, number=0):
    height, width = size
    return (
        f'<image id="{number}" name="{name}" width="{width}" height="{height}">'
        f"{shapes}</image>"
    )


@pytest.fixture
def write(tmp_path):
    """Return `write(images, labels) -> folder`, with a picture a.png."""

    def write(images, labels=NERVE, file="annotations.xml", where="task"):
        Image.new("L", SIZE[::-1]).save(tmp_path / "a.png")
        meta = f"<meta><{where}><labels>{labels}</labels></{where}></meta>"
        text = f"<annotations><version>1.1</version>{meta}{images}</annotations>"
        (tmp_path / file).write_text(text)
        return tmp_path

    return write


def read_masks(folder):
    return {one.name: one.masks for one in cvat.read(folder)}


@settings(deadline=None, max_examples=40)
@given(sets())
def test_what_is_written_is_read(pictures):
    check_round_trip(FORMATS["cvat"], *pictures)


@settings(deadline=None, max_examples=20)
@given(sets())
def test_its_fields_are_those_of_the_format(tmp_path_factory, pictures):
    """By the description of the format: run lengths along the rows of a box."""
    structures, frames = pictures
    folder = tmp_path_factory.mktemp("cvat")
    given = {f"{one.name}.png": one for one in make_labelled(folder, frames)}
    out = tmp_path_factory.mktemp("out")
    cvat.write(out, given.values(), structures)
    root = ElementTree.parse(out / "annotations.xml").getroot()
    labels = [label.text for label in root.iterfind("meta/task/labels/label/name")]
    assert labels == list(structures)
    drawn = 0
    for image in root.iterfind("image"):
        one = given[image.get("name")]
        assert (int(image.get("height")), int(image.get("width"))) == one.size
        for element in image:
            left, top, width, height = (
                int(element.get(n)) for n in ("left", "top", "width", "height")
            )
            values = []
            for number, count in enumerate(element.get("rle").split(",")):
                values += [number % 2] * int(count)
            mask = np.zeros(one.size, bool)
            box = np.array(values, bool).reshape(height, width)
            mask[top : top + height, left : left + width] = box
            assert np.array_equal(mask, one.masks[element.get("label")])
            drawn += 1
    assert drawn == sum(
        mask.any() for one in given.values() for mask in one.masks.values()
    )


SHAPES = {
    "box": '<box label="nerve" xtl="2" ytl="1" xbr="5" ybr="4"/>',
    "polygon": '<polygon label="nerve" points="2,1;5,1;5,4;2,4"/>',
    "mask": '<mask label="nerve" rle="0, 9" left="2" top="1" width="3" height="3"/>',
    "turned": '<box label="nerve" xtl="2" ytl="1" xbr="5" ybr="4" rotation="90"/>',
    "two": '<box label="nerve" xtl="2" ytl="1" xbr="4" ybr="4"/>'
    '<box label="nerve" xtl="3" ytl="1" xbr="5" ybr="4"><attribute name="a">b</attribute>'
    "</box>",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("where", ["task", "project", "job"])
def test_shapes_are_drawn(write, shape, where):
    expected = np.zeros(SIZE, bool)
    expected[1:4, 2:5] = True
    masks = read_masks(write(in_image(shape), where=where))
    assert np.array_equal(masks["a"]["nerve"], expected)


def test_an_ellipse_is_drawn(write):
    shape = '<ellipse label="nerve" cx="4.5" cy="3" rx="1.5" ry="2.6" rotation="90"/>'
    mask = read_masks(write(in_image(shape)))["a"]["nerve"]
    assert mask[2:4, 2:7].all() and not mask[:1].any() and not mask[:, :1].any()


def test_labels_without_shapes_are_empty_and_those_without_outlines_no_structures(
    write,
):
    labels = NERVE + (
        "<label><name>Brachial Artery</name><type>polygon</type></label>"
        "<label><name>good picture?</name><type>tag</type></label>"
        "<label><name>1</name><type>points</type><parent>x</parent></label>"
    )
    masks = read_masks(write(in_image('<tag label="good picture?"/>'), labels))
    assert masks["a"].keys() == {"nerve", "brachial_artery"}
    assert not any(mask.any() for mask in masks["a"].values())


def test_without_declared_labels_those_of_shapes_count(write):
    masks = read_masks(write(in_image(SHAPES["box"]), labels=""))
    assert masks["a"]["nerve"].sum() == 9


def test_what_reaches_beyond_by_a_pixel_is_cut_off(write, capsys):
    shape = (
        '<mask label="nerve" rle="0,30" left="-1" top="-1" width="6" height="5"/>'
        '<box label="nerve" xtl="5" ytl="4" xbr="9.5" ybr="7"/>'
    )
    mask = read_masks(write(in_image(shape)))["a"]["nerve"]
    expected = np.zeros(SIZE, bool)
    expected[:4, :5] = expected[4:, 5:] = True
    assert np.array_equal(mask, expected)
    assert "2 shapes reach beyond the frame" in capsys.readouterr().out


BAD = {
    "outside": ('<box label="nerve" xtl="2" ytl="1" xbr="12" ybr="4"/>', "by 3.0 px"),
    "mask outside": (
        '<mask label="nerve" rle="9" left="8" top="1" width="3" height="3"/>',
        "by 2.0 px",
    ),
    "nan": ('<box label="nerve" xtl="nan" ytl="1" xbr="12" ybr="4"/>', "by inf px"),
    "short": (
        '<mask label="nerve" rle="0, 8" left="2" top="1" width="3" height="3"/>',
        "run lengths of 8 px in all, of 3x3 px",
    ),
    "huge": (
        f'<mask label="nerve" rle="1" left="0" top="0" width="{10**9}" height="9"/>',
        "run lengths of 1 px",
    ),
    "letters": ('<polygon label="nerve" points="a,b;c,d"/>', "could not convert"),
    "pairs": ('<polygon label="nerve" points="1,2,3;4,5;6,7"/>', "too many values"),
    "corners": ('<polygon label="nerve" points="1,2;4,5"/>', "three corners"),
    "attribute": ('<box label="nerve" xtl="2"/>', "KeyError: .ytl"),
    "polyline": (
        '<polyline label="nerve" points="1,2;4,5;2,2"/>',
        "a.png, polyline 1: no",
    ),
    "points": ('<points label="nerve" points="1,2"/>', "a.png, points 1: no outline"),
    "label": (
        '<box label="vein" xtl="2" ytl="1" xbr="5" ybr="4"/>',
        "'vein' is not decl",
    ),
}


@pytest.mark.parametrize(("shape", "message"), BAD.values(), ids=BAD)
def test_shapes_that_cannot_be_drawn_are_refused(write, shape, message):
    with pytest.raises(InputError, match=message):
        cvat.read(write(in_image(shape)))


SETS = {
    "twice": (in_image("") * 2, NERVE, "2 entries of one picture"),
    "missing": (in_image("", "b.png"), NERVE, "not in .*: b.png"),
    "parent": (in_image("", "../a.png"), NERVE, "no name of a picture"),
    "size": (
        in_image("", size=(9, 6)),
        NERVE,
        "labels of 6x9 px, but the picture is 9x6",
    ),
    "sizeless": ('<image name="a.png"/>', NERVE, "KeyError: .height"),
    "labels": (in_image(""), NERVE * 2, "'nerve' is declared twice"),
    "alike": (
        in_image(""),
        NERVE + "<label><name>Nerve</name></label>",
        "both structure nerve",
    ),
    "odd": (in_image(""), NERVE.replace("nerve", "42"), "begins with a letter"),
    "none": ("", NERVE, "no label of an image"),
}


@pytest.mark.parametrize(("images", "labels", "message"), SETS.values(), ids=SETS)
def test_sets_that_do_not_fit_are_refused(write, images, labels, message):
    with pytest.raises(InputError, match=message):
        cvat.read(write(images, labels))


def test_two_files_of_the_same_pictures_are_refused(write):
    write(in_image(""))
    with pytest.raises(InputError, match="in annotations.xml and other.xml; keep one"):
        cvat.read(write(in_image(""), file="other.xml"))


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefg", "bcdefgh"))
    + "]><annotations>&h;</annotations>"
)
FILES = {
    "bomb": (BOMB, "a DOCTYPE"),
    "outer": ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "a DOCTYPE"),
    "cut": ("<annotations><image", "not XML"),
    "empty": ("", "not XML"),
    "code": ('<?xml version="1.0" encoding="klingon"?><annotations/>', "not XML"),
    "other": ("<annotation/>", "no label .* annotations.xml"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_files_that_are_not_of_cvat_are_refused(tmp_path, text, message):
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        cvat.read(tmp_path)


def test_a_parser_that_expands_without_limit_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(cvat_shapes.pyexpat, "version_info", (2, 4, 0))
    (tmp_path / "annotations.xml").write_text("<annotations/>")
    with pytest.raises(InputError, match=r"expat 2\.4\.1"):
        cvat.read(tmp_path)


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(InputError, match="no label .* annotations.xml"):
        cvat.read(tmp_path)
