"""What is known of a file of frames before one is decoded."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

Box = tuple[int, int, int, int]
UNKNOWN_SPACING = (math.nan, math.nan)
SMALLEST_MM, LARGEST_MM = 0.005, 2.0  # height or width of a pixel of any scanner


class Medium(NamedTuple):
    """A file of frames.

    Attributes:
      path: of the file.
      kind: "picture", "dicom", "video", "stack" (a GIF, an animated PNG, a TIFF of
        several pages) or "folder" (of numbered pictures).
      num_frames: how many it holds.
      scanner: who built it and what it is called, "" where the file does not say.
      spacing_mm: height and width of a pixel, NaN where unknown.
      box: top, left, bottom, right of the part that shows tissue, half open, in px; None
        where the file does not say.
      remarks: what is doubtful about the above.
      person: what names the person who was scanned. Private: it is only ever hashed.
      words: what else in the file's header names somebody. Private: nothing that is
        written may hold one of them.
      numbers: of the frames; empty where they are counted from 0.
    """

    path: Path
    kind: str
    num_frames: int
    scanner: str = ""
    spacing_mm: tuple[float, float] = UNKNOWN_SPACING
    box: Box | None = None
    remarks: tuple[str, ...] = ()
    person: str = ""
    words: frozenset[str] = frozenset()
    numbers: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """Without what is private, for tracebacks and logs."""
        return f"Medium({str(self.path)!r}, {self.kind!r}, {self.num_frames})"

    @property
    def is_clip(self) -> bool:
        """Whether its frames have numbers."""
        return self.num_frames > 1 or self.kind in ("video", "folder")

    @property
    def frame_numbers(self) -> Sequence[int]:
        """The number of each frame."""
        return self.numbers or range(self.num_frames)
