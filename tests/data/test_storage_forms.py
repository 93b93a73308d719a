"""The same frame and the same mask in every form of storage that Pillow writes."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from nerve_jax.data.frames import (
    find_bits,
    read_brightest,
    read_grey,
    read_image,
)
from nerve_jax.data.labels import TURNS, Label, read_label, read_mask, turn_with_frame
from nerve_jax.data.structures import NERVE

Y, X = np.mgrid[:24, :32]
GREY = (Y * 4 + X * 5 % 256).astype(np.uint8)
MASK = np.hypot(Y - 10, X - 20) < 6
WHITE = MASK * np.uint8(255)
ONE = {NERVE: None}  # any mark of one structure
DEEP = GREY.astype(np.uint16) * 257


def encode(picture, kind="PNG", **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png(depth, colour_type, rows):
    """A PNG as no encoder here writes it, from packed rows."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    width = len(rows[0]) * 8 // (depth * {0: 1, 2: 3, 4: 2, 6: 4}[colour_type])
    head = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def white_is_zero(array):
    """A TIFF whose values are turned round, and whose tag says so."""
    content = bytearray(encode(array, "TIFF"))
    entry = content.find(struct.pack("<HHI", 262, 3, 1))
    content[entry + 8] = 0
    return bytes(content)


def signed(array):
    content = bytearray(encode(array, "TIFF", tiffinfo={339: 2}))
    return bytes(content)


def palette(shown, colours, kind="PNG"):
    """Indices into `colours`, of an array of their positions."""
    picture = Image.fromarray(shown.astype(np.uint8), "P")
    picture.putpalette([value for colour in colours for value in colour])
    return encode(picture, kind)


def with_alpha(colour, alpha):
    return encode(np.dstack([colour, alpha]))


def mode(name):
    return Image.fromarray(GREY).convert("RGB").convert(name)


REVERSED = [(255 - i,) * 3 for i in range(256)]
OPAQUE, RGB = np.full_like(GREY, 255), np.dstack([GREY] * 3)
FRAMES = {
    **{f"L {kind}": encode(GREY, kind) for kind in ("PNG", "TIFF", "BMP")},
    **{f"RGB {kind}": encode(RGB, kind) for kind in ("PNG", "TIFF", "BMP")},
    "LA": with_alpha(GREY, OPAQUE),
    "RGBA": with_alpha(RGB, OPAQUE),
    "P": palette(255 - GREY, REVERSED),
    "P TIFF": palette(255 - GREY, REVERSED, "TIFF"),
    "P BMP": palette(255 - GREY, REVERSED, "BMP"),
    "PA": encode(Image.fromarray(GREY).convert("PA"), "TIFF"),
    "I;16": encode(DEEP),
    "I;16 TIFF": encode(DEEP, "TIFF"),
    "I;16B": encode(
        Image.frombytes("I;16B", GREY.shape[::-1], DEEP.astype(">u2").tobytes()), "TIFF"
    ),
    "I": encode(DEEP.astype(np.int32), "TIFF"),
    "CMYK": encode(mode("CMYK"), "TIFF"),
    "YCbCr": encode(mode("YCbCr"), "TIFF"),
    "white is zero": white_is_zero(255 - GREY),
    "white is zero, 16 bit": white_is_zero(65535 - DEEP),
}


@pytest.mark.parametrize("form", FRAMES)
def test_a_frame_is_the_same_in_every_form(form):
    found = read_image(FRAMES[form]).astype(int)
    assert np.abs(found - GREY).max() <= (form in ("YCbCr", "CMYK"))


@pytest.mark.parametrize("kind", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_nearly_the_same(kind):
    found = read_image(encode(mode(kind), "JPEG", quality=95)).astype(int)
    assert np.abs(found - GREY).mean() < 3


@pytest.mark.parametrize(("depth", "step"), [(1, 255), (2, 85), (4, 17)])
def test_few_bits_reach_white(depth, step):
    values = np.arange(16) % 2**depth
    bits = "".join(f"{value:0{depth}b}" for value in values)
    row = int(bits, 2).to_bytes(len(bits) // 8, "big")
    np.testing.assert_array_equal(read_image(png(depth, 0, [row]))[0], values * step)


def test_what_is_transparent_is_shown_on_black():
    half = np.where(MASK, 255, 0).astype(np.uint8)
    shown = np.where(MASK, GREY, 0)
    np.testing.assert_array_equal(read_image(with_alpha(GREY, half)), shown)
    np.testing.assert_array_equal(read_image(with_alpha(RGB, half)), shown)


REFUSED = {
    "alpha alone": (with_alpha(OPAQUE, GREY), "alpha channel"),
    "alpha hides": (with_alpha(GREY, GREY * 0), "alpha channel"),
    "float": (encode(GREY.astype(np.float32), "TIFF"), "floating-point"),
    "negative": (encode(GREY.astype(np.int32) - 5, "TIFF"), "-5 to .* without sign"),
    "signed bytes": (signed(GREY), "signed 8-bit"),
    "32 bit": (encode(GREY.astype(np.int32) * 70000, "TIFF"), "not 16 bit"),
    "16-bit colour": (png(16, 2, [bytes(range(12))] * 2), "16-bit colour"),
    "16-bit grey and alpha": (png(16, 4, [bytes(range(8))] * 2), "16-bit colour"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_would_lose_its_meaning_is_refused(form):
    content, message = REFUSED[form]
    with pytest.raises(ValueError, match=message):
        read_image(content)


@pytest.mark.parametrize(
    ("brightest", "bits"),
    [(0, 0), (1, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14)]
    + [(16383, 14), (16384, 16), (65535, 16)],
)
def test_the_bits_are_the_fewest_that_scanners_use(brightest, bits):
    assert find_bits(brightest) == bits


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_white_of_any_depth_becomes_255(bits):
    deep = np.rint(GREY / 255 * (2**bits - 1)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    content = encode(deep, "TIFF")
    assert find_bits(read_brightest(content)) == bits
    expected = GREY.copy()
    expected[0, 0] = 255
    np.testing.assert_array_equal(read_image(content, bits), expected)


def test_the_range_of_8_bit_frames_is_known():
    assert read_brightest(encode(GREY)) == 0
    assert read_grey(encode(GREY)).brightest == 0


def smooth(values):
    """Edges as a program draws them that counts how much of a pixel is inside."""
    fine = np.hypot(*(np.mgrid[:192, :256] / 8 - 0.4375 - [[[10]], [[20]]])) < 5.95
    share = fine.reshape(24, 8, 32, 8).mean((1, 3))
    return np.rint(share[..., None] * values).astype(np.uint8).squeeze()


RED, GREEN = np.zeros((2, *MASK.shape, 3), np.uint8)
RED[MASK], GREEN[MASK] = (255, 0, 0), (0, 255, 0)
BLACK = np.zeros_like(WHITE)
MASKS = {
    "1": encode(MASK),
    **{f"0 and 255, {kind}": encode(WHITE, kind) for kind in ("PNG", "TIFF", "BMP")},
    "0 and 1": encode(MASK * np.uint8(1)),
    "0 and 65535": encode(MASK * np.uint16(65535)),
    "0 and 255 in 16 bit": encode(MASK * np.uint16(255)),
    "float": encode(MASK.astype(np.float32), "TIFF"),
    "RGB": encode(np.dstack([WHITE] * 3)),
    "palette, white first": palette(~MASK, [(255, 255, 255), (0, 0, 0)]),
    "palette, white last": palette(MASK, [(0, 0, 0), (255, 255, 255)]),
    "palette, black twice": palette(MASK * 2, [(0, 0, 0), (0, 0, 0), (255, 255, 255)]),
    "palette, white first, TIFF": palette(~MASK, [(255,) * 3, (0,) * 3], "TIFF"),
    "palette, red": palette(MASK, [(0, 0, 0), (255, 0, 0)]),
    "red on black": encode(RED),
    "alpha of white": with_alpha(np.dstack([OPAQUE] * 3), WHITE),
    "alpha of black": with_alpha(BLACK, WHITE),
    "red on nothing": with_alpha(RED, WHITE // 2),
    "opaque": with_alpha(WHITE, OPAQUE),
    "half opaque": with_alpha(WHITE, OPAQUE // 2),
    "white is zero": white_is_zero(255 - WHITE),
    "white is zero, 1 bit": white_is_zero(~MASK),
    "white is zero, 16 bit": white_is_zero((~MASK) * np.uint16(65535)),
    **{f"0 and {value}": encode(MASK * np.uint8(value)) for value in (85, 128, 200)},
    "0 and 40000": encode(MASK * np.uint16(40000)),
    "yellow palette": palette(MASK, [(0, 0, 0), (200, 190, 0)]),
    "JPEG of 128": encode(MASK * np.uint8(128), "JPEG", quality=90),
    "JPEG of red": encode(RED, "JPEG", quality=95, subsampling=0),
    "JPEG of grey-blue": encode(MASK[..., None] * np.uint8((90, 120, 200)), "JPEG"),
    **{
        f"soft edges of {values}": encode(smooth(values))
        for values in ((255,), (128,), (255, 0, 0), (40, 200, 90))
    },
    "JPEG 90": encode(WHITE, "JPEG", quality=90),
    "JPEG 75": encode(np.dstack([WHITE] * 3), "JPEG", quality=75),
    "JPEG saved as PNG": encode(
        np.asarray(Image.open(io.BytesIO(encode(WHITE, "JPEG", quality=80))))
    ),
}


@pytest.mark.parametrize("form", MASKS)
def test_a_mask_is_the_same_in_every_form(form):
    label = read_label(MASKS[form], ONE)
    np.testing.assert_array_equal(label.masks[NERVE], MASK)
    assert label.is_cut == form.startswith(("JPEG", "soft"))


EMPTY = {
    "grey": encode(BLACK),
    "JPEG": encode(BLACK, "JPEG"),
    "white that is transparent": with_alpha(np.dstack([OPAQUE] * 3), BLACK),
    "black that is transparent": with_alpha(BLACK, BLACK),
    "black": with_alpha(BLACK, OPAQUE),
    "palette": palette(BLACK, [(0, 0, 0), (255, 0, 0)]),
}


@pytest.mark.parametrize("form", EMPTY)
def test_an_empty_mask_is_empty_in_every_form(form):
    label = read_label(EMPTY[form], ONE)
    assert not label.masks[NERVE].any()
    assert label.mark is None


def levels(*values):
    return encode(np.array(values, np.uint8)[(Y + X) % len(values)])


RAMP = encode((X * 8).astype(np.uint8))
SOFT = Image.fromarray(WHITE).resize((16, 12), 3).resize((32, 24), 3)
BOTH = RED.copy()
BOTH[:3, :3] = (0, 255, 0)
NO_MASKS = {
    "38": (levels(0, 38), "mask values 0, 38; not .*: save the nerve's value as 255"),
    "three structures": (levels(0, 1, 2), "mask values 0, 1, 2;"),
    "one to ignore": (levels(0, 1, 2, 255), "mask values 0, 1, 2, 255;"),
    "grey": (levels(128), "mask values 128;"),
    "ramp": (RAMP, "softened by resizing .* nearest neighbour"),
    "soft": (encode(SOFT), "softened by resizing"),
    "dark JPEG": (encode(MASK * np.uint8(60), "JPEG"), "softened by resizing"),
    "16 bit": (encode(MASK * np.uint16(300)), "mask values 0, 300;"),
    "two colours": (encode(BOTH), r"3 colours, \(0, 0, 0\), \(0, 255, 0\), \(255"),
    "one colour": (encode(RED[9:11, 19:21]), "1 colours"),
    "on white": (encode(255 - RED), "2 colours"),
    "hidden": (with_alpha(255 - WHITE, WHITE), "alpha channel hides"),
}


@pytest.mark.parametrize("form", NO_MASKS)
def test_what_could_mean_two_things_is_refused_with_the_mend(form):
    content, message = NO_MASKS[form]
    with pytest.raises(ValueError, match=message):
        read_mask(content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_turned_file_is_read_upright(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(WHITE)
    content = encode(stored, kind, exif=exif)
    upright = np.asarray(
        ImageOps.exif_transpose(Image.open(io.BytesIO(encode(stored, exif=exif))))
    )
    label, grey = read_label(content, ONE), read_grey(content)
    np.testing.assert_array_equal(label.masks[NERVE], upright > 127)
    assert label.orientation == grey.orientation == orientation
    assert grey.values.shape == upright.shape


@pytest.mark.parametrize("orientation", TURNS)
def test_a_mask_without_the_tag_is_turned_with_its_frame_or_refused(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = read_mask(encode(WHITE, exif=exif))
    stored = Label({NERVE: MASK, "vessel": ~MASK}, None, False, 0)
    if orientation < 5:
        with pytest.raises(ValueError, match=f"EXIF orientation {orientation}"):
            turn_with_frame(stored, orientation, upright.shape)
    else:
        for mask in (MASK, upright):
            label = stored._replace(masks={NERVE: mask, "vessel": ~mask})
            found = turn_with_frame(label, orientation, upright.shape)
            np.testing.assert_array_equal(found[NERVE], upright)
            np.testing.assert_array_equal(found["vessel"], ~upright)
    empty = stored._replace(masks={NERVE: np.zeros_like(MASK)})
    assert not turn_with_frame(empty, orientation, upright.shape)[NERVE].any()
    tagged = Label({NERVE: upright}, 255, False, orientation)
    found = turn_with_frame(tagged, orientation, upright.shape)
    assert found[NERVE] is upright
