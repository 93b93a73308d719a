import numpy as np
import pytest

from nerve_jax.data import rle
from nerve_jax.reports.tables import list_readers
from nerve_jax.scoring.readers import compare_readers

SIZE = (10, 10)


def box(width):
    """Run lengths of a mask of so many columns; None for who has not looked."""
    if width is None:
        return None
    return rle.encode(np.broadcast_to(np.arange(10) < width, SIZE).copy())


def compare(readers, predicted, people="aabb"):
    drawn = {name: [box(w) for w in widths] for name, widths in readers.items()}
    model = [box(w) for w in predicted]
    return compare_readers(drawn, model, np.array([SIZE] * len(model)), list(people))


def dice(first, second):
    return 2 * min(first, second) / (first + second) if first + second else 1.0


def test_each_pair_is_scored_on_the_frames_that_both_have_outlined():
    readers = {"anna": [4, 0, 6, None], "ben": [6, 0, None, 2]}
    found = compare(readers, [4, 0, 3, 4])
    pairs = {(row["first"], row["second"]): row for row in found["pairs"]}
    assert list(pairs) == [("anna", "ben"), ("anna", "model"), ("ben", "model")]
    between = pairs["anna", "ben"]
    assert between["num_frames"] == 2
    assert between["dice"] == pytest.approx((dice(4, 6) + 1) / 2)
    assert between["dice_present"] == pytest.approx(dice(4, 6))
    model = pairs["anna", "model"]
    assert model["num_frames"] == 3
    assert model["dice"] == pytest.approx((1 + 1 + dice(6, 3)) / 3)
    low, high = model["intervals"]["dice"]
    assert low <= model["dice"] <= high


def test_the_ceiling_is_of_frames_that_two_have_outlined_and_counts_each_once():
    readers = {"a": [4, 4, None, 4], "b": [6, 4, 5, None], "c": [8, None, None, None]}
    found = compare(readers, [6, 4, 1, 1])
    assert found["num_frames"] == 2
    first = np.mean([dice(4, 6), dice(4, 8), dice(6, 8)])
    assert found["between_readers"]["dice"] == pytest.approx((first + 1) / 2)
    model = np.mean([dice(4, 6), 1, dice(8, 6)])
    assert found["with_model"]["dice"] == pytest.approx((model + 1) / 2)
    assert found["difference"]["dice"] == pytest.approx((model - first) / 2)


def test_readers_come_first_and_pairs_without_a_common_frame_are_not_shown():
    """The third reader has never seen the structure."""
    found = compare({"a": [4, 4], "b": [6, 4], "c": [None, None]}, [6, 4], people="ab")
    pairs = [(row["first"], row["second"]) for row in found["pairs"]]
    assert pairs == [
        *(("a", "b"), ("a", "c"), ("b", "c")),
        *((name, "model") for name in "abc"),
    ]
    assert [row[:3] for row in list_readers(found)] == [
        ("a", "b", "2"),
        ("model", "a", "2"),
        ("model", "b", "2"),
    ]


def test_a_model_that_draws_as_a_reader_does_reaches_the_ceiling():
    widths = np.random.default_rng(0).integers(0, 9, (2, 40)).tolist()
    readers = dict(zip("ab", widths, strict=True))
    found = compare(readers, widths[0], people=[str(i // 4) for i in range(40)])
    assert found["with_model"]["dice"] > found["between_readers"]["dice"]
    rows = {(row["first"], row["second"]): row["dice"] for row in found["pairs"]}
    assert rows["a", "model"] == 1
    assert rows["b", "model"] == rows["a", "b"]


def test_without_a_frame_that_two_have_outlined_there_is_no_ceiling():
    found = compare({"a": [4, None], "b": [None, 4]}, [4, 4], people="ab")
    assert found["num_frames"] == 0
    assert np.isnan(found["between_readers"]["dice"])
    assert np.isnan(found["difference"]["dice"])
    assert np.isnan(found["pairs"][0]["dice"])
    assert found["pairs"][1]["dice"] == 1
