"""Names of structures."""

import pytest

from nerve_jax.data.structures import name_structure


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
