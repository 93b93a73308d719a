import io

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data.frames import read_image
from nerve_jax.data.labels import read_label, read_mask

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encode(array, kind="PNG", **options):
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_8_bit_grey_is_kept(kind):
    np.testing.assert_array_equal(read_image(encode(GREY, kind)), GREY)


def test_jpeg_is_read():
    smooth = np.full((16, 16), 100, np.uint8)
    assert np.abs(read_image(encode(smooth, "JPEG")).astype(int) - 100).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_is_divided_by_257(kind):
    deep = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(encode(deep, kind)), GREY)


def test_rgb_saved_as_grey_and_palettes_become_grey():
    np.testing.assert_array_equal(read_image(encode(np.stack([GREY] * 3, -1))), GREY)
    paletted = Image.fromarray(GREY).convert("P")
    np.testing.assert_array_equal(read_image(encode(paletted)), GREY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be decoded"),
        (b"not an image", "cannot be decoded"),
        (encode(NOISE)[:2000], "cannot be decoded"),
        (encode(GREY.astype(np.float32), "TIFF"), "floating-point"),
        (encode(GREY.astype(np.int32) * 70000, "TIFF"), "not 16 bit"),
    ],
    ids=["empty", "text", "truncated", "float", "32 bit"],
)
def test_what_is_no_frame_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_image(content)


@pytest.mark.parametrize("high", [1, 255])
def test_masks_of_two_values(high):
    mask = GREY > 100
    np.testing.assert_array_equal(read_mask(encode(mask * np.uint8(high))), mask)
    rgb = np.stack([mask * np.uint8(high)] * 3, -1)
    np.testing.assert_array_equal(read_mask(encode(rgb)), mask)
    np.testing.assert_array_equal(read_mask(encode(Image.fromarray(mask))), mask)
    assert not read_mask(encode(mask * np.uint8(0))).any()


@pytest.mark.parametrize("values", [(0, 2), (0, 1, 255), (0, 128, 255), (7,)])
def test_masks_of_other_values_are_refused(values):
    mask = np.array(values, np.uint8)[GREY % len(values)]
    with pytest.raises(ValueError, match=f"mask values {values[0]}"):
        read_mask(encode(mask))


def test_a_coloured_mask_is_refused():
    with pytest.raises(ValueError, match="coloured"):
        read_mask(encode(np.stack([GREY, GREY * 0, GREY], -1)))


def test_a_label_map_shows_each_structure_that_has_a_value():
    classes = (GREY % 3).astype(np.uint8)
    values = {"nerve": 1, "vessel": 2}
    label = read_label(encode(classes), values)
    np.testing.assert_array_equal(label.masks["nerve"], classes == 1)
    np.testing.assert_array_equal(label.masks["vessel"], classes == 2)
    with pytest.raises(ValueError, match="values without a name: 3; named are 1, 2"):
        read_label(encode((GREY % 4).astype(np.uint8)), values)
