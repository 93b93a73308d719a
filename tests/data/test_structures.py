import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nerve_jax.data import rle
from nerve_jax.data.outlines import Wanted, choose_mask, encode_outlines
from nerve_jax.data.structures import name_structure
from nerve_jax.system.errors import InputError

SIZE = (5, 7)
MASKS = arrays.arrays(np.bool_, SIZE)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nerve", "nerve"),
        ("Nerve", "nerve"),
        ("N. ulnaris", "n_ulnaris"),
        (" brachial-plexus ", "brachial_plexus"),
        ("Gef\u00e4\u00df 2", "gefass_2"),
        ("A\u0308rztin", "arztin"),
        ("2", ""),
        ("2nd", ""),
        ("../x", "x"),
        ("", ""),
        ("\u795e\u7d4c", ""),
    ],
)
def test_names_have_one_spelling(text, name):
    assert name_structure(text) == name
    assert name_structure(name) == name


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.dictionaries(st.sampled_from("xy"), MASKS, min_size=1),
    )
)
def test_outlines_come_back_from_their_code_in_order(outlines):
    code = json.loads(encode_outlines(outlines, ["c", "a", "b"], ["y", "x"]))
    assert list(code) == [name for name in "cab" if name in outlines]
    for name, of_reader in code.items():
        assert list(of_reader) == [r for r in "yx" if r in outlines[name]]
        for reader, runs in of_reader.items():
            np.testing.assert_array_equal(
                rle.decode(runs, *SIZE), outlines[name][reader]
            )


@given(MASKS)
def test_the_nerve_alone_by_one_reader_has_no_code(mask):
    assert encode_outlines({"nerve": {"reader1": mask}}, ["nerve"], ["reader1"]) == ""
    assert encode_outlines({}, ["nerve"], ["reader1"]) == ""
    assert encode_outlines({}, ["artery"], ["reader1"]) == "{}"
    assert encode_outlines({}, ["nerve"], ["anna"]) == "{}"


def test_the_first_reader_who_gave_an_outline_counts():
    first, second = np.eye(5, 7, dtype=bool), np.ones(SIZE, bool)
    outlines = {"nerve": {"x": first, "y": second}, "vessel": {"y": second}}
    readers = ["x", "y"]
    assert choose_mask(outlines, "nerve", readers, SIZE) is first
    assert choose_mask(outlines, "vessel", readers, SIZE) is second
    assert not choose_mask(outlines, "bone", readers, SIZE).any()


def test_folders_that_are_readers_are_named_where_a_structure_is_not_there():
    with pytest.raises(InputError, match=r'has \("anna","ben"\).*data.readers=True'):
        Wanted(("nerve",)).check(["anna", "ben"], ["reader1"], "set/1.0")
