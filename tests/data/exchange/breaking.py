"""Files of labels with one thing in them made wrong."""

import copy

from hypothesis import strategies as st

ODD = [
    None,
    True,
    -1,
    0,
    0.5,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    [],
    {},
    [[]],
    [None],
]


def list_places(content, place=()):
    """The keys that lead to everything in a JSON document but the whole."""
    items = []
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list):
        items = list(enumerate(content))
    for key, value in items:
        yield (*place, key)
        yield from list_places(value, (*place, key))


def broken(content):
    """A strategy: the document with one value in it replaced, or taken out."""

    def put(place, value, is_removed):
        changed = copy.deepcopy(content)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        if is_removed:
            del inner[place[-1]]
        else:
            inner[place[-1]] = value
        return changed

    places = st.sampled_from(list(list_places(content)))
    return st.builds(put, places, st.sampled_from(ODD), st.booleans())


def flipped(content, length):
    """A strategy: bytes with one of the first few replaced."""
    places = st.integers(0, min(length, len(content)) - 1)
    return st.builds(
        lambda place, byte: content[:place] + bytes([byte]) + content[place + 1 :],
        places,
        st.integers(0, 255),
    )
