import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nerve_jax.data import rle

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(MASKS)
def test_decoding_gives_back_what_was_encoded(mask):
    np.testing.assert_array_equal(rle.decode(rle.encode(mask), *mask.shape), mask)


@given(MASKS, st.integers(0, 9))
def test_shared_pixels_are_counted_without_decoding(mask, seed):
    other = np.random.default_rng(seed).random(mask.shape) < seed / 9
    shared = rle.count_shared(rle.encode(mask), np.flatnonzero(other.T))
    assert shared == (mask & other).sum()


@given(MASKS)
def test_runs_are_maximal_and_cover_the_area(mask):
    numbers = np.array(rle.encode(mask).split(), int).reshape(-1, 2)
    assert numbers[:, 1].sum() == mask.sum()
    ends = numbers[:-1].sum(axis=1)
    assert (numbers[1:, 0] > ends).all()


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["..", ".."], ""),
        (["#.", ".."], "1 1"),
        ([".#", ".."], "3 1"),  # down the first column, then the second
        (["#.", "#."], "1 2"),
        ([".#", "#."], "2 2"),  # a run goes on at the top of the next column
        (["###", "#.#"], "1 3 5 2"),
    ],
)
def test_written_by_hand(rows, text):
    mask = np.array([[cell == "#" for cell in row] for row in rows])
    assert rle.encode(mask) == text
    np.testing.assert_array_equal(rle.decode(text, *mask.shape), mask)


@pytest.mark.parametrize(
    "text", ["1", "0 1", "1 0", "4 2", "3 1 1 1", "1 2 2 1", "a b", "1 -1", "1 99"]
)
def test_wrong_codes_are_refused(text):
    with pytest.raises(ValueError, match="run"):
        rle.decode(text, 2, 2)


@given(st.text(alphabet="0123456789 -", max_size=12))
def test_any_text_gives_a_mask_or_a_value_error(text):
    try:
        mask = rle.decode(text, 3, 4)
    except ValueError:
        return
    numbers = [int(n) for n in text.split()]
    assert mask.sum() == sum(numbers[1::2])
