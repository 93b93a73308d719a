"""Boxes and polygons that a tracker carries through a clip."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands import labels
from nerve_jax.data.exchange import cvat
from nerve_jax.data.exchange.tracks import Position, carry
from nerve_jax.data.ultrasound_nerve.checking import check_frames
from nerve_jax.data.ultrasound_nerve.layouts import list_source
from nerve_jax.data.ultrasound_nerve.reading import read_frames
from nerve_jax.system.errors import InputError
from tests.samples import sweep, write_clip

SIZE, COUNT = (32, 48), 8


def box(frame, left, gone=0, key=1):
    attributes = {"frame": frame, "outside": gone, "keyframe": key, "occluded": 0}
    attributes |= {"xtl": left, "ytl": 4, "xbr": left + 10, "ybr": 12}
    texts = {key: str(value) for key, value in attributes.items()}
    return ElementTree.tostring(ElementTree.Element("box", texts), encoding="unicode")


def polygon(frame, left, gone=0):
    points = ";".join(f"{x},{y}" for x, y in [(left, 4), (left + 10, 4), (left, 12)])
    return f'<polygon frame="{frame}" outside="{gone}" points="{points}"/>'


def track(*elements, label="nerve"):
    return f'<track id="0" label="{label}">{"".join(elements)}</track>'


@pytest.fixture(params=["video", "folder", "frames"])
def clip(request, tmp_path):
    """A folder with a clip p1_c: a video, a folder in images/, or images/ itself."""
    frames = sweep(COUNT, SIZE)
    folder = tmp_path / "in"
    images = folder / "images"
    images.mkdir(parents=True)
    if request.param == "video":
        write_clip(images / "p1_c.mp4", frames)
    else:
        images = images / "p1_c" if request.param == "folder" else images
        images.mkdir(exist_ok=True)
        for number, values in enumerate(frames):
            Image.fromarray(values).save(images / f"frame_{number:06}.png")
    return folder


@pytest.fixture
def video(tmp_path):
    """A folder with a video p1_c.mp4."""
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in/p1_c.mp4", sweep(COUNT, SIZE))
    return tmp_path / "in"


def write(folder, *tracks, source="p1_c.mp4", file="annotations.xml", meta=""):
    text = (
        f"<annotations><meta><task><mode>interpolation</mode>{meta}<labels>"
        "<label><name>nerve</name></label><label><name>vein</name></label></labels>"
        f"<source>{source}</source></task></meta>{''.join(tracks)}</annotations>"
    )
    (folder / file).write_text(text)
    return folder


def test_boxes_are_carried_between_positions(clip):
    gone = box(6, 14, gone=1)
    frames = list(cvat.read(write(clip, track(box(1, 2), box(4, 8), gone))))
    assert [one.name for one in frames] == [f"p1_c#{n}" for n in range(COUNT)]
    assert [one.number for one in frames] == list(range(COUNT))
    lefts = [None, 2, 4, 6, 8, 11, None, None]
    for one, left in zip(frames, lefts, strict=True):
        expected = np.zeros(SIZE, bool)
        if left is not None:
            expected[4:12, left : left + 10] = True
        assert np.array_equal(one.masks["nerve"], expected)
        assert not one.masks["vein"].any()


def test_every_box_that_is_listed_counts(video):
    """Export lists interpolated boxes, too, and an end behind the last frame."""
    boxes = [box(n, 2 * n, key=int(n in (0, 7))) for n in range(COUNT)]
    frames = list(cvat.read(write(video, track(*boxes, box(COUNT, 14, gone=1)))))
    assert [np.argmax(f.masks["nerve"].any(0)) for f in frames] == list(range(0, 16, 2))


def test_tracks_of_one_structure_are_united_and_the_last_position_stays(video):
    tracks = track(box(0, 2)), track(box(2, 20)), track(box(0, 30), label="vein")
    frames = list(cvat.read(write(video, *tracks)))
    assert [int(f.masks["nerve"].sum()) for f in frames] == [80] * 2 + [160] * 6
    assert all(f.masks["vein"][4:12, 30:40].all() for f in frames)


def test_a_track_may_come_back(video):
    boxes = [box(0, 2), box(2, 2, gone=1), box(5, 20), box(6, 20, gone=1)]
    frames = list(cvat.read(write(video, track(*boxes))))
    seen = [bool(f.masks["nerve"].any()) for f in frames]
    assert seen == [True, True, False, False, False, True, False, False]


def test_a_box_turns_the_shorter_way():
    def at(frame, angle):
        return Position(frame, np.array([0.0, 0, 4, 2, angle]), False, "here")

    assert carry([at(0, 350), at(10, 10)], 5).box[4] == pytest.approx(360)
    assert carry([at(0, 10), at(10, 350)], 5).box[4] == pytest.approx(0)
    assert carry([at(3, 0)], 2) is None


def test_polygons_are_those_of_their_frames(video):
    shapes = [polygon(n, n) for n in range(3)]
    frames = list(cvat.read(write(video, track(*shapes, polygon(3, 3, gone=1)))))
    counts = [int(f.masks["nerve"].sum()) for f in frames]
    assert counts[0] == counts[1] == counts[2] > 30 and counts[3:] == [0] * 5


def test_clips_nobody_labelled_are_unlabelled(video):
    write_clip(video / "p2_c.mp4", sweep(3, SIZE))
    Image.new("L", (3, 3)).save(video / "still.png")
    frames = list(cvat.read(write(video, track(box(0, 2)))))
    assert [f.masks for f in frames if f.name.startswith("p2_c")] == [{}] * 3


def test_several_files_label_a_clip_each(video):
    write_clip(video / "p2_c.mp4", sweep(3, SIZE))
    write(video, track(box(0, 2)))
    write(video, track(box(0, 9)), source="p2_c.mp4", file="b.xml")
    first = {f.name: np.argmax(f.masks["nerve"].any(0)) for f in cvat.read(video)}
    assert first["p1_c#0"] == 2 and first["p2_c#2"] == 9


def test_the_builder_reads_what_the_command_makes(clip, tmp_path):
    write(clip, track(box(1, 2), box(4, 8)))
    labels.convert(clip, tmp_path / "out", "cvat")
    listing = list_source("folder", tmp_path / "out")
    check_frames(listing.splits, listing.problems)
    assert listing.structures == ["nerve", "vein"]
    for (frame, stored), mask in zip(
        read_frames(listing.splits["train"]), cvat.read(clip), strict=True
    ):
        assert frame.frame == mask.name
        for structure in ("nerve", "vein"):
            found = stored.outlines[structure]["reader1"]
            assert np.array_equal(found, mask.masks[structure])


BAD = {
    "label": ([track(box(0, 2), label="artery")], "", "'artery' is not declared"),
    "beyond": ([track(box(0, 2), box(9, 3))], "", "frame 9, but the clip has 8 frames"),
    "order": ([track(box(3, 2), box(1, 3))], "", "out of order"),
    "twice": ([track(box(3, 2), box(3, 3))], "", "out of order"),
    "number": ([track(box("x", 2))], "", "frames without a number"),
    "digits": ([track(box("9" * 5000, 2))], "", "frames without a number"),
    "sizes": (
        [track(box(12, 2))],
        f"<stop_frame>{'9' * 5000}</stop_frame>",
        "frame 12, but the clip has",
    ),
    "outside": ([track(box(0, 45))], "", "frame 0, box: reaches beyond"),
    "gap": (
        [track(polygon(0, 2), polygon(4, 2))],
        "",
        "no polygon of its own from frame",
    ),
    "end": ([track(polygon(0, 2))], "", "no polygon of its own from frame 1"),
    "polyline": (
        [track('<polyline frame="7" outside="0" points="1,2;3,4"/>')],
        "",
        "no outline of an area",
    ),
    "size": (
        [],
        "<original_size><width>9</width><height>9</height></original_size>",
        "labels of 9x9 px, but the clip is 48x32 px",
    ),
    "long": ([], "<stop_frame>9</stop_frame>", "frames 0 to 9, but the clip has"),
    "part": ([], "<start_frame>2</start_frame>", "frames 2 to 7, but the clip has"),
}


@pytest.mark.parametrize(("tracks", "meta", "message"), BAD.values(), ids=BAD)
def test_tracks_that_do_not_fit_are_refused(video, tracks, meta, message):
    with pytest.raises(InputError, match=message):
        cvat.read(write(video, *tracks, meta=meta))


def test_every_fifth_frame_covers_a_clip(video):
    meta = "<stop_frame>5</stop_frame><frame_filter>step=5</frame_filter>"
    assert len(list(cvat.read(write(video, track(box(0, 2)), meta=meta)))) == COUNT


def test_a_clip_that_is_not_there_is_named(video):
    write_clip(video / "p2_c.mp4", sweep(3, SIZE))
    write(video, track(box(0, 2)), source="other.mp4")
    with pytest.raises(
        InputError, match=r"other.mp4: that clip is not there; there: p1_c"
    ):
        cvat.read(video)


def test_two_files_of_one_clip_are_refused(video):
    write(video, track(box(0, 2)))
    with pytest.raises(InputError, match="2 entries of one picture"):
        cvat.read(write(video, track(box(0, 2)), file="b.xml"))
