"""The page of an import: what was removed from each source, before and after."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from nerve_jax.reports.html import picture_uri, render

SHOWN = 200  # sources with pictures; a page of more is too large to open


class Pair(NamedTuple):
    """Pictures of a source.

    Attributes:
      before: a whole frame, in which what is removed is illegible.
      sector: what is kept of it.
      after: a frame as it was written; None where none was.
    """

    before: UInt8[np.ndarray, "height width"]
    sector: Bool[np.ndarray, "height width"]
    after: UInt8[np.ndarray, "rows columns"] | None


def render_import(rows: Sequence[dict], pairs: Sequence[Pair | None]) -> str:
    """The page of an import.

    Args:
      rows: of imported.csv.
      pairs: pictures of each row; None where there are none.
    """
    entries = [row | {"pictures": []} for row in rows]
    with_pictures = [i for i, pair in enumerate(pairs) if pair is not None]
    for i in with_pictures[:SHOWN]:
        before, sector, after = pairs[i]
        entries[i]["pictures"] = [picture_uri(before, prediction=sector)]
        if after is not None:
            entries[i]["pictures"].append(picture_uri(after))
    return render(
        "import.html",
        title="Import",
        entries=entries,
        num_not_shown=len(with_pictures[SHOWN:]),
    )
