"""A bucket, played by a folder: what is asked of it goes through etils.epath as gs://."""

import json
import os
import pathlib
import sys

import numpy as np
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from configs import unet
from nerve_jax.commands import setup
from nerve_jax.data import records
from nerve_jax.system import claims, files, locks
from nerve_jax.system.errors import InputError


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The folder that stands for gs://bucket; one for all, for etils keeps it."""
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "bucket").mkdir()

    class Buckets(DirFileSystem):
        protocol = ("gcs", "gs")

        def __init__(self, **_):
            super().__init__(str(folder), LocalFileSystem(auto_mkdir=True))

        @classmethod
        def _strip_protocol(cls, path):
            return str(path).removeprefix("gs://").removeprefix("gcs://")

    with pytest.MonkeyPatch.context() as patched:
        for protocol in ("gcs", "gs"):
            known = sys.modules["fsspec.registry"]._registry
            patched.setitem(known, protocol, Buckets)
        yield folder / "bucket"


def test_files_in_a_bucket_are_written_read_and_grown(bucket):
    folder = files.open_path("gs://bucket/runs/one", "--workdir")
    files.write_json(folder / "a.json", {"x": 1})
    assert json.loads((bucket / "runs/one/a.json").read_text()) == {"x": 1}
    files.write_table(folder / "t.csv", ("frame", "n"), [("a,b", 1)])
    assert files.read_table(folder / "t.csv") == [{"frame": "a,b", "n": "1"}]
    files.write_array(folder / "p.npy", np.arange(3.0))
    np.testing.assert_array_equal(files.read_array(folder / "p.npy"), np.arange(3.0))
    files.append_line(folder / "log", "one")
    files.append_line(folder / "log", "two")
    assert (bucket / "runs/one/log").read_text() == "one\ntwo\n"
    assert files.create_whole(folder / "once", "a")
    assert not files.create_whole(folder / "once", "b")
    assert (bucket / "runs/one/once").read_text() == "a"


def test_a_lock_in_a_bucket_keeps_others_out(bucket):
    path = files.open_path("gs://bucket/runs/one/lock", "--workdir")
    with (
        locks.hold(path),
        pytest.raises(InputError, match=f"process {os.getpid()}"),
        locks.hold(path),
    ):
        pass
    assert not path.exists()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "time": 5}))
    with locks.hold(path):
        locks.check(path)


def test_records_are_prepared_once_and_fetched_ever_after(
    bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = unet.get_config()
    config.data.records_dir = "gs://bucket/records"
    config.data.phantom.num_subjects, config.data.phantom.frames_per_subject = 2, 2
    first = setup.load_frames(config, "train")
    assert list(bucket.rglob("dataset_info.json"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another_machine"))
    monkeypatch.setattr(
        records.Builder,
        "_generate_phantom",
        lambda *_: pytest.fail("prepared again"),
    )
    second = setup.load_frames(config, "train")
    np.testing.assert_array_equal(first.images, second.images)
    assert pathlib.Path(tmp_path / "another_machine").exists()


def test_a_folder_on_disk_is_used_as_it_is(tmp_path):
    assert records.choose_local(str(tmp_path)) == str(tmp_path)
    records.fetch(tmp_path / "a", str(tmp_path))
    records.publish(tmp_path / "a", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_prepared_records_do_without_the_raw_files(
    place, bucket, tmp_path, monkeypatch, write_folder, blob_frames
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = unet.get_config()
    config.data.name = "ultrasound_nerve/folder"
    config.data.records_dir = (
        str(tmp_path / "r") if place == "disk" else "gs://bucket/raw"
    )
    with pytest.raises(InputError, match="manual_dir=FOLDER"):
        setup.load_frames(config, "train")
    config.data.manual_dir = str(write_folder(blob_frames(2, 3)))
    first = setup.load_frames(config, "train")
    config.data.manual_dir = ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another_machine"))
    second = setup.load_frames(config, "train")
    np.testing.assert_array_equal(first.images, second.images)
    assert first.fingerprint == second.fingerprint
    config.data.manual_dir = str(write_folder(blob_frames(3, 2)))
    setup.load_frames(config, "train")
    config.data.manual_dir = ""
    with pytest.raises(InputError, match="2 sets of files"):
        setup.load_frames(config, "train")


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_of_several_versions_the_newest_is_found(place, bucket, tmp_path):
    folder = tmp_path / "r" if place == "disk" else bucket / "r"
    where = str(folder) if place == "disk" else "gs://bucket/r"
    for version in ("1.0.0", "1.2.0", "1.10.0", "1.9.1", "1.10.0.lock", "notes"):
        inside = folder / "ultrasound_nerve" / "folder-0123456789ab" / version
        inside.mkdir(parents=True)
        (inside / records.LAST_FILE).write_text("{}")
    found = records.find_prepared("ultrasound_nerve/folder", where)
    assert found.as_posix().endswith("ultrasound_nerve/folder-0123456789ab/1.10.0")


def test_records_that_are_still_being_published_are_not_fetched(bucket, tmp_path):
    half = bucket / "half/ultrasound_nerve/x-1/1.0.0"
    half.mkdir(parents=True)
    (half / "part.array_record").write_bytes(b"1")
    local = pathlib.Path(records.choose_local("gs://bucket/half"))
    records.fetch(local / "ultrasound_nerve/x-1/1.0.0", "gs://bucket/half")
    assert not (local / "ultrasound_nerve/x-1/1.0.0").exists()


def test_a_folder_in_a_bucket_is_claimed_and_files_of_others_stay(bucket):
    folder = files.open_path("gs://bucket/claimed", "--workdir")
    claims.check_folder(folder, ("a.json",), flag="--workdir")
    claims.claim(folder, "train", ("a.json",), flag="--workdir")
    (folder / "a.json").write_text("ours")
    claims.check_folder(folder, ("a.json",), flag="--workdir")
    (folder / "b.json").write_text("mine")
    with pytest.raises(InputError, match="overwrite b.json"):
        claims.check_folder(folder, ("b.json",), flag="--workdir")
