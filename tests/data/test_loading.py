import json
import os

import numpy as np
import pytest

from nerve_jax.data import loading
from nerve_jax.data.loading import compute_digest, load_examples
from nerve_jax.data.records import create_builder

COLUMNS = {
    "images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "frames": ("a", "b"),
}


def test_columns_come_back_mapped_into_memory(tmp_path):
    folder = tmp_path / "resized" / "train"
    assert loading.read_cache(folder) is None
    loading.write_cache(folder, COLUMNS)
    found = loading.read_cache(folder)
    assert isinstance(found["images"], np.memmap)
    np.testing.assert_array_equal(found["images"], COLUMNS["images"])
    assert found["frames"] == ("a", "b")
    assert os.listdir(tmp_path / "resized") == ["train"]


def test_what_another_version_kept_is_made_anew(tmp_path):
    folder = tmp_path / "train"
    loading.write_cache(folder, COLUMNS)
    texts = json.loads((folder / "texts.json").read_text())
    (folder / "texts.json").write_text(json.dumps(texts | {"version": 0}))
    assert loading.read_cache(folder) is None
    loading.write_cache(folder, COLUMNS)
    assert loading.read_cache(folder)["frames"] == ("a", "b")


@pytest.mark.parametrize("name", ["texts.json", "images.npy"])
@pytest.mark.parametrize("left", [None, 0, 20])
def test_what_is_damaged_is_made_anew(tmp_path, name, left):
    folder = tmp_path / "train"
    loading.write_cache(folder, COLUMNS)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if left is not None:
        (folder / name).write_bytes(content[:left])
    assert loading.read_cache(folder) is None
    loading.write_cache(folder, COLUMNS)
    assert loading.read_cache(folder)["frames"] == ("a", "b")


def test_where_nothing_can_be_kept_nothing_is_left(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", full)
    loading.write_cache(tmp_path / "deep" / "train", COLUMNS)
    assert os.listdir(tmp_path / "deep") == []
    (tmp_path / "file").touch()
    loading.write_cache(tmp_path / "file" / "train", COLUMNS)


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


def test_digests_tell_pixels_and_sizes_apart():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert compute_digest(image) == compute_digest(image.copy())
    assert compute_digest(image) != compute_digest(image.reshape(4, 3))
    assert compute_digest(image) != compute_digest(image + np.uint8(1))
