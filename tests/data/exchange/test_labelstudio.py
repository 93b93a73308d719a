"""Label Studio's exports, read and written."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from nerve_jax.data.exchange import brush, labelstudio
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.breaking import broken
from tests.data.exchange.making import check_round_trip, make_labelled, sets

SIZE = (10, 20)
UPLOAD = "/data/upload/1/ab12cd34-a.png"
MASK = np.zeros(SIZE, bool)
MASK[2:5, 4:9] = True


def region(value, kind="brushlabels", labels=("nerve",), **changes):
    """A result of an annotation, on a picture of `SIZE`."""
    result = {
        "id": "r1",
        "type": kind,
        "original_width": SIZE[1],
        "original_height": SIZE[0],
        "image_rotation": 0,
        "value": value | ({kind: list(labels)} if labels else {}),
    }
    return result | changes


def brushed(mask=MASK, **changes):
    return region({"format": "rle", "rle": brush.encode(mask)}, **changes)


def box(kind="rectanglelabels", **changes):
    """A region that is `MASK`."""
    value = {"x": 20, "y": 20, "width": 25, "height": 30, "rotation": 0}
    return region(value | changes, kind)


def task(*results, image=UPLOAD, **changes):
    found = {"id": 5, "data": {"image": image}, "annotations": [{"result": [*results]}]}
    return found | changes


@pytest.fixture
def folder(tmp_path):
    """Return `folder(*tasks, pictures)`, an export with its pictures."""

    def make(*tasks, pictures=("a.png",)):
        for name in pictures:
            path = tmp_path / "images" / name
            path.parent.mkdir(exist_ok=True, parents=True)
            Image.new("L", SIZE[::-1]).save(path)
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        return tmp_path

    return make


def read_masks(folder):
    return {one.name: one.masks for one in labelstudio.read(folder)}


@settings(deadline=None, max_examples=40)
@given(sets())
def test_what_is_written_is_read(pictures):
    check_round_trip(FORMATS["labelstudio"], *pictures)


def test_tasks_that_are_written_name_pictures_and_the_labels_of_their_config(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    given = make_labelled(tmp_path / "in", [(SIZE, {"nerve": MASK}), (SIZE, {})])
    labelstudio.write(tmp_path / "out", iter(given), ("nerve", "vessel"))
    first, second = json.loads((tmp_path / "out/tasks.json").read_text())
    assert first["data"]["image"] == "/data/local-files/?d=images/p0_a.png"
    (result,) = first["annotations"][0]["result"]
    assert result["value"]["brushlabels"] == ["nerve"] and second["annotations"] == []
    config = (tmp_path / "out/label_config.xml").read_text()
    assert '<Label value="nerve"/>' in config and '<Label value="vessel"/>' in config
    assert f'name="{result["from_name"]}" toName="{result["to_name"]}"' in config


SHAPES = {
    "brush": (brushed(), MASK),
    "polygon": (
        region({"points": [[20, 20], [45, 20], [45, 50], [20, 50]]}, "polygonlabels"),
        MASK,
    ),
    "rectangle": (box(), MASK),
    "turned rectangle": (
        region(
            {"x": 45, "y": 20, "width": 15, "height": 50, "rotation": 90},
            "rectanglelabels",
        ),
        MASK,
    ),
    "ellipse": (
        region({"x": 50, "y": 50, "radiusX": 50, "radiusY": 50}, "ellipselabels"),
        (np.ogrid[-9.5:10, :1][0].T / 10) ** 2 + (np.ogrid[-4.5:5, :1][0] / 5) ** 2 < 1,
    ),
    "turned ellipse": (
        region(
            {"x": 50, "y": 50, "radiusX": 25, "radiusY": 100, "rotation": 90},
            "ellipselabels",
        ),
        (np.ogrid[-9.5:10, :1][0].T / 10) ** 2 + (np.ogrid[-4.5:5, :1][0] / 5) ** 2 < 1,
    ),
}


@pytest.mark.parametrize(("found", "mask"), SHAPES.values(), ids=SHAPES)
def test_each_kind_of_region_is_drawn(folder, found, mask):
    assert np.array_equal(read_masks(folder(task(found)))["a"]["nerve"], mask)


def test_regions_of_a_label_are_united_and_one_may_have_several_labels(folder):
    other = np.zeros(SIZE, bool)
    other[8, 3] = True
    found = task(brushed(), brushed(other, labels=("Nerve", "Vessel")), brushed())
    found["annotations"][0]["result"][0]["value"]["brushlabels"] = ["Nerve"]
    found["annotations"][0]["result"].pop()
    masks = read_masks(folder(found))["a"]
    assert np.array_equal(masks["nerve"], MASK | other)
    assert np.array_equal(masks["vessel"], other)


def test_a_bare_region_has_the_labels_of_another_of_its_id(folder):
    bare = box()
    bare["type"], bare["value"] = "rectangle", dict(bare["value"])
    del bare["value"]["rectanglelabels"]
    named = box("labels")
    choice = {"type": "choices", "value": {"choices": ["good"]}, "id": "c"}
    masks = read_masks(folder(task(bare, named, choice)))["a"]
    assert np.array_equal(masks["nerve"], MASK)


def test_exports_of_few_fields_are_refused_by_name(folder):
    flat = box()["value"] | {"original_width": 20, "original_height": 10}
    row = {"id": 1, "image": UPLOAD, "tag": [flat], "annotator": 1, "note": ["x"]}
    with pytest.raises(InputError, match='export as "JSON", not as "JSON-MIN"'):
        labelstudio.read(folder(row))


def test_who_annotated_looked_for_all_labels_unless_the_task_says_for_which(folder):
    tasks = [
        task(brushed()),
        task(id=6, image="b.png"),
        task(id=7, image="c.png", annotations=[{"result": [], "was_cancelled": True}]),
        task(id=8, data={"image": "d.png", "structures_labelled": "vessel"}),
    ]
    masks = read_masks(folder(*tasks, pictures=["a.png", "b.png", "c.png", "d.png"]))
    assert not masks["b"]["nerve"].any() and masks["b"].keys() == {"nerve", "vessel"}
    assert masks["c"] == {} and masks["d"].keys() == {"vessel"}


def test_the_first_annotation_that_is_not_cancelled_is_read(folder, capsys):
    annotations = [
        {"result": [], "was_cancelled": True},
        {"result": [brushed()]},
        {"result": []},
    ]
    assert read_masks(folder(task(annotations=annotations)))["a"]["nerve"].any()
    assert "left out: 1 annotation by a second person" in capsys.readouterr().out


URLS = (
    "/data/upload/1/ab12cd34-a.png",
    "/data/local-files/?d=sets/images/a.png",
    "s3://bucket/some/a.png",
    "https://host/a.png?X-Amz-Signature=b%2Fc",
    "C:\\pictures\\a.png",
    "a.png",
)


@pytest.mark.parametrize("url", URLS)
def test_a_picture_is_found_by_the_end_of_its_url(folder, url):
    assert read_masks(folder(task(brushed(), image=url)))["a"]["nerve"].any()


def test_a_picture_is_found_by_the_name_that_an_upload_gives_it(folder):
    url = "/data/upload/1/00ff00ff-my_frame_%C3%BC1.png"
    masks = read_masks(
        folder(task(brushed(), image=url), pictures=["my frame (ü1).png"])
    )
    assert masks["my frame (ü1)"]["nerve"].any()


def test_folders_in_a_url_decide_between_pictures_of_one_name(folder):
    pictures = ["p1/a.png", "p2/a.png"]
    url = "/data/local-files/?d=images/p2/a.png"
    found = read_masks(folder(task(brushed(), image=url), pictures=pictures))
    assert found["p1_a"] == {} and found["p2_a"]["nerve"].any()
    with pytest.raises(InputError, match="may be any of a.png, p1/a.png, p2/a.png"):
        read_masks(folder(task(brushed())))


def coded(change):
    result = brushed()
    result["value"] |= change
    return task(result)


BAD = {
    "outside": (task(box(width=100)), "task 5, region r1: reaches beyond"),
    "not a number": (task(box(x=float("nan"))), "reaches beyond"),
    "ellipse outside": (
        task(region({"x": 0, "y": 0, "radiusX": 9, "radiusY": 9}, "ellipselabels")),
        "reaches beyond",
    ),
    "two corners": (
        task(region({"points": [[1, 1], [2, 2]]}, "polygonlabels")),
        "three corners",
    ),
    "point": (
        task(region({"x": 1, "y": 1, "width": 1}, "keypointlabels")),
        "no outline",
    ),
    "clip": (
        task(
            region({"sequence": [], "labels": ["x"]}, "videorectangle", ()),
            image="c.mp4",
        ),
        "boxes in a clip are not read; label clips in CVAT",
    ),
    "no label": (task(brushed(labels=())), "no label; give it one"),
    "turned": (task(brushed(image_rotation=90)), "turned; turn it back"),
    "another size": (task(brushed(original_width=21)), "of 800 values, not the 840"),
    "two sizes": (
        task(box(), box() | {"id": "r2", "original_width": 40}),
        "several sizes",
    ),
    "huge": (task(box() | {"original_width": 10**12}), "1000000000000x10 px"),
    "size is text": (task(box() | {"original_width": "20"}), "20x10 px"),
    "short rle": (coded({"rle": brush.encode(MASK)[:-3]}), "ends too early"),
    "long rle": (coded({"rle": [*brush.encode(MASK), 0, 7]}), "goes on behind"),
    "rle of text": (coded({"rle": "abc"}), "no list of bytes"),
    "rle of large numbers": (coded({"rle": [256, 1]}), "no list of bytes"),
    "not there": (task(brushed(), image="x.png"), "1 picture .* not .*: x.png"),
    "parent": (task(brushed(), image="/data/../.png"), "no field names one|not there"),
    "no picture": (task(brushed(), data={"text": "a"}), "no field names one"),
    "two pictures": (task(data={"x": "a.png", "y": "b.png"}), "2 fields name one"),
    "alike": (task(brushed(), brushed(labels=["Nerve"])), "both structure nerve"),
    "odd label": (task(brushed(labels=["1x"])), "begins with a letter"),
    "no result": (task(annotations=[{}]), "not as its program writes it"),
    "value": (task(brushed() | {"value": 3}), "not as its program writes it"),
    "data": (task(data=[]), "not as its program writes it"),
    "no labels": (task(), "what was looked for is not known"),
}


@pytest.mark.parametrize(("found", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_refused(folder, found, message):
    with pytest.raises(InputError, match=message):
        labelstudio.read(folder(found))


def test_up_to_a_pixel_beyond_the_frame_is_cut_off(folder):
    found = task(box(x=-4, y=0, width=108, height=100))
    assert read_masks(folder(found))["a"]["nerve"].all()


def test_two_tasks_of_one_picture_are_refused(folder):
    with pytest.raises(InputError, match="2 entries of one picture"):
        labelstudio.read(folder(task(brushed()), task(brushed(), id=6, image="a.png")))


def test_pictures_that_are_not_there_are_named_and_counted(folder):
    tasks = [task(brushed(), id=i, image=f"no{i:02}.png") for i in range(31)]
    with pytest.raises(InputError, match="31 pictures .* no19.png, and 11 more"):
        labelstudio.read(folder(*tasks))


def test_another_size_than_the_picture_has_is_refused(folder):
    found = folder(task(brushed()))
    Image.new("L", (7, 7)).save(found / "images/a.png")
    with pytest.raises(InputError, match="labels of 20x10 px, but the picture is 7x7"):
        labelstudio.read(found)


@pytest.mark.parametrize("text", ["[{", "[" * 100_000, "\xff"])
def test_a_broken_export_is_refused(tmp_path, text):
    (tmp_path / "export.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="export.json: not JSON"):
        labelstudio.read(tmp_path)


def test_a_folder_without_an_export_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="no label in any task"):
        labelstudio.read(tmp_path)


WHOLE = [
    task(box(), brushed(id="r2")),
    task(
        region({"points": [[1, 2], [9, 2], [9, 9]]}, "polygonlabels"),
        region({"x": 50, "y": 50, "radiusX": 9, "radiusY": 9}, "ellipselabels"),
        id=6,
        data={"image": "b.png", "structures_labelled": "nerve"},
    ),
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=broken(WHOLE))
def test_any_one_wrong_value_is_refused_or_read(folder, content):
    root = folder(*WHOLE, pictures=["a.png", "b.png"])
    (root / "export.json").write_text(json.dumps(content))
    with contextlib.suppress(InputError):
        assert all(one.masks.keys() <= {"nerve", "x"} for one in labelstudio.read(root))
