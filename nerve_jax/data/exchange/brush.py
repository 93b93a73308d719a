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
from jaxtyping import Int64, UInt8

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
        values[done:end] = bits.read_many(1 if is_repeated else end - done, word)
        done = end
    if bits.has_more:
        raise ValueError("its rle goes on behind the last value")
    return values.reshape(*size, CHANNELS)


class _Bits:
    """Numbers out of a sequence of bits."""

    def __init__(self, content: bytes):
        self._flags = np.unpackbits(np.frombuffer(content, np.uint8))
        self._at = 0

    def read(self, bits: int) -> int:
        return int(self.read_many(1, bits)[0])

    def read_many(self, count: int, bits: int) -> Int64[np.ndarray, " count"]:
        first, self._at = self._at, self._at + count * bits
        if self._at > self._flags.size:
            raise ValueError("its rle ends too early")
        flags = self._flags[first : self._at].reshape(count, bits)
        return flags @ (1 << np.arange(bits)[::-1])

    @property
    def has_more(self) -> bool:
        """Whether what was not read is more than zeros that fill a byte."""
        return bool(self._flags[self._at :].any())
