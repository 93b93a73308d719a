import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nerve_jax.data import rle
from nerve_jax.data.columns import fill, gather_labels, read_row
from nerve_jax.data.outlines import (
    NERVE_ALONE,
    Wanted,
    average,
    choose_mask,
    draw_outlines,
    encode_outlines,
    vote,
)
from nerve_jax.system.errors import InputError

SIZE = (12, 18)
masks = hnp.arrays(bool, SIZE)


def record_of(outlines, labelled=True):
    """A record whose outlines are {structure: {reader: mask}}."""
    text = {
        s: {r: rle.encode(m) for r, m in own.items()} for s, own in outlines.items()
    }
    return {
        "image": np.full((*SIZE, 1), 90, np.uint8),
        "mask": np.zeros((*SIZE, 1), np.uint8),
        "frame": b"f",
        "subject": b"p",
        "labelled": labelled,
        "spacing_mm": (np.nan, np.nan),
        "outlines": json.dumps(text).encode(),
    }


def boxes(*columns):
    """Masks of whole columns, each up to a number of them."""
    return [np.broadcast_to(np.arange(SIZE[1]) < n, SIZE).copy() for n in columns]


@given(st.lists(masks, min_size=1, max_size=5))
def test_a_truth_is_what_most_readers_outlined_and_the_first_of_two_halves(drawn):
    truth = vote({str(i): mask for i, mask in enumerate(drawn)}, SIZE)
    share = np.mean(drawn, axis=0)
    np.testing.assert_array_equal(truth[share != 0.5], (share > 0.5)[share != 0.5])
    np.testing.assert_array_equal(truth[share == 0.5], drawn[0][share == 0.5])


def test_two_readers_make_the_truth_of_the_first_and_the_mean_of_both():
    first, second = boxes(6, 12)
    outlines = {"anna": first, "ben": second}
    np.testing.assert_array_equal(vote(outlines, SIZE), first)
    soft = average(outlines, SIZE)
    assert np.unique(soft[:, :6]).tolist() == [255]
    assert np.unique(soft[:, 6:12]).tolist() == [128]
    assert np.unique(soft[:, 12:]).tolist() == [0]
    assert not vote({}, SIZE).any()
    assert not average({}, (4, 6)).any()


@given(masks)
def test_one_reader_is_the_truth_as_a_record_without_outlines_has_it(mask):
    old = record_of({}) | {"mask": mask[..., None].astype(np.uint8), "outlines": b""}
    new = record_of({"nerve": {"reader1": mask}})
    rows = [read_row(record, (6, 9)) for record in (old, new)]
    for name, value in rows[0].items():
        np.testing.assert_array_equal(value, rows[1][name], err_msg=name)
    del old["outlines"]  # version 1.1.0
    np.testing.assert_array_equal(draw_outlines(old)["nerve"]["reader1"], mask)
    assert draw_outlines(old | {"labelled": False}) == {}


def test_rows_keep_every_structure_and_reader_and_who_looked_for_what():
    first, second = boxes(6, 12)
    records = [
        record_of({"nerve": {"a": first, "b": second}, "vessel": {"b": second}}),
        record_of({"vessel": {"a": first}}),
    ]
    wanted, readers = Wanted(("vessel", "nerve")), ("a", "b")
    rows = (read_row(record, (6, 9), wanted, readers) for record in records)
    labels = gather_labels(fill(rows, 2), wanted, readers)["labels"]
    assert list(labels) == ["vessel", "nerve"]
    assert labels["nerve"].labelled.tolist() == [True, False]
    assert labels["vessel"].labelled.all()
    assert labels["nerve"].truths == (rle.encode(first), "")
    assert labels["nerve"].readers["b"] == (rle.encode(second), None)
    assert labels["vessel"].readers == {
        "a": (None, rle.encode(first)),
        "b": (rle.encode(second), None),
    }
    of_b = labels["nerve"].of_reader("b")
    assert of_b.truths == (rle.encode(second), "")
    assert of_b.labelled.tolist() == [True, False]
    last = labels["vessel"].choose(np.array([1]))
    assert last.readers == {"a": (rle.encode(first),), "b": (None,)}
    assert last.masks.shape == (1, 6, 9)


def test_one_reader_alone_can_be_the_truth():
    first, second = boxes(6, 12)
    record = record_of({"nerve": {"a": first, "b": second}})
    row = read_row(record, SIZE, Wanted(reader="b"), ("a", "b"))
    assert row["nerve.truths"] == rle.encode(second)
    np.testing.assert_array_equal(row["nerve.masks"], second * np.uint8(255))
    unseen = record_of({"nerve": {"a": first}})
    row = read_row(unseen, SIZE, Wanted(reader="b"), ("a", "b"))
    assert not row["nerve.labelled"]
    assert row["nerve.readers.a"] == rle.encode(first)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(("artery",)), r"has \(\"nerve\",\"vessel\"\).*structures.csv"),
        (Wanted(("nerve", "nerve")), "Name each of those that you want once"),
        (Wanted(()), "Name each"),
        (Wanted(reader="carl"), "data.reader='carl' is not one of: mean, a, b"),
    ],
)
def test_what_a_data_set_does_not_have_is_named_with_what_it_has(wanted, message):
    with pytest.raises(InputError, match=message):
        wanted.check(["nerve", "vessel"], ["a", "b"], "the set")
    NERVE_ALONE.check(["nerve", "vessel"], ["a", "b"], "the set")


def test_a_set_to_score_may_lack_some_structures_but_not_all():
    both = Wanted(("nerve", "vessel"), if_there=True)
    both.check(["nerve"], ["reader1"], "the set")
    both.check(["vessel", "artery"], ["reader1"], "the set")
    for there in (["artery"], []):
        with pytest.raises(InputError, match="the set has"):
            both.check(there, ["reader1"], "the set")
    row = read_row(record_of({"nerve": {"a": boxes(6, 12)[0]}}), SIZE, both)
    assert [bool(row[f"{name}.labelled"]) for name in both.structures] == [True, False]


def test_what_is_kept_on_disk_has_a_name_of_its_own_for_every_wish():
    wishes = [
        NERVE_ALONE,
        Wanted(("vessel",)),
        Wanted(("nerve", "vessel")),
        Wanted(reader="a"),
        Wanted(("a",)),  # a structure may have a reader's name
        Wanted(("nerve", "a")),
        Wanted(("nerve",), "vessel"),
        Wanted(("vessel",), "nerve"),
        *(Wanted(tuple(f"{'x' * 40}{n}" for n in range(count))) for count in (7, 8)),
        Wanted(tuple(f"{'x' * 40}{n}" for n in (1, 0, *range(2, 8)))),
    ]
    names = [wanted.name for wanted in wishes]
    assert max(map(len, names)) < 200  # of the 255 bytes that a name may have
    assert names[0] == ""  # as before there were any
    assert len(set(names)) == len(names)


SMALL = (5, 7)
DRAWN = hnp.arrays(np.bool_, SMALL)


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.dictionaries(st.sampled_from("xy"), DRAWN, min_size=1),
    )
)
def test_outlines_come_back_from_their_code_in_order(outlines):
    code = json.loads(encode_outlines(outlines, ["c", "a", "b"], ["y", "x"]))
    assert list(code) == [name for name in "cab" if name in outlines]
    for name, of_reader in code.items():
        assert list(of_reader) == [r for r in "yx" if r in outlines[name]]
        for reader, runs in of_reader.items():
            np.testing.assert_array_equal(
                rle.decode(runs, *SMALL), outlines[name][reader]
            )


@given(DRAWN)
def test_the_nerve_alone_by_one_reader_has_no_code(mask):
    assert encode_outlines({"nerve": {"reader1": mask}}, ["nerve"], ["reader1"]) == ""
    assert encode_outlines({}, ["nerve"], ["reader1"]) == ""
    assert encode_outlines({}, ["artery"], ["reader1"]) == "{}"
    assert encode_outlines({}, ["nerve"], ["anna"]) == "{}"


def test_the_first_reader_who_gave_an_outline_counts():
    first, second = np.eye(5, 7, dtype=bool), np.ones(SMALL, bool)
    outlines = {"nerve": {"x": first, "y": second}, "vessel": {"y": second}}
    readers = ["x", "y"]
    assert choose_mask(outlines, "nerve", readers, SMALL) is first
    assert choose_mask(outlines, "vessel", readers, SMALL) is second
    assert not choose_mask(outlines, "bone", readers, SMALL).any()


def test_folders_that_are_readers_are_named_where_a_structure_is_not_there():
    with pytest.raises(InputError, match=r'has \("anna","ben"\).*data.readers=True'):
        Wanted(("nerve",)).check(["anna", "ben"], ["reader1"], "set/1.0")
