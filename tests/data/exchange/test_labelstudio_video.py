"""Boxes that Label Studio carries through a clip."""

import json

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data.exchange import labelstudio
from nerve_jax.system.errors import InputError
from tests.samples import sweep, write_clip

SIZE, COUNT = (32, 48), 8


def key(frame, left, **changes):
    """A keyframe of a box of 12 by 8 px, 4 px below the upper edge."""
    box = {"x": 100 * left / 48, "y": 12.5, "width": 25, "height": 25, "rotation": 0}
    return {"frame": frame, "enabled": True, "time": 0.1} | box | changes


def sequence(*keys, **changes):
    value = {"sequence": [*keys], "framesCount": COUNT, "labels": ["Nerve"]}
    return {"id": "r1", "type": "videorectangle", "value": value | changes}


def task(*results, **changes):
    data = {"video": "/data/upload/2/ab12cd34-c.mp4"}
    return {"id": 3, "data": data, "annotations": [{"result": results}]} | changes


@pytest.fixture
def folder(tmp_path):
    """Return `folder(*tasks)`, an export beside a clip."""
    write_clip(tmp_path / "c.mp4", sweep(COUNT, SIZE))

    def make(*tasks):
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        return tmp_path

    return make


def find_lefts(folder):
    """The left edge of the nerve in each frame, None where there is none."""
    found = []
    for number, one in enumerate(labelstudio.read(folder)):
        assert (one.name, one.number, one.size) == (f"c#{number}", number, SIZE)
        rows, columns = np.nonzero(one.masks["nerve"])
        assert not len(rows) or (rows.min(), rows.max(), len(rows)) == (4, 11, 96)
        found.append(int(columns.min()) if len(rows) else None)
    return found


def test_boxes_are_carried_between_keyframes_and_stay_after_the_last(folder):
    lefts = find_lefts(folder(task(sequence(key(2, 0), key(6, 8)))))
    assert lefts == [None, 0, 2, 4, 6, 8, 8, 8]


def test_a_keyframe_that_is_not_enabled_is_the_last_to_show_its_box(folder):
    keys = [key(1, 4), key(3, 8, enabled=False), key(6, 20), key(7, 20, enabled=False)]
    found = find_lefts(folder(task(sequence(*keys))))
    assert found == [4, 6, 8, None, None, 20, 20, None]


def test_labels_may_be_in_a_second_region_of_its_id(folder):
    bare, named = sequence(key(1, 4), labels=[]), sequence(key(1, 4))
    found = find_lefts(folder(task(bare, named | {"type": "labels"})))
    assert found == [4] * COUNT


def test_other_clips_are_unlabelled_and_pictures_may_be_in_one_export(folder):
    empty = {"id": 9, "data": {"image": "p.png"}, "annotations": [{"result": []}]}
    root = folder(task(sequence(key(1, 4))), empty)
    write_clip(root / "d.mp4", sweep(2, SIZE))
    Image.new("L", (3, 4)).save(root / "p.png")
    masks = {one.name: one.masks for one in labelstudio.read(root)}
    assert masks["c#0"]["nerve"].any() and not masks["p"]["nerve"].any()
    assert masks["d#1"] == {} and len(masks) == COUNT + 2 + 1


def test_a_clip_that_nobody_annotated_is_unlabelled(folder):
    root = folder(task(sequence(key(1, 4))), task(id=4, annotations=[]))
    with pytest.raises(InputError, match="2 entries of one"):
        labelstudio.read(root)
    write_clip(root / "d.mp4", sweep(2, SIZE))
    other = task(id=4, annotations=[], data={"video": "d.mp4"})
    masks = {
        one.name: one.masks
        for one in labelstudio.read(folder(task(sequence(key(1, 4))), other))
    }
    assert masks["d#0"] == {}


BAD = {
    "outside": (task(sequence(key(1, 40))), "region r1, frame 1: reaches beyond"),
    "turned": (task(sequence(key(1, 4, rotation=5))), "frame 1: a box that is turned"),
    "twice": (task(sequence(key(1, 4), key(1, 5))), "two keyframes of one frame"),
    "before": (task(sequence(key(0, 4))), "keyframes 0 to 0 of frames 1 to 8"),
    "after": (task(sequence(key(10, 4))), "keyframes 10 to 10 of frames 1 to 8"),
    "length": (task(sequence(key(1, 4), framesCount=12)), "of a clip of 12 frames"),
    "no number": (task(sequence(key("a", 4))), "no whole number"),
    "no box": (task(sequence({"frame": 1})), "not as its program writes it"),
    "no label": (task(sequence(key(1, 4), labels=[])), "no label; give it one"),
    "not there": (
        task(sequence(key(1, 4)), data={"video": "x.mp4"}),
        "1 picture .* not .*: x.mp4",
    ),
}


@pytest.mark.parametrize(("found", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_carried_is_refused(folder, found, message):
    with pytest.raises(InputError, match=message):
        labelstudio.read(folder(found))


def test_a_damaged_clip_is_refused(folder):
    root = folder(task(sequence(key(1, 4))))
    (root / "c.mp4").write_bytes((root / "c.mp4").read_bytes()[:200])
    with pytest.raises(InputError, match="c.mp4: "):
        labelstudio.read(root)
