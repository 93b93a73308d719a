"""Labels with anything in any place: they are read, or refused in words."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerve_jax.data.exchange import coco, cvat, nnunet
from nerve_jax.data.exchange.formats import FORMATS
from nerve_jax.system.errors import InputError
from tests.data.exchange.making import make_labelled, new_folders

MASK = np.eye(6, 9, dtype=bool)
FILES = {
    "coco": coco.FILE,
    "nnunet": nnunet.DATASET,
    "labelstudio": "tasks.json",
    "labelme": "p0_a.json",
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 2**31, 2**70, 1.5, -0.0, 1e308, float("nan")]),
    st.sampled_from(
        ["", "0", "nerve", "../a.png", "p0_a.png", "\x00", "ü", "1e5", "a\nb"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "size", "counts", "0"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def find_places(content, place=()):
    """The way to every value in nested lists and dictionaries."""
    yield place
    if isinstance(content, dict | list):
        keys = content if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield from find_places(content[key], (*place, key))


def change(content, place, value):
    """Put a value into a place, or take the place out where it is `...`."""
    if not place:
        return value
    for key in place[:-1]:
        content = content[key]
    if value is ...:
        del content[place[-1]]
    else:
        content[place[-1]] = value
    return None


def write_all(name, source, folder):
    given = make_labelled(
        source, [((6, 9), {"nerve": MASK}), ((6, 9), {"nerve": ~MASK})]
    )
    FORMATS[name].write(folder, given, ("nerve",))


def read_or_refuse(name, folder):
    """Read all; only an error in words may come of it, before the first frame."""
    try:
        frames = FORMATS[name].read(folder)
    except InputError as error:
        assert len(str(error).splitlines()) <= 20
        return
    for frame in frames:
        assert all(mask.shape == frame.size for mask in frame.masks.values())


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_value_in_any_place_of_json(name, data):
    with new_folders() as (source, folder):
        write_all(name, source, folder)
        path = folder / FILES[name]
        content = json.loads(path.read_text())
        for _ in range(data.draw(st.integers(1, 2))):
            place = data.draw(st.sampled_from(list(find_places(content))[1:]))
            change(content, place, data.draw(VALUES | st.just(...)))
        path.write_text(json.dumps(content))
        read_or_refuse(name, folder)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_text_in_any_attribute_of_xml(data):
    with new_folders() as (source, folder):
        write_all("cvat", source, folder)
        path = folder / cvat.FILE
        root = ElementTree.parse(path).getroot()
        element = data.draw(st.sampled_from(list(root.iter())))
        names = [*element.attrib, "rotation"]
        text = data.draw(
            st.sampled_from(["", "x", "-1", "1e9", "nan", "9" * 40, "1,2;3,4"])
        )
        match data.draw(st.sampled_from(["attribute", "no attribute", "text", "tag"])):
            case "attribute":
                element.set(data.draw(st.sampled_from(names)), text)
            case "no attribute":
                element.attrib.pop(names[0], None)
            case "text":
                element.text = text
            case "tag":
                element.tag = data.draw(
                    st.sampled_from(
                        ["box", "polygon", "ellipse", "track", "image", "x"]
                    )
                )
        ElementTree.ElementTree(root).write(path)
        read_or_refuse("cvat", folder)


@pytest.mark.parametrize("name", ["coco", "cvat", "nnunet"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_byte_anywhere(name, data):
    with new_folders() as (source, folder):
        write_all(name, source, folder)
        path = folder / (FILES | {"cvat": cvat.FILE})[name]
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            del content[at:]
        path.write_bytes(content)
        read_or_refuse(name, folder)
