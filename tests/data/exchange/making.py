"""Random labelled pictures that tests of all formats share."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nerve_jax.data.exchange.formats import Format
from nerve_jax.data.exchange.pictures import Labelled

STRUCTURES = ("nerve", "vessel", "muscle_2")
SIZES = st.tuples(st.integers(1, 13), st.integers(1, 13))


def masks_of(size):
    """Random masks, with empty, full and one-pixel ones among them."""
    some = hnp.arrays(bool, size)
    plain = st.sampled_from([np.zeros(size, bool), np.ones(size, bool)])
    places = st.tuples(*(st.integers(0, length - 1) for length in size))
    return st.one_of(some, plain, places.map(lambda at: one_pixel(size, at)))


def one_pixel(size, at):
    """A mask of one pixel."""
    mask = np.zeros(size, bool)
    mask[at] = True
    return mask


@st.composite
def sets(draw, *, overlaps=True, partial=True):
    """Structures, and per picture a size and masks by structure.

    Args:
      draw: of hypothesis.
      overlaps: whether masks of one picture may.
      partial: whether a picture may lack a structure; all may be unlabelled.
    """
    structures = STRUCTURES[: draw(st.integers(1, len(STRUCTURES)))]
    pictures = []
    for number in range(draw(st.integers(1, 4))):
        size = draw(SIZES)
        looked_for = structures
        if partial:
            looked_for = [s for s in structures if draw(st.booleans())]
        elif number and draw(st.booleans()):
            looked_for = ()
        masks = {s: draw(masks_of(size)) for s in looked_for}
        if not overlaps:
            free = np.ones(size, bool)
            for structure, mask in masks.items():
                masks[structure] = mask & free
                free = free & ~mask
        pictures.append((size, masks))
    if not any(set(masks) == set(structures) for _, masks in pictures):
        size = pictures[0][0]
        pictures[0] = (size, {s: np.zeros(size, bool) for s in structures})
    return structures, pictures


def make_labelled(folder, pictures) -> list[Labelled]:
    """Write random pictures into a folder, one of each person."""
    rng = np.random.default_rng(0)
    made = []
    for number, (size, masks) in enumerate(pictures):
        path = folder / f"p{number}_a.png"
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(path)
        made.append(Labelled(path.stem, path, None, size, masks))
    return made


@contextlib.contextmanager
def new_folders() -> Iterator[tuple[Path, Path]]:
    """Two empty folders for one example."""
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name, "in"), Path(name, "out")
        for folder in folders:
            folder.mkdir()
        yield folders


def check_round_trip(format_: Format, structures, pictures) -> None:
    """Write, read, and compare each mask and each picture."""
    with new_folders() as (source, folder):
        given = make_labelled(source, pictures)
        format_.write(folder, iter(given), structures)
        found = {one.name: one for one in format_.read(folder)}
        assert found.keys() == {one.name for one in given}
        for one in given:
            check_same(found[one.name], one)


def check_same(found: Labelled, given: Labelled) -> None:
    """The same picture, size, structures and masks."""
    assert found.image.read_bytes() == given.image.read_bytes()
    assert (found.number, found.size) == (given.number, given.size)
    assert found.masks.keys() == given.masks.keys()
    for structure, mask in given.masks.items():
        assert found.masks[structure].dtype == bool
        assert np.array_equal(found.masks[structure], mask), structure
