"""Pictures beside labels of other programs: found, measured, copied, given masks."""

import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nerve_jax.data import media
from nerve_jax.data.exchange.planes import is_plane, measure_plane, read_plane
from nerve_jax.data.exchange.shapes import Mask, Size
from nerve_jax.data.frames import (
    IMAGE_FORMATS,
    ORIENTATION,
    check_storage,
    in_words,
    list_pages,
    open_file,
)
from nerve_jax.data.listing import compose, is_image, is_litter
from nerve_jax.data.media.numbered import list_numbered
from nerve_jax.system.files import write_png

UPRIGHT = (None, 0, 1)  # values of the tag
TURNED = (
    "turned by its EXIF tag: outlines may be of the picture as stored or as shown. Save "
    "it upright, without the tag, and outlines that fit it"
)


class Labelled(NamedTuple):
    """A picture with outlines, as it passes between the formats.

    Attributes:
      name: of the picture, without its ending; unique in its set.
      image: the picture's file; a clip's, where `number` is not None.
      number: which frame of a clip, from 0; None for a picture.
      size: height and width in px.
      masks: where each structure is, by its name; a structure that was looked for and is
        not there has an empty mask, one that nobody looked for is not among them.
    """

    name: str
    image: Path
    number: int | None
    size: Size
    masks: dict[str, Mask]


def list_files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Each path in and below a folder, and as seen from it; not what a system hides."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not any(is_litter(Path(part)) for part in inside.parts):
            yield path, inside


def find_pictures(folder: Path) -> dict[str, Path]:
    """Pictures in and below a folder by their path from it, or from its images/.

    The paths have / between folders, letters composed. What a system or an editor hides
    is left out; so is a picture in the folder itself that images/ has as well.
    """
    found = {}
    for path, inside in list_files(folder):
        if is_image(path) and path.is_file():
            place = compose(inside.as_posix())
            name = place.removeprefix("images/")
            if name != place or name not in found:
                found[name] = path
    return found


def measure(path: Path) -> Size:
    """Height and width of a picture, in px, from its head alone.

    Raises:
      OSError: it cannot be opened.
      ValueError: it is no picture that is read, or is turned by an EXIF tag.
    """
    if is_plane(path):
        return measure_plane(path)
    with open_file(path) as file, in_words():
        image = Image.open(file, formats=IMAGE_FORMATS)
        if len(list_pages(image)) > 1:
            raise ValueError("several pages; save each as a file of its own")
        check_storage(image)
        turned = image.getexif().get(ORIENTATION) not in UPRIGHT
    if turned:
        raise ValueError(TURNED)
    return image.height, image.width


def copy_picture(path: Path, folder: Path, name: str) -> str:
    """Copy a picture, or a clip in a file or a folder, byte for byte, under a new name.

    A picture in a NIfTI file, which this project's layout does not have, becomes a PNG of
    8 or 16 bits.

    Returns:
      The name of the copy, with its ending.
    """
    if path.is_dir():
        (folder / name).mkdir()
        for picture in list_numbered(path).values():
            shutil.copyfile(picture, folder / name / picture.name)
        return name
    if is_plane(path):
        values = read_plane(path)
        depth = np.uint8 if values.max() < 256 else np.uint16
        write_png(folder / f"{name}.png", values.astype(depth))
        return f"{name}.png"
    ending = path.suffix if media.name_of(path) != path.name else ""
    shutil.copyfile(path, folder / f"{name}{ending}")
    return f"{name}{ending}"


def copy_pictures(
    labelled: Iterable[Labelled], folder: Path
) -> Iterator[tuple[Labelled, str]]:
    """Put pictures into a new folder, and give each with its file's name there.

    A picture is copied byte for byte. What other programs might not show as it is read
    here, a frame of a clip or of a DICOM file or a picture that is turned, is decoded and
    written as PNG, in grey, cut to the box of its medium.

    Args:
      labelled: those of one clip follow each other, by rising number.
      folder: of the pictures.
    """
    folder.mkdir(exist_ok=True)
    for path, of_file in itertools.groupby(labelled, lambda one: one.image):
        medium = media.describe(path)
        if medium.kind == "picture" and is_upright(path):
            for one in of_file:
                yield one, copy_picture(path, folder, one.name)
        else:
            yield from _write_decoded(medium, of_file, folder)


def _write_decoded(
    medium: media.Medium, labelled: Iterable[Labelled], folder: Path
) -> Iterator[tuple[Labelled, str]]:
    """Go through a file once, and write those of its frames that are labelled."""
    greys = zip(medium.frame_numbers, media.read(medium), strict=True)
    for one in labelled:
        wanted = medium.frame_numbers[0] if one.number is None else one.number
        grey = next(grey for number, grey in greys if number == wanted)
        top, left, bottom, right = medium.box or (0, 0, *grey.values.shape)
        cut = np.ascontiguousarray(grey.values[top:bottom, left:right])
        write_png(folder / f"{one.name}.png", cut)
        yield one, f"{one.name}.png"


def is_upright(path: Path) -> bool:
    """Whether a picture is stored as it is shown."""
    with open_file(path) as file, in_words(), Image.open(file) as image:
        return image.getexif().get(ORIENTATION) in UPRIGHT
