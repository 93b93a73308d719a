"""What a record says of each structure: outlines of its readers, and their one truth."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from nerve_jax.data import rle
from nerve_jax.data.resize import resize_image
from nerve_jax.data.structures import NERVE, OF_ALL, READER
from nerve_jax.system.errors import InputError

MOST_LETTERS = 100  # of structures in a folder's name; file systems take 255

Mask = Bool[np.ndarray, "height width"]
Outlines = dict[str, dict[str, Mask]]  # by structure and the reader who drew it


class Wanted(NamedTuple):
    """Which labels of a data set are used.

    Attributes:
      structures: names, the one that headlines speak of first.
      reader: whose outlines are the truth, or `OF_ALL`.
      if_there: a data set may lack some of the structures, but not all; none of its
        frames is labelled for these.
    """

    structures: tuple[str, ...] = (NERVE,)
    reader: str = OF_ALL
    if_there: bool = False

    @property
    def name(self) -> str:
        """For a folder; "" for what was there before others could be asked for.

        Long ones, and those of one reader, end in a hash.
        """
        parts = [] if self.structures == (NERVE,) else [*self.structures]
        text = "+".join(parts)
        if self.reader == OF_ALL and len(text) <= MOST_LETTERS:
            return text
        content = json.dumps([self.structures, self.reader]).encode()
        digest = hashlib.blake2b(content, digest_size=6).hexdigest()
        return f"{text[:MOST_LETTERS]}-{digest}"

    def check(self, structures: Sequence[str], readers: Sequence[str], where: str):
        """Raise `InputError` where a data set does not have them.

        Args:
          structures: of the data set.
          readers: of it.
          where: its name.
        """
        wanted = set(self.structures)
        lacking = wanted - set(structures)
        twice = len(wanted) < len(self.structures)
        if twice or not wanted or lacking == wanted or (lacking and not self.if_there):
            asked, there = (
                show_tuple(names) for names in (self.structures, structures)
            )
            raise InputError(
                f"data.structures={asked}: {where} has {there}. Name each of those that "
                f"you want once, --config.data.structures='{there}', say what its "
                "masks show in structures.csv (value,name), or, where the folders in "
                "masks/ are readers, --config.data.readers=True"
            )
        if self.reader not in (OF_ALL, *readers):
            raise InputError(
                f"data.reader={self.reader!r} is not one of: "
                f"{', '.join((OF_ALL, *readers))}"
            )

    def choose(self, drawn: Outlines, structure: str) -> dict[str, Mask]:
        """The outlines that make the truth of a structure, of `draw_outlines`."""
        own = drawn.get(structure, {})
        return {n: m for n, m in own.items() if self.reader in (OF_ALL, n)}


NERVE_ALONE = Wanted()


def show_tuple(names: Sequence[str]) -> str:
    """As it is typed on a command line: ("nerve","vessel") or ("nerve",)."""
    quoted = ",".join(f'"{name}"' for name in names)
    return f"({quoted}{',' * (len(names) == 1)})"


def encode_outlines(
    outlines: Outlines, structures: Sequence[str], readers: Sequence[str]
) -> str:
    """The outlines of a frame as JSON: {structure: {reader: run lengths of `rle`}}.

    Args:
      outlines: of the frame: without a structure that it is not labelled for.
      structures: all of the data set, in order.
      readers: all of the data set, in order.

    Returns:
      "" in a data set of the nerve alone by one reader without a name.
    """
    if list(structures) == [NERVE] and list(readers) == [READER]:
        return ""
    return json.dumps(
        {
            structure: {
                reader: rle.encode(outlines[structure][reader])
                for reader in readers
                if reader in outlines[structure]
            }
            for structure in structures
            if structure in outlines
        }
    )


def draw_outlines(record: dict) -> Outlines:
    """The masks of a record at its original size, by structure and reader.

    Args:
      record: of the prepared records. Where `outlines` is missing (before version 1.2.0)
        or "", its `mask` is that of the only structure by the only reader.

    Returns:
      Those that were drawn; nothing of a structure that nobody looked for.
    """
    mask = record["mask"][..., 0]
    if text := record.get("outlines", b""):
        return {
            structure: {
                reader: rle.decode(runs, *mask.shape) for reader, runs in own.items()
            }
            for structure, own in json.loads(text).items()
        }
    if not record["labelled"]:
        return {}
    return {NERVE: {READER: mask.astype(bool)}}


def choose_mask(
    outlines: Outlines, structure: str, readers: Sequence[str], shape: tuple[int, int]
) -> Mask:
    """The outline of a structure by the first reader who gave one; empty without any."""
    of_reader = outlines.get(structure, {})
    given = [of_reader[reader] for reader in readers if reader in of_reader]
    return given[0] if given else np.zeros(shape, bool)


def vote(outlines: Mapping[str, Mask], size: tuple[int, ...]) -> Mask:
    """Pixels that most readers outlined, or half of them, the first being one.

    Args:
      outlines: of one structure, the first reader's first.
      size: height and width; without outlines, nothing is in the frame.
    """
    masks = list(outlines.values())
    if len(masks) < 2:
        return masks[0] if masks else np.zeros(size, bool)
    votes = 2 * np.sum(masks, axis=0)
    return (votes > len(masks)) | ((votes == len(masks)) & masks[0])


def average(
    outlines: Mapping[str, Mask], image_size: tuple[int, int]
) -> UInt8[np.ndarray, "_ _"]:
    """The mean of the readers' masks at training size, 0 to 255; 0 without any."""
    small = [
        resize_image(m.astype(np.uint8) * 255, image_size) for m in outlines.values()
    ]
    if len(small) < 2:
        return small[0] if small else np.zeros(image_size, np.uint8)
    return np.rint(np.mean(small, axis=0)).astype(np.uint8)
