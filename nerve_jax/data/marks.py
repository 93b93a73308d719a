"""Text that is burned into frames, found by the shape of its letters.

A probe resolves much less across its beams than along them, so that tissue has hardly a
structure that is narrow from left to right. Letters have: vertical strokes one to six
pixels wide, of one brightness, several in a row. Text that is hard to tell from the
tissue behind it is easy to tell from the darkest of several frames of a clip, for tissue
moves and text does not.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage
from scipy.sparse import csgraph

STROKES = 3  # that make a line of text
STROKE_PX = 3  # rows that a stroke has at least
LINE_PX = 12  # rows that the strokes of a line have together
CONTRAST = 30.0  # grey levels by which a stroke is brighter than left and right of it
ABOVE_TISSUE = 3.0  # the same as a multiple of what nine in ten pixels of tissue have
EVEN = 20.0  # grey levels by which neighbouring strokes differ at most
RUN = 8  # samples whose darkest values are taken
STILLER = 1.5  # times that tissue beside standing text changes more than its strokes
SAME = 20  # grey levels by which standing text differs from frame to frame at most
SHOWN = 0.5  # share of its pixels that a frame shows if it holds the text


def find_text(
    image: UInt8[np.ndarray, "height width"], sector: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """Return boxes around the lines of bright text in an image, True inside.

    Text is found that runs from left to right, is brighter than its surroundings, has
    at least three vertical strokes in a row and letters of 7 to about 50 pixels. A
    caliper, an arrow or a single letter is none.

    Args:
      image: grey values; of a coloured frame, the brightest channel.
      sector: where to look. Tissue there says how large a contrast means nothing.

    Returns:
      All False where no text is found, also where `sector` is empty.
    """
    found = np.zeros(image.shape, bool)
    for box in _find_lines(image, sector):
        found[box] = True
    return found


class StandingText(NamedTuple):
    """A line of text that stands still in a clip.

    Attributes:
      box: rows and columns, as slices.
      grey: values of its strokes; 0 beside them.
    """

    box: tuple[slice, slice]
    grey: UInt8[np.ndarray, "rows columns"]


def find_standing_text(
    samples: UInt8[np.ndarray, "samples height width"],
    sector: Bool[np.ndarray, "height width"],
) -> list[StandingText]:
    """Return the text that is found where it stands still before moving tissue.

    Looks at the smallest value that each pixel has in all samples, and in each run of 8.

    Args:
      samples: frames spread evenly over a clip, in order. Of a single one, no text.
      sector: where to look.
    """
    runs = [samples[start : start + RUN] for start in range(0, len(samples), RUN)]
    standing = []
    for run in [samples, *runs]:
        if len(run) > 1:
            darkest, span = run.min(0), run.max(0) - run.min(0)
            for box in _find_lines(darkest, sector):
                line = darkest[box]
                bright = line > (int(line.min()) + int(line.max())) // 2
                if span[box][~bright].mean() > STILLER * span[box][bright].mean():
                    standing.append(StandingText(box, np.where(bright, line, 0)))
    return standing


def is_marked(
    image: UInt8[np.ndarray, "height width"],
    sector: Bool[np.ndarray, "height width"],
    standing: list[StandingText],
) -> bool:
    """Return whether a frame holds text inside the sector.

    Args:
      image: one frame; of a coloured one, the brightest channel.
      sector: where to look.
      standing: of the frame's clip; empty for a still image. Such a line counts where
        most of its strokes have their grey value in this frame too.
    """
    for box, grey in standing:
        difference = image[box].astype(np.int16) - grey
        if np.mean(np.abs(difference[grey > 0]) <= SAME) >= SHOWN:
            return True
    return bool(find_text(image, sector).any())


def _find_lines(image: np.ndarray, sector: np.ndarray) -> list[tuple[slice, slice]]:
    """Return the boxes of lines of text, narrow strokes first, then broad ones."""
    grey = image.astype(np.int16)
    boxes = []
    for scale in (1, 2):
        for top, bottom, left, right in _group(_find_strokes(grey, sector)):
            rows = slice(max(top - 2, 0) * scale, (bottom + 2) * scale)
            boxes.append((rows, slice(max(left - 2, 0) * scale, (right + 2) * scale)))
        grey, sector = _halve(grey), sector[1::2, 1::2]
    return boxes


def _halve(grey: np.ndarray) -> np.ndarray:
    """Return means of 2 x 2 pixels, so that broad strokes become narrow ones."""
    even = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) // 4


def _find_strokes(grey: np.ndarray, sector: np.ndarray) -> np.ndarray:
    """Return top, bottom, left, right and brightness of vertical strokes, [n, 5]."""
    narrow = np.zeros(grey.shape, bool)
    for reach in (1, 2, 3):
        if grey.shape[1] <= 2 * reach:
            break
        middle = slice(reach, -reach)
        beside = np.maximum(grey[:, : -2 * reach], grey[:, 2 * reach :])
        ridge = grey[:, middle] - beside
        tissue = ridge[::4, ::4][sector[:, middle][::4, ::4]]
        usual = np.quantile(tissue, 0.9) if len(tissue) else 0.0
        narrow[:, middle] |= ridge > max(CONTRAST, ABOVE_TISSUE * float(usual))
    narrow &= sector
    strokes = []
    labels, count = ndimage.label(narrow, np.ones((3, 3)))
    boxes = ndimage.find_objects(labels) if count else []
    for number, (rows, columns) in enumerate(boxes, 1):
        height = rows.stop - rows.start
        if height >= STROKE_PX:
            inside = labels[rows, columns] == number
            value = np.quantile(grey[rows, columns][inside], 0.75)
            strokes.append((rows.start, rows.stop, columns.start, columns.stop, value))
    return np.array(strokes, np.float64).reshape(-1, 5)


def _group(strokes: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return the boxes of groups of neighbouring strokes that make a line of text."""
    top, bottom, left, right, value = strokes.T
    height, centre = bottom - top, (top + bottom) / 2
    taller = np.maximum.outer(height, height)
    gap = np.subtract.outer(left, right)
    linked = (
        (np.abs(np.subtract.outer(centre, centre)) <= 0.5 * taller)
        & (taller <= 2.5 * np.minimum.outer(height, height))
        & (np.maximum(gap, gap.T) <= 1.5 * taller)
        & (np.abs(np.subtract.outer(value, value)) <= EVEN)
    )
    count, group = csgraph.connected_components(linked, directed=False)
    boxes = []
    for number in range(count):
        one = group == number
        if one.sum() >= STROKES and height[one].sum() >= LINE_PX:
            box = top[one].min(), bottom[one].max(), left[one].min(), right[one].max()
            boxes.append(tuple(int(edge) for edge in box))
    return boxes
