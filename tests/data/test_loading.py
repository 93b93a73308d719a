import json
import os
import tracemalloc

import numpy as np
import pytest

from nerve_jax.data import loading
from nerve_jax.data.columns import fill
from nerve_jax.data.loading import load_examples
from nerve_jax.data.records import create_builder

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
ROWS = [
    {"images": image, "frames": frame, "labelled": np.bool_(True)}
    for image, frame in zip(IMAGES, "ab", strict=True)
]


def keep(folder):
    loading.write_cache(folder, ROWS, 2)


def test_columns_come_back_mapped_into_memory(tmp_path):
    folder = tmp_path / "resized" / "train"
    assert loading.read_cache(folder) is None
    keep(folder)
    found = loading.read_cache(folder)
    assert isinstance(found["images"], np.memmap)
    for columns in (found, fill(ROWS, 2)):
        np.testing.assert_array_equal(columns["images"], IMAGES)
        np.testing.assert_array_equal(columns["labelled"], [True, True])
        assert columns["images"].dtype == np.uint8
        assert columns["labelled"].dtype == bool
        assert columns["frames"] == ("a", "b")
    assert os.listdir(tmp_path / "resized") == ["train"]


def test_what_another_version_kept_is_made_anew(tmp_path):
    folder = tmp_path / "train"
    keep(folder)
    texts = json.loads((folder / "texts.json").read_text())
    (folder / "texts.json").write_text(json.dumps(texts | {"version": 0}))
    assert loading.read_cache(folder) is None
    keep(folder)
    assert loading.read_cache(folder)["frames"] == ("a", "b")


@pytest.mark.parametrize("name", ["texts.json", "images.npy"])
@pytest.mark.parametrize("left", [None, 0, 20])
def test_what_is_damaged_is_made_anew(tmp_path, name, left):
    folder = tmp_path / "train"
    keep(folder)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if left is not None:
        (folder / name).write_bytes(content[:left])
    assert loading.read_cache(folder) is None
    keep(folder)
    assert loading.read_cache(folder)["frames"] == ("a", "b")


def test_where_nothing_can_be_kept_nothing_is_left(tmp_path):
    def full_disk():
        yield ROWS[0]
        raise OSError("disk full")

    loading.write_cache(tmp_path / "deep" / "train", full_disk(), 2)
    assert os.listdir(tmp_path / "deep") == []
    (tmp_path / "file").touch()
    keep(tmp_path / "file" / "train")


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_whoever_may_read_the_records_may_read_what_is_kept(tmp_path, umask):
    before = os.umask(umask)
    try:
        keep(tmp_path / "resized" / "train")
    finally:
        os.umask(before)
    for path in (tmp_path / "resized").rglob("*"):
        allowed = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == allowed & ~umask, path


def peak_of(function):
    """Bytes held at most while a function runs."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_frames_are_held_once_in_memory_and_not_at_all_where_they_are_kept(tmp_path):
    count, shape = 200, (64, 64)

    def make_rows():
        for place in range(count):
            yield {"images": np.full(shape, place, np.uint8), "frames": f"f{place}"}

    whole = count * shape[0] * shape[1]
    in_memory = peak_of(lambda: fill(make_rows(), count))
    assert whole <= in_memory < 1.2 * whole
    kept = peak_of(lambda: loading.write_cache(tmp_path / "c", make_rows(), count))
    assert kept < 0.2 * whole
    found = loading.read_cache(tmp_path / "c")
    np.testing.assert_array_equal(found["images"][:, 3, 5], np.arange(count))


def test_on_a_read_only_disk_frames_are_the_same(
    tmp_path, write_folder, blob_frames, monkeypatch
):
    builder = create_builder(
        "ultrasound_nerve/folder",
        manual_dir=str(write_folder(blob_frames(3, 2))),
        records_dir=str(tmp_path / "records"),
    )
    kept = load_examples(builder, "train", (24, 32))
    assert list(kept.frames) == sorted(kept.frames)
    monkeypatch.setattr(loading, "read_cache", lambda _: None)
    monkeypatch.setattr(loading, "write_cache", lambda *_: None)
    read = load_examples(builder, "train", (24, 32))
    for name, values in kept.columns().items():
        np.testing.assert_array_equal(getattr(read, name), values)


def test_frames_are_decoded_once_and_are_the_same_ever_after(
    tmp_path, write_folder, blob_frames, monkeypatch
):
    builder = create_builder(
        "ultrasound_nerve/folder",
        manual_dir=str(write_folder(blob_frames(3, 2))),
        records_dir=str(tmp_path / "records"),
    )
    first = load_examples(builder, "train", (24, 32))

    def decode(*_):
        pytest.fail("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(loading, "_decode", decode)
        second = load_examples(builder, "train", (24, 32))
    for name in ("images", "masks", "sizes", "spacing_mm", "records", "thumbnails"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.truths, first.digests) == (second.truths, second.digests)
    np.testing.assert_array_equal(first.original(3), second.original(3))
    smaller = load_examples(builder, "train", (12, 16))
    assert smaller.images.shape[1:] == (12, 16)
