"""Ultrasound frames read from files: whatever the storage, the grey that it shows.

Files may come from strangers: whatever is wrong with one ends in a `ValueError` or an
`OSError` that says so, and no file of more than `MAX_PIXELS` or `MAX_BYTES` is decoded.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from nerve_jax.system.errors import InputError

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
IMAGE_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")  # whatever a file is called
MAX_PIXELS = 40_000_000  # of a frame; decoding takes up to 16 bytes each
MAX_BYTES = 512 * 2**20  # of a file
DECODER_VERSION = 2  # of what pixels are taken to mean, here and in `labels`
DEPTHS = (8, 10, 12, 14, 16)  # bits that scanners write into 16
ORIENTATION, PHOTOMETRIC, SAMPLE_FORMAT = 0x0112, 262, 339  # tags of EXIF and TIFF
NEW_SUBFILE_TYPE = 254  # a tag of TIFF whose lowest bit marks a reduced version
WHITE_IS_ZERO, SIGNED = 0, 2  # their values


class Picture(NamedTuple):
    """A decoded image file.

    Attributes:
      image: upright, and black is zero in it.
      orientation: the EXIF tag by which it was turned, 1 to 8; 0 where the file has none.
      kind: "PNG", "TIFF", "JPEG" or "BMP".
    """

    image: Image.Image
    orientation: int
    kind: str


class Storage(NamedTuple):
    """How the frames of a data set are stored, for frames that are to be like them.

    Attributes:
      bits: that its 16-bit files use (see `find_bits`); 0 where there are none.
      is_cut: whether they show the scanned sector alone, as --mode=import writes them.
    """

    bits: int = 0
    is_cut: bool = False


PLAIN = Storage()


class Grey(NamedTuple):
    """A frame's grey values.

    Attributes:
      values: uint8, or uint16 where the file has 16 bits, however many are used.
      orientation: see `Picture`.
    """

    values: UInt[np.ndarray, "height width"]
    orientation: int

    @property
    def brightest(self) -> int:
        """The largest value of a 16-bit frame; 0 for others, whose range is known."""
        return int(self.values.max()) if self.values.dtype == np.uint16 else 0


def read_file(path: Path) -> bytes:
    """Read a file that holds an image.

    Raises:
      OSError: it cannot be read, is no regular file, or is larger than `MAX_BYTES`.
    """
    with open_file(path) as file:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise OSError(f"{size / 2**20:.0f} MB, more than {MAX_BYTES / 2**20:.0f}")
        return file.read()


def open_file(path: Path) -> BinaryIO:
    """Open a regular file; raise `OSError` for a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        raise OSError("not a file")
    return path.open("rb")


def read_image(content: bytes, bits: int = 16) -> UInt8[np.ndarray, "height width"]:
    """Decode a frame to 8-bit grey: `read_grey`, then `to_8_bit`."""
    return to_8_bit(read_grey(content).values, bits)


def read_grey(content: bytes) -> Grey:
    """Decode a frame to the grey that a viewer shows.

    Colour and palettes become luminance. What is partly transparent is shown on black,
    which is what surrounds an ultrasound picture. An EXIF tag that says how the picture
    is turned is heeded; so is a TIFF in which white is zero.

    Args:
      content: a PNG, TIFF, JPEG or BMP file.

    Raises:
      ValueError: not an image, truncated, of several pages, of signed, floating-point
        or more than 16-bit values, of 16-bit colour, or hidden by its alpha channel.
    """
    return convert_to_grey(decode(content))


def convert_to_grey(picture: Picture) -> Grey:
    """The grey that a decoded picture shows; see `read_grey`."""
    image, orientation, _ = picture
    if image.mode == "F":
        raise ValueError("floating-point grey values; save it as 8 or 16 bit")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"grey values {values.min()} to {values.max()}, not 16 bit; save it as "
                "16 bit without sign, with values from 0 to 65535"
            )
        return Grey(values.astype(np.uint16), orientation)
    if image.has_transparency_data:
        image = _flatten(image)
    return Grey(np.asarray(image.convert("L")), orientation)


def read_colour(content: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a picture to the colours that a viewer shows; see `read_grey` for errors.

    Grey of 16 bits is scaled by all of them.
    """
    return convert_to_colour(decode(content))


def convert_to_colour(picture: Picture) -> UInt8[np.ndarray, "height width 3"]:
    """The colours that a decoded picture shows; see `read_colour`."""
    image = picture.image
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(to_8_bit(convert_to_grey(picture).values))
    return np.asarray(show_on_black(image))


def to_8_bit(
    values: UInt[np.ndarray, "height width"], bits: int = 16
) -> UInt8[np.ndarray, "height width"]:
    """Scale 16-bit grey so that 2**bits - 1 becomes 255; 8-bit grey is kept.

    Args:
      values: uint8 or uint16.
      bits: that are used of the 16; larger values become 255. 0 stands for 16.
    """
    if values.dtype == np.uint8:
        return values
    white = 2 ** (bits or 16) - 1
    deep = values.astype(np.uint32)
    deep *= 255
    deep += white // 2
    deep //= white
    return np.minimum(deep, 255, out=deep).astype(np.uint8)


def find_bits(brightest: int) -> int:
    """How many bits a data set uses: the fewest of `DEPTHS` that hold a value.

    Args:
      brightest: the largest `Grey.brightest` of all frames of the set, for one frame may
        be dark; 0, of a set without 16-bit frames, gives 0.
    """
    if not brightest:
        return 0
    return next(bits for bits in DEPTHS if brightest < 2**bits)


def choose_bits(brightest: int, trained: int) -> int:
    """How many bits frames use that are given to a trained net.

    Args:
      brightest: as for `find_bits`, of these frames.
      trained: of `find_bits` for the data set that the net was trained on. Some frames
        may all be dark, so that fewer are not believed; more are another scanner's.
    """
    return max(find_bits(brightest), trained) if brightest else 0


def describe_bits(brightest: int, bits: int) -> list[str]:
    """What to say of frames of which the brightest 16-bit value is less than 16 bits'.

    Returns:
      One line, or none where there are no such frames or where all 16 bits are used.
    """
    used = find_bits(brightest)
    if not 0 < used < 16:
        return []
    taken = f"taken as {bits}-bit grey, {2**bits - 1} as white"
    why = "" if bits == used else ", as in the frames that were trained on"
    return [f"no 16-bit frame has a value above {2**used - 1}: {taken}{why}"]


def read_brightest(content: bytes) -> int:
    """`Grey.brightest` of a frame; of other than 16-bit files only the head is read.

    Raises:
      ValueError: see `read_grey`.
    """
    with in_words(), _open(content) as image:
        deep = image.mode.startswith("I")
    return read_grey(content).brightest if deep else 0


def decode(content: bytes) -> Picture:
    """Decode an image file, upright, black as zero.

    Raises:
      ValueError: not an image, truncated, of several pages, too large, of signed 8-bit
        values or of 16-bit colour.
    """
    with in_words():
        return settle(_open(content))


def settle(image: Image.Image) -> Picture:
    """Decode an image that was opened, upright, black as zero."""
    kind = image.format or ""
    orientation = image.getexif().get(ORIENTATION)
    turned = int(orientation) if orientation in range(1, 9) else 0
    tags = image.tag_v2 if kind == "TIFF" else {}
    white_is_zero = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    image.load()
    if white_is_zero and image.mode.startswith("I;16"):  # Pillow turns 8 bits alone
        image = Image.fromarray(65535 - np.asarray(image).astype(np.uint16))
    if image.mode == "La":  # alpha is multiplied in; Pillow converts it to LA alone
        image = image.convert("LA")
    # Pillow turns a TIFF as it loads it, and then finds no tag here
    return Picture(ImageOps.exif_transpose(image), turned, kind)


def _open(content: bytes) -> Image.Image:
    """Read the head of an image file; raise `ValueError` for what pixels would lose."""
    image = Image.open(io.BytesIO(content), formats=IMAGE_FORMATS)
    if len(list_pages(image)) > 1:
        raise ValueError("several pages; save each as a file of its own")
    check_storage(image)
    return image


def check_storage(image: Image.Image) -> None:
    """Raise `ValueError` for an opened image of which decoding would lose something."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} px are too many")
    deep = any(";16" in str(tile.args) for tile in image.tile)
    if deep and not image.mode.startswith("I"):  # Pillow keeps the upper 8 bits
        raise ValueError("16-bit colour; save it as 16-bit grey or 8-bit colour")
    if image.mode.startswith("I") and "transparency" in image.info:
        raise ValueError("one of its 16-bit greys means transparent; save it without")
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if image.mode in ("L", "P") and SIGNED in tags.get(SAMPLE_FORMAT, ()):
        raise ValueError("signed 8-bit values; save it without sign, from 0 to 255")


def list_pages(image: Image.Image) -> list[int]:
    """Pictures in an opened file, without small versions of one that a TIFF may hold."""
    if image.format not in ("TIFF", "PNG", "GIF"):  # a JPEG holds maps of depth or gain
        return [0]
    pages = list(range(image.n_frames))
    if image.format == "TIFF" and len(pages) > 1:
        for page in pages[1:]:
            image.seek(page)
            if image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 1:
                pages.remove(page)
        image.seek(0)
    return pages


def show_on_black(image: Image.Image) -> Image.Image:
    """Put a picture with an alpha channel, or a transparent colour, on black: RGB."""
    colour = image.convert("RGBA")
    shown = Image.new("RGB", colour.size)
    shown.paste(colour, mask=colour.getchannel("A"))
    return shown


def is_plain(image: Image.Image) -> bool:
    """Whether all pixels of a picture of 8-bit channels are alike."""
    extremes = [channel.getextrema() for channel in image.split()]
    return all(low == high for low, high in extremes)


def _flatten(image: Image.Image) -> Image.Image:
    """`show_on_black`; raise `ValueError` where that does not show the picture."""
    whole = image.convert("RGBA")
    colour, alpha = whole.convert("RGB"), whole.getchannel("A")
    shown = show_on_black(whole)
    only_alpha = is_plain(colour) and not is_plain(alpha)
    if only_alpha or (is_plain(shown) and not is_plain(colour)):
        raise ValueError(
            "its alpha channel holds the picture or hides it; save what is to be seen "
            "as grey, without alpha"
        )
    return shown


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Turn whatever a decoder raises at a damaged file into a `ValueError` in words."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        kinds = ", ".join(IMAGE_FORMATS)
        raise ValueError(f"cannot be decoded (it is none of {kinds})") from error
    except Exception as error:
        lines = str(error).split("\n")  # of several some libraries write
        problem = lines[0] or type(error).__name__
        raise ValueError(f"cannot be decoded ({problem})") from error
