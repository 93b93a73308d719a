"""Exports of DICOM files: found, whatever the format, and no other picture taken for one."""

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import media
from nerve_jax.data.copies import find_copies
from tests.data.media.making import write_dicom
from tests.samples import texture


def describe(folder):
    return [media.describe(path) for path in sorted(folder.iterdir())]


def names(copies):
    return {copy.name: original.name for copy, original in copies.items()}


@pytest.mark.parametrize(
    "name, options", [("a.bmp", {}), ("a.png", {}), ("a.jpg", {"quality": 50})]
)
def test_pictures_of_the_same_frame(tmp_path, name, options):
    shown = [texture(seed) for seed in range(3)]
    for place, image in enumerate(shown):
        write_dicom(tmp_path / f"IM_{place}", image[None])
    Image.fromarray(shown[1]).save(tmp_path / name, **options)
    Image.fromarray(texture(9)).save(tmp_path / "other.png")
    assert names(find_copies(describe(tmp_path))) == {name: "IM_1"}


def test_scaled_and_coloured_copies(tmp_path):
    image = texture(1)
    write_dicom(tmp_path / "IM_1", image[None].repeat(3).reshape(1, 96, 128, 3), "RGB")
    Image.fromarray(image).resize((160, 120)).save(tmp_path / "larger.png")
    assert names(find_copies(describe(tmp_path))) == {"larger.png": "IM_1"}


def test_a_picture_of_a_clip_is_no_copy_of_it(tmp_path):
    frames = np.stack([texture(seed) for seed in range(3)])
    write_dicom(tmp_path / "IM_1", frames)
    Image.fromarray(frames[0]).save(tmp_path / "still.png")
    assert not find_copies(describe(tmp_path))


@pytest.mark.parametrize("length, is_copy", [(9, True), (7, True), (5, False)])
def test_a_clip_may_lack_a_frame_or_two(tmp_path, length, is_copy):
    frames = np.stack([texture(seed) for seed in range(9)])
    write_dicom(tmp_path / "IM_1", frames)
    pictures = [Image.fromarray(frame) for frame in frames[:length]]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    assert bool(find_copies(describe(tmp_path))) == is_copy


def test_the_next_frame_of_a_sweep_is_no_copy(tmp_path):
    """Alike, but for what has moved meanwhile; and of two alike the nearest is meant."""
    image, later = texture(1), texture(1)
    later[30:50, 40:70] = texture(2)[30:50, 40:70]
    write_dicom(tmp_path / "IM_1", image[None])
    Image.fromarray(later).save(tmp_path / "later.png")
    assert not find_copies(describe(tmp_path))
    write_dicom(tmp_path / "IM_2", later[None])
    assert names(find_copies(describe(tmp_path))) == {"later.png": "IM_2"}


def test_nothing_to_compare(tmp_path):
    """Plain frames are all alike; two DICOM files are two recordings."""
    image = texture(1)
    write_dicom(tmp_path / "IM_1", image[None])
    write_dicom(tmp_path / "IM_2", image[None])
    assert not find_copies(describe(tmp_path))
    write_dicom(tmp_path / "IM_3", np.zeros((1, 96, 128), np.uint8))
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(tmp_path / "black.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    assert not find_copies(describe(tmp_path))
    assert not find_copies([])
