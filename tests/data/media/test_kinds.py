"""What a file is: its content says so, and its ending where that says nothing."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, uid

from nerve_jax.commands.importing import import_folder
from nerve_jax.data import media
from nerve_jax.data.frames_folder import list_media
from nerve_jax.system.errors import InputError
from tests.data.media.making import speckle, write_dicom
from tests.data.media.test_dicom import load, predict, save_mask


def write_directory(path):
    """A DICOMDIR, as far as readers tell it apart."""
    header = dcmread(write_dicom(path, speckle()))
    header.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    header.SOPClassUID = uid.MediaStorageDirectoryStorage
    header.save_as(path)
    return path


@pytest.mark.parametrize(
    "name", ["IM_0001", "1.2.840.113619.2", "a.dcm", "a.IMA", "a.png", "a.mp4", "a.7"]
)
def test_dicom_by_content(tmp_path, name):
    path = write_dicom(tmp_path / name, speckle())
    assert media.find_kind(path) == "dicom"
    assert media.describe(path).kind == "dicom"


def test_a_class_that_is_mentioned_elsewhere_makes_no_directory(tmp_path):
    path = write_dicom(tmp_path / "a", speckle(), StudyID="1.2.840.10008.1.3.10")
    assert media.find_kind(path) == "dicom"
    assert media.find_kind(write_directory(tmp_path / "b")) == "dicomdir"
    with pytest.raises(InputError, match="a DICOMDIR, which lists other files"):
        media.describe(tmp_path / "b")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.dcm", "dicom"),
        ("a.png", "picture"),
        ("a.mp4", "video"),
        ("a.gif", "stack"),
        ("a", ""),
        ("notes.txt", ""),
    ],
)
def test_an_ending_does_where_there_is_no_content(tmp_path, name, kind):
    """So that the file is named, and not passed over."""
    (tmp_path / name).touch()
    assert media.find_kind(tmp_path / name) == kind
    assert media.find_kind(tmp_path / "not there" / name) == kind


def test_what_cannot_be_opened(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "a.dcm", speckle())
    other = write_dicom(tmp_path / "b.dcm", speckle())

    def deny(self, *args, **more):
        if self.name == "a.dcm":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **more)

    real = Path.open
    monkeypatch.setattr(Path, "open", deny)
    assert media.find_kind(path) == "dicom"
    listed = list_media(tmp_path)
    assert [medium.path for medium in listed.media] == [other]
    assert listed.errors == [("a.dcm", "Permission denied")]


@pytest.mark.parametrize("name", ["a.dcm", "a.mp4", "a.png", "a.gif", "a"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    media.find_kind(tmp_path / name)
    with pytest.raises(OSError, match="not a file"):
        media.describe(tmp_path / name)


@pytest.mark.parametrize(
    "name, stem",
    [
        ("IM_0001", "IM_0001"),
        ("1.2.840.7", "1.2.840.7"),
        ("1.2.840.dcm", "1.2.840"),
        ("a.b.PNG", "a.b"),
        ("scan.IMA", "scan"),
        (".dcm", ".dcm"),
    ],
)
def test_names(name, stem):
    assert media.name_of(Path(name)) == stem


def test_a_directory_alone_is_an_error(tmp_path):
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    write_directory(folder / "images" / "DICOMDIR")
    with pytest.raises(InputError, match="no frames.*DICOMDIR"):
        predict(folder, tmp_path / "out")
    with pytest.raises(InputError, match="no picture, DICOM file or clip"):
        import_folder(folder, tmp_path / "out")
    with pytest.raises(InputError, match="DICOM file or clip there"):
        load(folder, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_directory_beside_frames_is_passed_over(tmp_path, capsys):
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    write_directory(folder / "images" / "DICOMDIR")
    write_dicom(folder / "images" / "IM_0001", speckle())
    assert predict(folder, tmp_path / "out") == 1
    assert "1 DICOMDIR" in capsys.readouterr().out
    assert load(folder, tmp_path).frames == ("IM_0001",)
    results = import_folder(folder, tmp_path / "imported")
    assert [result.source.shown for result in results] == ["images/IM_0001"]


@pytest.mark.parametrize("name", ["gdcm", "pydicom", "av"])
def test_pictures_need_none_of_the_extras(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    Image.fromarray(speckle()[0]).save(folder / "images" / "p_1.png")
    save_mask(folder / "masks" / "p_1.png", (40, 56))
    assert predict(folder, tmp_path / "out") == 1
    assert load(folder, tmp_path).frames == ("p_1",)
    if name == "pydicom":
        path = write_dicom(folder / "images" / "IM_0001", speckle())
        with pytest.raises(InputError, match=r"pip install .nerve_jax\[dicom\]"):
            media.describe(path)


def test_the_brightest_of_files_of_8_bits_is_not_looked_for(tmp_path):
    path = write_dicom(tmp_path / "a", speckle())
    assert media.read_brightest(media.describe(path)) == 0
    deep = np.full((4, 6), 900, np.uint16)
    Image.fromarray(deep).save(tmp_path / "b.png")
    assert media.read_brightest(media.describe(tmp_path / "b.png")) == 900
