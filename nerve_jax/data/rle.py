"""Run-length code of masks, as the Kaggle competition wants it.

Pixels are numbered from 1, down the columns first; a run is "start length"; an empty
mask is the empty string.
"""

import numpy as np
from jaxtyping import Bool, Int


def encode(mask: Bool[np.ndarray, "height width"]) -> str:
    """Encode a mask, e.g. "1 3 10 2"; "" if it is empty."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    runs = np.stack([starts + 1, ends - starts], axis=-1)
    return " ".join(map(str, runs.ravel().tolist()))


def count_pixels(text: str) -> int:
    """How many pixels a run-length code marks."""
    return sum(map(int, text.split()[1::2]))


def count_shared(text: str, positions: Int[np.ndarray, " pixels"]) -> int:
    """How many of some pixels a run-length code marks.

    Args:
      text: of a mask.
      positions: of pixels, in rising order, numbered as in the code but from 0.
    """
    numbers = np.array(text.split(), dtype=np.int64)
    starts = numbers[::2] - 1
    before = np.searchsorted(positions, [starts, starts + numbers[1::2]])
    return int((before[1] - before[0]).sum())


def decode(text: str, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Decode a run-length code to a mask of the given size.

    Raises:
      ValueError: an odd count of numbers, a run outside the frame, of no length, or not
        after the run before it.
    """
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"run lengths {text[:40]!r} are not whole numbers") from error
    if numbers.size % 2:
        raise ValueError(f"run lengths {text[:40]!r} hold an odd count of numbers")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    ends = starts + lengths
    if (lengths < 1).any() or (starts < np.append(0, ends[:-1])[: len(starts)]).any():
        raise ValueError(f"run lengths {text[:40]!r} overlap, are empty or unordered")
    if ends.size and ends[-1] > height * width:
        raise ValueError(f"a run ends at pixel {ends[-1]} of {height * width}")
    edges = np.concatenate([[0], np.stack([starts, ends], 1).ravel(), [height * width]])
    stretches = np.arange(len(edges) - 1) % 2 == 1  # background, nerve, background, ...
    return np.repeat(stretches, np.diff(edges)).reshape(width, height).T
