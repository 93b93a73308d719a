"""nnU-Net's raw layout, read and written."""

import json

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from nerve_jax.commands import labels
from nerve_jax.data.exchange import nnunet
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.making import (
    check_round_trip,
    make_labelled,
    new_folders,
    sets,
)

SIZE = (6, 9)
VALUES = np.arange(54).reshape(SIZE) % 3
DATASET = {
    "channel_names": {"0": "ultrasound"},
    "labels": {"background": 0, "nerve": 1, "vessel": 2},
    "numTraining": 2,
    "file_ending": ".png",
}


def write_plane(path, values):
    nibabel.Nifti1Image(values.T[..., None], np.eye(4)).to_filename(path)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".nii.gz"):
        write_plane(path, values)
    else:
        Image.fromarray(values).save(path)


@pytest.fixture
def write(tmp_path):
    """Return `write(ending, **changes) -> folder` of two cases and one unlabelled."""

    def write(ending=".png", **changes):
        image = np.arange(54, dtype=np.uint8).reshape(SIZE)
        for case in ("a_1", "b_1"):
            save(tmp_path / f"imagesTr/{case}_0000{ending}", image)
            save(tmp_path / f"labelsTr/{case}{ending}", VALUES.astype(np.uint8))
        save(tmp_path / f"imagesTs/c_1_0000{ending}", image)
        content = DATASET | {"file_ending": ending} | changes
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        return tmp_path

    return write


@settings(deadline=None, max_examples=40)
@given(sets(overlaps=False, partial=False))
def test_what_is_written_is_read(pictures):
    check_round_trip(FORMATS["nnunet"], *pictures)


@settings(deadline=None, max_examples=20)
@given(sets())
def test_what_it_cannot_hold_is_refused_by_name(pictures):
    structures, frames = pictures
    wrong = {
        number
        for number, (_, masks) in enumerate(frames)
        if masks
        and (
            set(masks) != set(structures)
            or (sum(m.astype(int) for m in masks.values()) > 1).any()
        )
    }
    with new_folders() as (source, folder):
        given = make_labelled(source, frames)
        if not wrong:
            nnunet.write(folder, given, structures)
            return
        with pytest.raises(InputError, match="labels=coco") as caught:
            nnunet.write(folder, given, structures)
        assert not (folder / "dataset.json").exists()
        for number, one in enumerate(given):
            assert (one.name in str(caught.value)) == (number in wrong)


@pytest.mark.parametrize("ending", [".png", ".tif", ".tiff", ".bmp", ".nii.gz"])
def test_files_of_every_ending_are_read(write, tmp_path, ending):
    folder = write(ending)
    frames = {one.name: one for one in nnunet.read(folder)}
    assert frames.keys() == {"a_1", "b_1", "c_1"}
    assert frames["c_1"].masks == {}
    for value, name in ((1, "nerve"), (2, "vessel")):
        assert np.array_equal(frames["a_1"].masks[name], VALUES == value)
    output = tmp_path.parent / f"out{ending}"
    labels.convert(folder, output, "nnunet")
    ending = ".png" if ending == ".nii.gz" else ending
    image = np.asarray(Image.open(output / f"images/a_1{ending}"))
    assert np.array_equal(image, np.arange(54).reshape(SIZE))
    mask = np.asarray(Image.open(output / "masks/vessel/a_1.png"))
    assert np.array_equal(mask, 255 * (VALUES == 2))


def test_pictures_it_would_read_as_colour_are_written_in_grey(tmp_path):
    values = np.arange(54, dtype=np.uint8).reshape(SIZE)
    given = make_labelled(tmp_path, [(SIZE, {"nerve": VALUES == 1})] * 2)
    given = [
        one._replace(image=one.image.with_suffix(s))
        for one, s in zip(given, (".bmp", ".png"))
    ]
    Image.fromarray(values).save(given[0].image)
    Image.fromarray(values).convert("RGB").save(given[1].image)
    (tmp_path / "out").mkdir()
    nnunet.write(tmp_path / "out", given, ["nerve"])
    for one in given:
        written = Image.open(tmp_path / f"out/imagesTr/{one.name}_0000.png")
        assert written.mode == "L" and np.array_equal(written, values)
    assert not list((tmp_path / "out/imagesTs").iterdir())


def test_regions_are_structures_that_overlap(write):
    regions = {"background": 0, "plexus": [1, 2], "vessel": [2]}
    found = next(iter(nnunet.read(write(labels=regions)))).masks
    assert np.array_equal(found["plexus"], VALUES > 0)
    assert np.array_equal(found["vessel"], VALUES == 2)


def test_the_first_version_has_labels_by_value(write):
    first = {"0": "background", "1": "Nerve", "2": "blood-vessel"}
    folder = write(".nii.gz", labels=first)
    content = json.loads((folder / "dataset.json").read_text())
    content["modality"] = content.pop("channel_names")
    del content["file_ending"]
    (folder / "dataset.json").write_text(json.dumps(content))
    found = next(iter(nnunet.read(folder))).masks
    assert list(found) == ["nerve", "blood_vessel"]


BAD = {
    "channels": ({"channel_names": {"0": "a", "1": "b"}}, "frames of one channel"),
    "no channels": ({"channel_names": None}, "frames of one channel"),
    "ending": ({"file_ending": ".mha"}, "file_ending .mha is not one of"),
    "labels": ({"labels": ["nerve"]}, "no labels in it"),
    "value": ({"labels": {"nerve": 1.5}}, "1.5 is no whole number"),
    "zero": ({"labels": {"nerve": 0}}, "0 is background"),
    "background": ({"labels": {"background": 1, "nerve": 2}}, "0 is background"),
    "name": ({"labels": {"/": 1, "x": 2}}, "begins with a letter"),
    "alike": ({"labels": {"nerve": 1, "Nerve": 2}}, "both structure nerve"),
    "same": (
        {"labels": {"nerve": 1, "b": 1, "c": 2}},
        "b.: is there twice, or its value",
    ),
    "unnamed": (
        {"labels": {"background": 0, "nerve": 1}},
        "no name for value 2",
    ),
    "ignore": ({"labels": {"nerve": 1, "ignore": 2}}, "no name for value 2"),
    "count": ({"numTraining": 3}, "numTraining is 3, but imagesTr has 2 cases"),
    "paths": ({"dataset": {}}, "paths under dataset"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused(write, changes, message):
    with pytest.raises(InputError, match=message):
        nnunet.read(write(**changes))


def move(old, new):
    return lambda folder: (folder / old).rename(folder / new)


def put(name, content):
    return lambda folder: save(folder / name, content)


FILES = {
    "second channel": (
        put("imagesTr/a_1_0001.png", VALUES.astype(np.uint8)),
        "a_1_0001.png: channel 0001",
    ),
    "no number": (
        move("imagesTr/a_1_0000.png", "imagesTr/a_1.png"),
        "a_1.png: no _0000",
    ),
    "no label": (
        move("labelsTr/a_1.png", "labelsTr/x.txt"),
        "1 case without a file in labelsTr; .*: a_1",
    ),
    "no image": (
        move("imagesTr/a_1_0000.png", "x.png"),
        "1 case without an image in imagesTr; .*: a_1",
    ),
    "size": (
        put("labelsTr/a_1.png", VALUES.T.astype(np.uint8)),
        "labels of 6x9 px, but the picture is 9x6",
    ),
    "colour": (
        put("labelsTr/a_1.png", np.zeros((*SIZE, 3), np.uint8)),
        "one whole number",
    ),
    "both": (
        put("imagesTs/a_1_0000.png", VALUES.astype(np.uint8)),
        "a_1: 2 entries of one picture",
    ),
    "capitals": (
        put("imagesTs/A_1_0000.png", VALUES.astype(np.uint8)),
        "capitals alone",
    ),
    "json": (lambda folder: (folder / "dataset.json").write_text("{"), "not JSON"),
    "nothing": (move("dataset.json", "data.json"), "dataset.json: .*No such file"),
    "broken": (
        lambda folder: (folder / "imagesTr/a_1_0000.png").write_bytes(b"x"),
        "a_1_0000.png: cannot be decoded",
    ),
}


@pytest.mark.parametrize(("change", "message"), FILES.values(), ids=FILES)
def test_files_that_do_not_fit_are_refused(write, change, message):
    folder = write()
    change(folder)
    with pytest.raises(InputError, match=message):
        nnunet.read(folder)


PLANES = {
    "stack": (np.zeros((9, 6, 4), np.uint8), "not one plane"),
    "halves": (np.full((9, 6), 0.5, np.float32), "no whole numbers"),
    "nan": (np.full((9, 6), np.nan, np.float32), "no whole numbers"),
    "below": (np.full((9, 6), -1, np.int16), "no grey of 16 bits"),
}


@pytest.mark.parametrize(("values", "message"), PLANES.values(), ids=PLANES)
def test_nifti_that_is_no_picture_is_refused(write, values, message):
    folder = write(".nii.gz")
    path = folder / "imagesTr/a_1_0000.nii.gz"
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(path)
    with pytest.raises(InputError, match=message):
        nnunet.read(folder)


def test_nifti_that_claims_to_be_huge_is_refused_unread(write):
    folder = write(".nii.gz")
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((30000, 30000, 1))
    path = folder / "labelsTr/a_1.nii.gz"
    with nibabel.openers.ImageOpener(path, "wb") as file:
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header.write_to(file)
        file.write(bytes(4))
    with pytest.raises(InputError, match="too many"):
        nnunet.read(folder)


def test_nifti_that_ends_too_early_is_refused(write):
    folder = write(".nii.gz")
    path = folder / "labelsTr/a_1.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="cannot be decoded"):
        nnunet.read(folder)
