"""NIfTI and NRRD label maps beside pictures, read and written."""

import bz2
import contextlib
import gzip
import struct

import nibabel
import nrrd as pynrrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nerve_jax.data.exchange import nifti, nrrd, planes
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.breaking import flipped
from tests.data.exchange.making import check_round_trip, make_labelled, sets

SIZE = (4, 6)
VALUES = np.zeros(SIZE, np.uint8)
VALUES[1:3, 2:5] = 1
VALUES[3, 0] = 2
NERVE, VESSEL = VALUES == 1, VALUES == 2
TABLE = "value,name\n1,nerve\n2,vessel\n"


def save_nifti(path, values, affine=None, dtype=None, **fields):
    image = nibabel.Nifti1Image(
        values, np.eye(4) if affine is None else affine, dtype=dtype
    )
    for name, value in fields.items():
        image.header[name] = value
    image.to_filename(path)


def save_nrrd(path, values, **header):
    pynrrd.write(str(path), values, header or None)


SAVE = {
    "nifti": (nifti.read, save_nifti, ".nii.gz"),
    "nrrd": (nrrd.read, save_nrrd, ".nrrd"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with one picture, and structures.csv."""
    picture = np.arange(24, dtype=np.uint8).reshape(SIZE)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.fromarray(picture).save(tmp_path / "images/p1.png")
    (tmp_path / "structures.csv").write_text(TABLE)
    return tmp_path


def check(read, folder, name="p1"):
    """The masks of `VALUES` are found."""
    masks = {one.name: one.masks for one in read(folder)}[name]
    assert np.array_equal(masks["nerve"], NERVE)
    assert np.array_equal(masks["vessel"], VESSEL)


@settings(deadline=None, max_examples=40)
@given(sets(overlaps=False))
def test_nifti_that_is_written_is_read(pictures):
    check_round_trip(FORMATS["nifti"], *pictures)


@settings(deadline=None, max_examples=40)
@given(sets())
def test_nrrd_that_is_written_is_read(pictures):
    check_round_trip(FORMATS["nrrd"], *pictures)


def write_one(write, tmp_path, masks):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    given = make_labelled(tmp_path / "in", [(SIZE, masks), (SIZE, {})])
    write(tmp_path / "out", iter(given), tuple(masks))
    assert (tmp_path / "out/images/p1_a.png").is_file()
    assert not list((tmp_path / "out/labels").glob("p1_a*"))
    return tmp_path / "out"


def test_nibabel_opens_what_is_written(tmp_path):
    out = write_one(nifti.write, tmp_path, {"nerve": NERVE, "vessel": VESSEL})
    image = nibabel.load(out / "labels/p0_a.nii.gz")
    assert image.shape == (6, 4, 1) and image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj)[..., 0].T, VALUES)
    assert np.array_equal(np.diag(image.affine), [-1, -1, 1, 1])  # as ITK of a PNG
    assert (out / "structures.csv").read_text() == TABLE


def test_pynrrd_opens_what_is_written(tmp_path):
    out = write_one(nrrd.write, tmp_path, {"nerve": NERVE, "vessel": VESSEL})
    values, header = pynrrd.read(str(out / "labels/p0_a.seg.nrrd"))
    assert np.array_equal(values[..., 0].T, VALUES)
    assert header["space"] == "left-posterior-superior"
    assert (header["Segment1_Name"], header["Segment1_LabelValue"]) == ("vessel", "2")
    assert (header["Segment0_Layer"], header["Segment1_Layer"]) == ("0", "0")


def test_structures_that_overlap_are_written_as_layers(tmp_path):
    masks = {"nerve": NERVE, "vessel": NERVE | VESSEL, "vein": VESSEL}
    out = write_one(nrrd.write, tmp_path, masks)
    values, header = pynrrd.read(str(out / "labels/p0_a.seg.nrrd"))
    assert values.shape == (2, 6, 4, 1) and header["kinds"][0] == "list"
    assert [header[f"Segment{n}_Layer"] for n in range(3)] == ["0", "1", "0"]
    assert np.array_equal(values[1, ..., 0].T, 2 * (NERVE | VESSEL))


def test_overlaps_in_nifti_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="p0_a: structures overlap"):
        write_one(nifti.write, tmp_path, {"nerve": NERVE, "vessel": NERVE})


NAMES = (
    "labels/p1{}",
    "labels/p1_seg{}",
    "labels/p1-label{}",
    "labels/p1_mask{}",
    "labels/p1 Segmentation{}",
    "images/p1{}",
    "p1{}",
)


@pytest.mark.parametrize("format_", SAVE)
@pytest.mark.parametrize("name", NAMES)
def test_labels_are_found_by_the_name_of_their_picture(folder, format_, name):
    read, save, ending = SAVE[format_]
    save(folder / name.format(ending), VALUES.T)
    check(read, folder)


def test_a_picture_whose_name_ends_as_that_of_labels_has_its_own(folder):
    Image.new("L", SIZE[::-1]).save(folder / "images/p1_seg.png")
    save_nifti(folder / "labels/p1_seg.nii", VALUES.T)
    check(nifti.read, folder, "p1_seg")


def test_folders_of_patients_are_heeded(folder):
    for patient in "ab":
        (folder / "images" / patient).mkdir()
        (folder / "labels" / patient).mkdir()
        Image.new("L", SIZE[::-1]).save(folder / "images" / patient / "1.png")
    save_nifti(folder / "labels/b/1.nii", VALUES.T)
    check(nifti.read, folder, "b_1")
    (folder / "labels/b/1.nii").rename(folder / "labels/1.nii")
    with pytest.raises(InputError, match="may be any of a/1.png, b/1.png"):
        nifti.read(folder)


TURNED = np.array([[0, -1, 0, 5], [1, 0, 0, 7], [0, 0, 2, 0], [0, 0, 0, 1.0]])
STORED = {
    "8 bits": VALUES,
    "16 bits": VALUES.astype(np.int16),
    "32 bits": VALUES.astype(">i4"),
    "float": VALUES.astype(np.float32),
    "double": VALUES.astype(np.float64),
}


@pytest.mark.parametrize("format_", SAVE)
@pytest.mark.parametrize("values", STORED.values(), ids=STORED)
@pytest.mark.parametrize("axes", [2, 3, 4])
def test_whole_values_of_any_type_and_further_axes_of_one_are_read(
    folder, format_, values, axes
):
    read, save, ending = SAVE[format_]
    save(folder / f"labels/p1{ending}", values.T.reshape((6, 4, 1, 1)[:axes]))
    check(read, folder)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1, 1, 1]), TURNED])
def test_the_stored_array_is_the_picture_whatever_the_header_says_of_space(
    folder, affine
):
    save_nifti(folder / "labels/p1.nii.gz", VALUES.T[..., None], affine)
    check(nifti.read, folder)


def test_slope_and_intercept_are_applied(folder):
    path = folder / "labels/p1.nii"
    save_nifti(path, 2 * VALUES.T + 2)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 0.5, -1)  # where the header has them
    path.write_bytes(content)
    check(nifti.read, folder)


def test_nifti_2_is_read(folder):
    image = nibabel.Nifti2Image(VALUES.T, np.eye(4))
    image.to_filename(folder / "labels/p1.nii.gz")
    check(nifti.read, folder)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_each_encoding_of_nrrd_is_read(folder, encoding):
    save_nrrd(folder / "labels/p1.nrrd", VALUES.T, encoding=encoding)
    check(nrrd.read, folder)


def segment(number, name, **fields):
    return {
        f"Segment{number}_{k}": str(v) for k, v in ({"Name": name} | fields).items()
    }


def test_a_segmentation_names_its_values_itself_and_may_be_a_part(folder):
    (folder / "structures.csv").unlink()
    header = segment(0, "Nerve", LabelValue=1, Layer=0, ID="Segment_1")
    header |= segment(1, "Vessel", LabelValue=2, Layer=0, ID="Segment_2")
    header |= {"Segmentation_ReferenceImageExtentOffset": "0 1 0"}
    save_nrrd(folder / "labels/p1.seg.nrrd", VALUES[1:, :5].T[..., None], **header)
    check(nrrd.read, folder)


def test_layers_of_a_segmentation_may_share_a_value(folder):
    layers = np.stack([NERVE.T, VESSEL.T]).astype(np.uint8)[..., None]
    header = {"kinds": ["list", "domain", "domain", "domain"]}
    new = segment(0, "nerve", LabelValue=1, Layer=0)
    new |= segment(1, "vessel", LabelValue=1, Layer=1)
    save_nrrd(folder / "labels/p1.seg.nrrd", layers, **header, **new)
    check(nrrd.read, folder)
    old = segment(0, "nerve") | segment(1, "vessel")  # of Slicer before 4.11
    save_nrrd(folder / "labels/p1.seg.nrrd", layers, **header, **old)
    check(nrrd.read, folder)


def test_a_segmentation_of_one_voxel_is_empty(folder):
    header = segment(0, "nerve", LabelValue=1, Layer=0)
    save_nrrd(folder / "labels/p1.seg.nrrd", np.zeros((1, 1, 1), np.uint8), **header)
    (one,) = nrrd.read(folder)
    assert one.masks.keys() == {"nerve"} and not one.masks["nerve"].any()


@pytest.mark.parametrize("format_", SAVE)
def test_a_picture_without_labels_is_unlabelled(folder, format_):
    read, save, ending = SAVE[format_]
    save(folder / f"labels/p1{ending}", VALUES.T)
    Image.new("L", (3, 3)).save(folder / "images/p2.png")
    assert [one.masks == {} for one in read(folder)] == [False, True]


def test_names_may_be_those_of_dataset_json(folder):
    (folder / "structures.csv").unlink()
    labels = '{"labels": {"background": 0, "nerve": 1, "vessel": 2}}'
    (folder / "dataset.json").write_text(labels)
    save_nifti(folder / "labels/p1.nii.gz", VALUES.T)
    check(nifti.read, folder)


BAD = {
    "transposed": (VALUES, "labels of 4x6 px, but the picture is 6x4 px"),
    "another size": (VALUES.T[1:], "labels of 5x4 px, but the picture is 6x4 px"),
    "stack": (
        np.zeros((6, 4, 3), np.uint8),
        "axes of 6, 4, 3: not one plane",
    ),
    "no name": (3 * VALUES.T, "labels/p1.*: no name for values 3, 6; write structures"),
    "negative": (-VALUES.T.astype(np.int16), "no name for values -2, -1"),
    "halves": (VALUES.T / 2.0, "no whole numbers"),
    "nan": (VALUES.T * np.nan, "no whole numbers"),
}


@pytest.mark.parametrize("format_", SAVE)
@pytest.mark.parametrize(("values", "message"), BAD.values(), ids=BAD)
def test_values_that_are_no_labels_of_the_picture_are_refused(
    folder, format_, values, message
):
    read, save, ending = SAVE[format_]
    save(folder / f"labels/p1{ending}", values)
    with pytest.raises(InputError, match=message):
        read(folder)


@pytest.mark.parametrize("format_", SAVE)
def test_all_files_with_values_without_a_name_are_counted(folder, format_):
    read, save, ending = SAVE[format_]
    (folder / "structures.csv").unlink()
    for number in range(1, 31):
        Image.new("L", SIZE[::-1]).save(folder / f"images/p{number}.png")
        save(folder / f"labels/p{number}{ending}", VALUES.T)
    with pytest.raises(InputError, match=r"p1\S* and 29 more: no name for values 1, 2"):
        read(folder)


@pytest.mark.parametrize("format_", SAVE)
def test_pictures_that_are_not_there_and_labels_that_are_there_twice(folder, format_):
    read, save, ending = SAVE[format_]
    save(folder / f"labels/p1{ending}", VALUES.T)
    save(folder / f"labels/p1_seg{ending}", VALUES.T)
    with pytest.raises(InputError, match="2 entries of one picture"):
        read(folder)
    for number in range(30):
        save(folder / f"labels/no{number:02}{ending}", VALUES.T)
    with pytest.raises(InputError, match="30 pictures .* no19, and 10 more"):
        read(folder)


TABLES = {
    "twice": ("value,name\n1,nerve\n1,vessel\n", "value 1 is there twice"),
    "alike": ("value,name\n1,nerve\n2,Nerve\n", "name nerve is there twice"),
    "no name": ("value,name\n1,nerve\n2,\n", "value 2 without a name"),
    "no value": ("value,name\n1,nerve\n,vessel\n", "a name without a value"),
    "background": ("value,name\n0,nerve\n", "0 is the background"),
    "colour": ("value,name\n#ff0000,nerve\n", "colours; the values here are"),
    "columns": ("a,b\n1,nerve\n", "no column value, name"),
}


@pytest.mark.parametrize(("table", "message"), TABLES.values(), ids=TABLES)
def test_a_table_that_does_not_fit_is_refused(folder, table, message):
    (folder / "structures.csv").write_text(table)
    save_nifti(folder / "labels/p1.nii.gz", VALUES.T)
    with pytest.raises(InputError, match=message):
        nifti.read(folder)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"NRRD0004\n", b"x" * 400])
@pytest.mark.parametrize("format_", SAVE)
def test_a_broken_file_is_refused_by_name(folder, format_, content):
    read, _, ending = SAVE[format_]
    (folder / f"labels/p1{ending}").write_bytes(content)
    with pytest.raises(InputError, match=r"labels/p1\S+: "):
        read(folder)


@pytest.mark.parametrize("format_", SAVE)
def test_a_file_that_was_cut_off_is_refused(folder, format_):
    read, save, ending = SAVE[format_]
    noise = np.random.default_rng(0).integers(0, 3, (60, 40), np.uint8)
    Image.new("L", (60, 40)).save(folder / "images/p1.png")
    path = folder / f"labels/p1{ending}"
    save(path, noise)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"labels/p1\S+: cannot be decoded"):
        read(folder)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_that_claims_more_than_memory_holds_is_refused(folder, ending):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int64)
    header["dim"][:4] = [3, 32767, 32767, 1]
    content = header.binaryblock + b"\0" * 1000
    pack = gzip.compress if ending == ".nii.gz" else bytes
    (folder / f"labels/p1{ending}").write_bytes(pack(content))
    with pytest.raises(InputError, match="32767x32767 px are none or too many"):
        nifti.read(folder)


def test_no_more_of_nifti_is_unpacked_than_its_header_counts(folder, monkeypatch):
    """An extension may say that it is 2 GB long; so may the place of the values."""
    path = folder / "labels/p1.nii.gz"
    save_nifti(path, VALUES.T)
    content = bytearray(gzip.decompress(path.read_bytes()))
    huge = 2**31 - 16
    most = []
    monkeypatch.setattr(planes, "_unpack", record(planes._unpack, most))
    for offset in (huge, 352):
        content[108:112] = struct.pack("<f", offset)
        content[348:360] = struct.pack("<4Bii", 1, 0, 0, 0, huge, 6)
        path.write_bytes(gzip.compress(bytes(content) + bytes(2**22)))
        with contextlib.suppress(InputError):
            list(nifti.read(folder))
    assert max(most) == planes.MOST_HEAD
    content[108:112] = struct.pack("<f", huge)
    path.write_bytes(gzip.compress(bytes(content) + bytes(2**22)))
    with pytest.raises(InputError, match=r"labels/p1.nii.gz: "):
        nifti.read(folder)


def record(unpack, most):
    def call(path, count):
        content = unpack(path, count)
        most.append(len(content))
        return content

    return call


def test_nrrd_that_claims_more_than_memory_holds_is_refused(folder):
    text = (
        "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 1000000 1000000\nencoding: raw\n\n"
    )
    (folder / "labels/p1.nrrd").write_bytes(text.encode())
    with pytest.raises(InputError, match="1000000x1000000 px are none or too many"):
        nrrd.read(folder)


@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)]
)
def test_nrrd_that_unpacks_to_more_than_it_claims_is_refused(folder, name, pack):
    text = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 6 4\nencoding: {name}\n\n"
    content = text.encode() + pack(b"\0" * 10**6)
    (folder / "labels/p1.nrrd").write_bytes(content)
    with pytest.raises(InputError, match="more values than its header counts"):
        nrrd.read(folder)


HEADERS = {
    "elsewhere": ("data file: /etc/passwd\n", "in another file or place"),
    "lines": ("line skip: 1000000000\n", "in another file or place"),
    "layer": ("Segment0_Name:=nerve\nSegment0_Layer:=3\n", "a layer that is not there"),
    "fractions": (
        "Segmentation_SourceRepresentation:=Fractional labelmap\n",
        "a fractional segmentation",
    ),
    "beyond": (
        "Segment0_Name:=nerve\nSegmentation_ReferenceImageExtentOffset:=3 0 0\n",
        "reaches beyond its frame of 6x4 px by 3.0 px",
    ),
    "before": (
        "Segment0_Name:=nerve\nSegmentation_ReferenceImageExtentOffset:=-2 0 0\n",
        "reaches beyond its frame",
    ),
    "no number": (
        "Segment0_Name:=nerve\nSegment0_LabelValue:=one\n",
        "invalid literal",
    ),
    "alike": ("Segment0_Name:=nerve\nSegment1_Name:=Nerve\n", "both structure nerve"),
    "unnamed": (
        "Segment0_Name:=nerve\nSegment0_LabelValue:=7\n",
        "no name for value 1",
    ),
}


@pytest.mark.parametrize(("lines", "message"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_does_not_fit_is_refused(folder, lines, message):
    text = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 6 4\nencoding: raw\n"
    content = f"{text}{lines}\n".encode() + bytes([1] + [0] * 23)
    (folder / "labels/p1.nrrd").write_bytes(content)
    with pytest.raises(InputError, match=message):
        nrrd.read(folder)


@pytest.mark.parametrize("read", [nifti.read, nrrd.read])
def test_a_folder_without_a_volume_is_refused(folder, read):
    with pytest.raises(InputError, match="no .* file there"):
        read(folder)


@pytest.mark.parametrize(("format_", "ending"), [("nifti", ".nii"), ("nrrd", ".nrrd")])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_one_wrong_byte_is_refused_or_read(folder, format_, ending, data):
    read, save, _ = SAVE[format_]
    path = folder / f"labels/p1{ending}"
    header = {"encoding": "raw"} | segment(0, "nerve", LabelValue=1, Layer=0)
    header |= segment(1, "vessel", LabelValue=2, Layer=0)
    save(path, VALUES.T[..., None], **(header if format_ == "nrrd" else {}))
    path.write_bytes(data.draw(flipped(path.read_bytes(), 600)))
    with contextlib.suppress(InputError):
        assert [one.size for one in read(folder)] == [SIZE]
