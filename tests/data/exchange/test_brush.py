"""Label Studio's code of brushed regions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nerve_jax.data.exchange import brush
from tests.data.exchange.making import masks_of

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(deadline=None)
@given(SIZES.flatmap(masks_of))
def test_a_mask_is_coded_exactly(mask):
    assert np.array_equal(brush.decode(bytes(brush.encode(mask)), mask.shape), mask)


def test_runs_longer_than_a_length_holds_are_parted():
    mask = np.zeros((200, 300), bool)
    mask[100:, 10:] = True
    assert np.array_equal(brush.decode(bytes(brush.encode(mask)), mask.shape), mask)


def test_the_code_is_that_of_label_studio():
    """A picture of 2x1 px, coded by `brush.mask2rle` of label-studio-converter 0.0.59."""
    code = [0, 0, 0, 8, 57, 27, 252, 96, 17, 255, 128]
    mask = np.array([[False, True]])
    assert brush.encode(mask) == code
    assert np.array_equal(brush.decode(bytes(code), (1, 2)), mask)


@settings(deadline=None)
@given(st.data(), st.lists(st.integers(1, 16), min_size=4, max_size=4))
def test_values_one_by_one_and_repeated_are_read_with_any_lengths(data, lengths):
    size = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    values = data.draw(hnp.arrays(np.uint8, (*size, 4)))
    flat, fields = values.ravel().tolist(), [(values.size, 32), (7, 5)]
    fields += [(length - 1, 4) for length in lengths]
    at = 0
    while at < len(flat):
        choice = data.draw(st.integers(0, 3))
        most = min(2 ** lengths[choice], len(flat) - at)
        count = data.draw(st.integers(1, most))
        same = len(set(flat[at : at + count])) == 1 and data.draw(st.booleans())
        fields += [(int(same), 1), (choice, 2), (count - 1, lengths[choice])]
        fields += [(v, 8) for v in flat[at : at + (1 if same else count)]]
        at += count
    text = "".join(f"{number:0{bits}b}" for number, bits in fields)
    text += "0" * (-len(text) % 8)
    code = int(text, 2).to_bytes(len(text) // 8)
    assert np.array_equal(brush.decode_values(code, size), values)


@pytest.mark.parametrize("opacity", [1, 100, 128, 255])
def test_half_of_the_largest_alpha_is_the_edge(opacity):
    values = np.array([0, opacity // 2 - 1, (opacity + 1) // 2, opacity]).clip(0)
    fields = [(16, 32), (7, 5), *[(7, 4)] * 4]
    fields += [f for v in values for f in ((1, 1), (0, 2), (3, 8), (int(v), 8))]
    text = "".join(f"{number:0{bits}b}" for number, bits in fields)
    text += "0" * (-len(text) % 8)
    code = int(text, 2).to_bytes(len(text) // 8)
    expected = [False, False, True, True]
    assert brush.decode(code, (1, 4)).tolist() == [expected]


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), max_size=40))
def test_any_bytes_are_a_mask_or_refused(code):
    try:
        assert brush.decode(bytes([0, 0, 0, 24, *code]), (2, 3)).shape == (2, 3)
    except ValueError as error:
        assert str(error).startswith("its rle")
