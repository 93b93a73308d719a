"""COCO JSON, read and written; what is written is opened by its own library."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from nerve_jax.data.exchange import coco
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.making import check_round_trip, make_labelled, sets

SIZE = (6, 9)
SQUARE = [2, 1, 5, 1, 5, 4, 2, 4]


@pytest.fixture
def write(tmp_path):
    """Return `write(images, annotations, categories) -> folder`, with its pictures."""

    def write(annotations, file="labels.json", pictures=("a.png",), **changes):
        tmp_path.joinpath("images").mkdir(exist_ok=True)
        images = []
        for number, name in enumerate(pictures, start=1):
            path = tmp_path / "images" / name
            path.parent.mkdir(exist_ok=True)
            Image.new("L", SIZE[::-1]).save(path)
            image = {"id": number, "file_name": name}
            images.append(image | {"height": SIZE[0], "width": SIZE[1]})
        content = {
            "images": images,
            "categories": [{"id": 7, "name": "nerve"}],
            "annotations": [
                {"id": n, "image_id": 1, "category_id": 7} | a
                for n, a in enumerate(annotations)
            ],
        }
        (tmp_path / file).write_text(json.dumps(content | changes))
        return tmp_path

    return write


def read_masks(folder):
    return {one.name: one.masks for one in coco.read(folder)}


@settings(deadline=None, max_examples=40)
@given(sets())
def test_what_is_written_is_read(pictures):
    check_round_trip(FORMATS["coco"], *pictures)


@settings(deadline=None, max_examples=20)
@given(sets())
def test_its_own_library_reads_what_is_written(tmp_path_factory, pictures):
    structures, frames = pictures
    folder = tmp_path_factory.mktemp("coco")
    given = make_labelled(tmp_path_factory.mktemp("in"), frames)
    coco.write(folder, given, structures)
    opened = COCO(str(folder / "annotations/instances_default.json"))
    names = {image["file_name"]: number for number, image in opened.imgs.items()}
    assert [c["name"] for c in opened.cats.values()] == list(structures)
    drawn = 0
    for one in given:
        assert (f"{one.name}.png" in names) == bool(one.masks)
        for annotation in opened.imgToAnns[names.get(f"{one.name}.png")]:
            structure = opened.cats[annotation["category_id"]]["name"]
            mask = opened.annToMask(annotation).astype(bool)
            assert np.array_equal(mask, one.masks[structure])
            assert annotation["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            left, top, width, height = annotation["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
            drawn += 1
    assert drawn == sum(mask.any() for one in given for mask in one.masks.values())


def test_polygons_and_both_kinds_of_runs(write):
    mask = np.zeros(SIZE, np.uint8)
    mask[1:4, 2:5] = 1
    runs = coco_mask.encode(np.asfortranarray(mask))
    counts = [2 * SIZE[0] + 1, 3, 3, 3, 3, 3, 4 * SIZE[0] + 2]
    other = [6, 1, 8, 1, 8, 4, 6, 4]
    for found in (
        [SQUARE],
        {"size": list(SIZE), "counts": counts},
        {"size": list(SIZE), "counts": runs["counts"].decode()},
    ):
        masks = read_masks(write([{"segmentation": found}]))["a"]
        assert np.array_equal(masks["nerve"], mask)
    masks = read_masks(write([{"segmentation": [SQUARE, other]}]))["a"]
    mask[1:4, 6:8] = 1
    assert np.array_equal(masks["nerve"], mask)


def test_several_annotations_of_a_category_are_united(write):
    parts = [[0, 0, 1, 0, 1, 2, 0, 2], [3, 3, 4, 3, 4, 4, 3, 4]]
    folder = write([{"segmentation": [part]} for part in parts])
    assert read_masks(folder)["a"]["nerve"].sum() == 3


def test_an_image_without_annotations_is_empty_and_one_not_listed_unlabelled(write):
    folder = write([], pictures=["a.png", "deep/b.png"])
    Image.new("L", (3, 3)).save(folder / "images/c.png")
    masks = read_masks(folder)
    assert masks.keys() == {"a", "deep_b", "c"}
    assert not masks["a"]["nerve"].any() and not masks["deep_b"]["nerve"].any()
    assert masks["c"] == {}


def test_files_may_label_different_images(write):
    folder = write([], file="one.json")
    write(
        [], file="two.json", pictures=["b.png"], categories=[{"id": 1, "name": "Vein"}]
    )
    masks = read_masks(folder)
    assert masks["a"].keys() == {"nerve"} and masks["b"].keys() == {"vein"}


def test_pictures_lie_in_the_folder_or_where_their_names_say(write):
    folder = write([], pictures=["a.png", "p1/b.png", "c.png", "./d: e?.png"])
    (folder / "images/a.png").rename(folder / "a.png")
    (folder / "images/p1").rename(folder / "p1")
    (folder / "images/default").mkdir()
    (folder / "images/c.png").rename(folder / "images/default/c.png")
    assert {one.name: one.image for one in coco.read(folder)} == {
        "a": folder / "a.png",
        "p1_b": folder / "p1/b.png",
        "c": folder / "images/default/c.png",
        "d: e?": folder / "images/d: e?.png",
    }


@pytest.mark.parametrize("name", ["a.png", "z.png"])
def test_a_picture_in_images_is_taken_before_one_beside_it(write, name):
    folder = write([], pictures=[name])
    Image.new("L", (3, 3)).save(folder / name)
    (one,) = coco.read(folder)
    assert one.image == folder / "images" / name


def test_by_up_to_a_pixel_polygons_are_cut_off_and_counted(write, capsys):
    inside = [0, 0, 9, 0, 9, 6, 0, 6]
    over = [-1, -0.5, 10, 0, 9.5, 7, 0, 6]
    folder = write([{"segmentation": [inside]}, {"segmentation": [over]}])
    assert read_masks(folder)["a"]["nerve"].all()
    assert "1 shape reaches beyond the frame" in capsys.readouterr().out


BAD = {
    "outside": (
        [{"segmentation": [[0, 0, 11.5, 0, 3, 3]]}],
        {},
        "beyond its frame of 9x6",
    ),
    "not a number": ([{"segmentation": [[0, 0, float("nan"), 0, 3, 3]]}], {}, "beyond"),
    "two corners": ([{"segmentation": [[0, 0, 3, 3]]}], {}, "three corners"),
    "box alone": ([{"bbox": [0, 0, 3, 3]}], {}, "a box without a segmentation"),
    "text": ([{"segmentation": [["a"] * 6]}], {}, "could not convert"),
    "size": ([{"segmentation": {"size": [9, 6], "counts": [54]}}], {}, "of size"),
    "short": (
        [{"segmentation": {"size": [6, 9], "counts": [50]}}],
        {},
        "of 50 px in all",
    ),
    "short text": (
        [{"segmentation": {"size": [6, 9], "counts": "5"}}],
        {},
        "of 5 px in",
    ),
    "negative": (
        [{"segmentation": {"size": [6, 9], "counts": [-1, 55]}}],
        {},
        "below 0",
    ),
    "huge": ([{"segmentation": {"size": [6, 9], "counts": [2**70]}}], {}, "in all"),
    "letters": (
        [{"segmentation": {"size": [6, 9], "counts": "\x01"}}],
        {},
        "character",
    ),
    "cut": ([{"segmentation": {"size": [6, 9], "counts": "Z"}}], {}, "inside a number"),
    "none": ([{"segmentation": {"size": [6, 9]}}], {}, "no.* as its program"),
    "category": ([{"category_id": 8, "segmentation": [SQUARE]}], {}, "category_id 8"),
    "image": ([{"image_id": 8, "segmentation": [SQUARE]}], {}, "image_id 8"),
    "unhashable": ([{"image_id": [1]}], {}, "image_id .1. is not listed"),
    "categories": (
        [],
        {"categories": [{"id": 1, "name": "nerve"}, {"id": 2, "name": "nerve"}]},
        "'nerve' is declared twice",
    ),
    "alike": (
        [],
        {"categories": [{"id": 1, "name": "My-Nerve"}, {"id": 2, "name": "my nerve"}]},
        "both structure my_nerve",
    ),
    "odd": ([], {"categories": [{"id": 1, "name": "42"}]}, "begins with a letter"),
    "ids": (
        [],
        {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
        "id of",
    ),
    "lists": ([], {"images": {"1": 2}}, "images is no list"),
    "nameless": (
        [],
        {"images": [{"id": 1, "height": 6, "width": 9}]},
        "needs file_name",
    ),
    "listed id": ([], {"images": [{"id": [1]}]}, "images: each needs an id"),
    "empty": ([], {"images": []}, "no label of a picture"),
    "no categories": ([], {"categories": []}, "no label of a picture"),
}


@pytest.mark.parametrize(("annotations", "changes", "message"), BAD.values(), ids=BAD)
def test_labels_that_cannot_be_drawn_are_refused(write, annotations, changes, message):
    folder = write(annotations, **changes)
    with pytest.raises(InputError, match=message):
        coco.read(folder)


def image(name, number=1, size=SIZE):
    return {"id": number, "file_name": name, "height": size[0], "width": size[1]}


def test_a_category_was_looked_for_where_the_image_says_so_or_it_is_outlined(write):
    names = [
        {"id": 7, "name": "nerve"},
        {"id": 8, "name": "vein"},
        {"id": 9, "name": "x"},
    ]
    images = [image("a.png") | {"structures_labelled": ["vein"]}]
    folder = write([{"segmentation": [SQUARE]}], images=images, categories=names)
    masks = read_masks(folder)["a"]
    assert masks.keys() == {"nerve", "vein"} and masks["nerve"].any()


IMAGES = {
    "missing": (["b.png"], r"1 picture with labels is not in .*: b.png"),
    "parent": (["../a.png"], "no name of a picture"),
    "absolute": (["/a.png"], "no name of a picture"),
    "backslash": (["x\\a.png"], "no name of a picture"),
    "drive": (["C:/a.png"], "no name of a picture"),
    "empty": (["."], "no name of a picture"),
    "line": (["a\n.png"], "no name of a picture"),
    "twice": (["a.png", "a.png"], "2 entries of one picture"),
    "twice, deeper": (["a.png", "images/a.png"], "2 entries of one picture"),
}


@pytest.mark.parametrize(("names", "message"), IMAGES.values(), ids=IMAGES)
def test_names_of_pictures_that_do_not_fit_are_refused(write, names, message):
    images = [image(name, number) for number, name in enumerate(names)]
    with pytest.raises(InputError, match=message):
        coco.read(write([], images=images))


def test_pictures_that_are_not_there_are_named_and_counted(write):
    images = [image(f"no{number:02}.png", number) for number in range(31)]
    with pytest.raises(InputError, match="31 pictures .* no19.png, and 11 more"):
        coco.read(write([], images=images))


def test_names_that_differ_in_capitals_are_refused(write):
    with pytest.raises(InputError, match="capitals alone"):
        coco.read(write([], pictures=["a.png", "A.png"]))


def test_a_picture_of_another_size_is_refused(write):
    folder = write([], images=[image("a.png", size=(9, 6))])
    with pytest.raises(InputError, match="labels of 6x9 px, but the picture is 9x6 px"):
        coco.read(folder)


def test_a_picture_that_is_turned_is_refused(write):
    folder = write([])
    turned = Image.new("L", SIZE[::-1])
    turned.getexif()[0x0112] = 3
    turned.save(folder / "images/a.png", exif=turned.getexif())
    with pytest.raises(InputError, match="turned by its EXIF tag"):
        coco.read(folder)


def test_two_files_that_label_the_same_images_are_refused(write):
    folder = write([], file="one.json")
    write([], file="two.json")
    with pytest.raises(InputError, match="in one.json and two.json; keep one"):
        coco.read(folder)


def test_a_folder_without_labels_or_with_broken_ones_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="no .*json with annotations, categories, images"
    ):
        coco.read(tmp_path)
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(InputError, match="a.json: not JSON"):
        coco.read(tmp_path)
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="a.json: not JSON"):
        coco.read(tmp_path)


def test_all_problems_are_one_error(write):
    folder = write([{"category_id": 8}, {"segmentation": []}], images=[image("b.png")])
    with pytest.raises(InputError) as caught:
        coco.read(folder)
    assert "3 problems" in str(caught.value)
    assert "category_id 8" in str(caught.value) and "b.png" in str(caught.value)
