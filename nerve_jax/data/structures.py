"""Names of structures and readers, and the outlines that they give a frame."""

import json
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from nerve_jax.data import rle

NERVE = "nerve"  # the structure of masks that name none
READER = "reader1"  # who outlined, where there is one reader

# Where each structure is, by its name and by the reader who outlined it.
Outlines = dict[str, dict[str, Bool[np.ndarray, "height width"]]]


def name_structure(text: str) -> str:
    """The name of a structure or a reader, as it is written everywhere: [a-z][a-z0-9_]*.

    Capitals become small, accents are dropped, and whatever is neither letter nor digit
    becomes "_": "N. ulnaris" is n_ulnaris. "" where no letter begins the name.
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore")
    name = re.sub(r"[^a-z0-9]+", "_", plain.decode()).strip("_")
    return name if name[:1].isalpha() else ""


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


def choose_mask(
    outlines: Outlines, structure: str, readers: Sequence[str], shape: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """The outline of a structure by the first reader who gave one; empty without any."""
    of_reader = outlines.get(structure, {})
    given = [of_reader[reader] for reader in readers if reader in of_reader]
    return given[0] if given else np.zeros(shape, bool)
