"""All that a scanner exports: listed once, under names that name nobody."""

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data.exports import HIDDEN, list_exports
from nerve_jax.system.errors import InputError
from tests.data.media.making import write_dicom
from tests.samples import texture


def test_exports_in_other_folders_are_named_and_not_imported(tmp_path):
    for part in ("DICOM", "BMP", "MP4"):
        (tmp_path / part).mkdir()
    clip = np.stack([texture(seed) for seed in range(4)])
    write_dicom(tmp_path / "DICOM" / "IM_0001", texture(7)[None])
    write_dicom(tmp_path / "DICOM" / "IM_0002", clip)
    Image.fromarray(texture(7)).save(tmp_path / "BMP" / "IM_0001.bmp")
    pictures = [Image.fromarray(frame) for frame in clip]
    whole = {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(tmp_path / "MP4" / "IM_0002.gif", **whole)
    (tmp_path / "readme.txt").write_text("text")
    found = {source.shown: source for source in list_exports(tmp_path)}
    assert {name: source.reason for name, source in found.items()} == {
        "BMP/IM_0001.bmp": "shows what DICOM/IM_0001 shows",
        "DICOM/IM_0001": "",
        "DICOM/IM_0002": "",
        "MP4/IM_0002.gif": "shows what DICOM/IM_0002 shows",
    }
    assert not any(source.is_broken for source in found.values())
    assert found["DICOM/IM_0001"].place == "DICOM"


@pytest.mark.parametrize(
    "name",
    [
        "Doelle.dcm",
        "DOELLE_JANINA_1.png",
        "JaninaDoelle.png",
        "doelle1.png",
        "janina-01.png",
        "x_4711.dcm",
        "MRN4711.png",
    ],
)
def test_names_of_people_in_names_of_files_are_hidden(tmp_path, name):
    """Also in names of other files than the one whose header says who it is."""
    (tmp_path / "Janina").mkdir()
    write_dicom(tmp_path / "Janina" / "IM_0001", texture(1)[None])
    if name.endswith(".dcm"):
        write_dicom(tmp_path / name, texture(2)[None])
    else:
        Image.fromarray(texture(2)).save(tmp_path / name)
    for source in list_exports(tmp_path):
        text = (source.shown + source.name + source.reason).casefold()
        assert "doelle" not in text
        assert "janina" not in text
        assert "4711" not in text
    assert f"{HIDDEN}/IM_0001" in [s.shown for s in list_exports(tmp_path)]


def test_short_names_hide_words_and_no_parts(tmp_path):
    write_dicom(tmp_path / "Li", texture(1)[None], PatientName="Li^Ann")
    write_dicom(tmp_path / "Linear_scanner", texture(2)[None], PatientName="Li^Ann")
    write_dicom(tmp_path / "ann7", texture(3)[None], PatientName="Li^Ann")
    shown = [source.shown for source in list_exports(tmp_path)]
    assert shown == [HIDDEN, "Linear_scanner", HIDDEN]


def test_names_are_unique(tmp_path):
    for place, folder in enumerate(("a", "b", "c")):
        (tmp_path / folder).mkdir()
        write_dicom(
            tmp_path / folder / ("im_1", "IM_1")[place % 2], texture(place)[None]
        )
    names = [source.name for source in list_exports(tmp_path)]
    assert names == ["im_1", "IM_1-2", "im_1-3"]


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"")
    write_dicom(tmp_path / "b", texture(1)[None], PixelData=None)
    write_dicom(tmp_path / "c\n", texture(1)[None])
    a, b, c = list_exports(tmp_path)
    assert a.is_broken
    assert b.is_broken
    assert "without pixels" in b.reason
    assert (c.shown, c.is_broken) == ("c\\n", False)


def test_no_folder_and_no_frames(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        list_exports(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(InputError, match="no picture, DICOM file or clip"):
        list_exports(tmp_path)
    with pytest.raises(InputError, match="name the folder it lies in"):
        list_exports(tmp_path / "notes.txt")
