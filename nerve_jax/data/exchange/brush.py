"""Label Studio's code of a brushed region: run lengths of an RGBA picture, bit by bit.

Its fields follow each other without gaps, the most significant bit first:

    32 bits   how many values are coded: four per pixel, row by row
    5 bits    bits of a value, less 1
    4 x 4     bits of the four lengths that follow, each less 1
    then, until all values are there:
      1 bit   1: one value, repeated; 0: values one by one
      2 bits  which of the four lengths follows
      length  how many values, less 1
      values  one, or as many as these

and zeros fill the last byte. This is the format of the package rle-pack for JavaScript,
which Label Studio encodes with.
"""

import itertools

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data.exchange.shapes import Mask, Size

CHANNELS, ALPHA = 4, 3
COUNT_BITS, WORD_BITS, LENGTH_BITS, CHOICE_BITS = 32, 5, 4, 2
WORD, LENGTHS = 8, (3, 4, 8, 16)  # in bits, as Label Studio writes


def encode(mask: Mask) -> list[int]:
    """Code a mask: all four channels are 255 where it is, else 0.

    Returns:
      Bytes, 0 to 255.
    """
    values = np.repeat(mask.ravel(), CHANNELS)
    edges = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    fields = [(values.size, COUNT_BITS), (WORD - 1, WORD_BITS)]
    fields += [(bits - 1, LENGTH_BITS) for bits in LENGTHS]
    longest = 2 ** LENGTHS[-1]
    for start, end in itertools.pairwise([0, *edges, values.size]):
        value = 255 * int(values[start])
        for at in range(start, end, longest):
            count = min(longest, end - at)
            choice = next(i for i, bits in enumerate(LENGTHS) if count <= 2**bits)
            fields += [(1, 1), (choice, CHOICE_BITS)]
            fields += [(count - 1, LENGTHS[choice]), (value, WORD)]
    text = "".join(f"{number:0{bits}b}" for number, bits in fields)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))


def decode(code: bytes, size: Size) -> Mask:
    """Decode where a region is.

    A pixel belongs to it if its alpha is at least half of the largest: the edge of a
    stroke is soft, and its opacity is not that of the mask.

    Args:
      code: of `encode`.
      size: height and width of the picture.

    Raises:
      ValueError: no such code, or of a picture of another size.
    """
    alpha = decode_values(code, size)[..., ALPHA]
    return (alpha > 0) & (alpha >= (int(alpha.max(initial=0)) + 1) // 2)


def decode_values(code: bytes, size: Size) -> UInt8[np.ndarray, "height width 4"]:
    """Decode the RGBA picture; see `decode`."""
    bits = _Bits(code)
    count, expected = bits.read(COUNT_BITS), size[0] * size[1] * CHANNELS
    if count != expected:
        raise ValueError(
            f"its rle is of {count} values, not the {expected} of {size[1]}x{size[0]} px"
        )
    word = bits.read(WORD_BITS) + 1
    lengths = [bits.read(LENGTH_BITS) + 1 for _ in range(4)]
    if word > 8:
        raise ValueError(f"its rle has values of {word} bits, not 8")
    values = np.zeros(count, np.uint8)
    done = 0
    while done < count:
        is_repeated = bits.read(1)
        end = done + bits.read(lengths[bits.read(CHOICE_BITS)]) + 1
        if end > count:
            raise ValueError("its rle holds more values than it counts")
        values[done:end] = (
            bits.read(word) if is_repeated else bits.read_many(end - done, word)
        )
        done = end
    if bits.has_more:
        raise ValueError("its rle goes on behind the last value")
    return values.reshape(*size, CHANNELS)


class _Bits:
    """Numbers out of a sequence of bits."""

    def __init__(self, content: bytes):
        self._content = content
        self._at = 0

    def _advance(self, bits: int) -> tuple[int, bytes]:
        """Where in some bytes the next bits begin, and these bytes."""
        first, self._at = self._at, self._at + bits
        if self._at > 8 * len(self._content):
            raise ValueError("its rle ends too early")
        return first % 8, self._content[first // 8 : (self._at + 7) // 8]

    def read(self, bits: int) -> int:
        _, part = self._advance(bits)
        return int.from_bytes(part) >> (-self._at % 8) & ((1 << bits) - 1)

    def read_many(self, count: int, bits: int) -> UInt8[np.ndarray, " count"]:
        start, part = self._advance(count * bits)
        flags = np.unpackbits(np.frombuffer(part, np.uint8))[start:][: count * bits]
        return flags.reshape(count, bits) @ (1 << np.arange(bits, dtype=np.uint8)[::-1])

    @property
    def has_more(self) -> bool:
        """Whether what was not read is more than zeros that fill a byte."""
        return any(self._content[(self._at + 7) // 8 :])
