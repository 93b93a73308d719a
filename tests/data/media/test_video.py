import resource
import struct
import sys

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerve_jax.data import media
from nerve_jax.data.frames import MAX_PIXELS
from tests.samples import MILLISECOND, sweep, write_clip

# Container, codec, pixel format, and by how many grey levels frames may differ.
FORMS = [
    ("mp4", "libx264", "yuv420p", 2),
    ("mp4", "libx264", "yuv444p", 2),
    ("mp4", "libx264", "yuv420p10le", 2),
    ("mp4", "libx265", "yuv420p", 3),
    ("mp4", "mpeg4", "yuv420p", 3),
    ("mov", "libx264", "yuv420p", 2),
    ("mov", "png", "gray", 0),
    ("mov", "prores", "yuv422p10le", 2),
    ("avi", "mjpeg", "yuvj420p", 3),
    ("avi", "rawvideo", "yuv420p", 1),
    ("avi", "rawvideo", "gray", 0),
    ("avi", "mpeg4", "yuv420p", 3),
    ("mkv", "libx264", "yuv420p", 2),
    ("mkv", "ffv1", "gray", 0),
    ("webm", "libvpx-vp9", "yuv420p", 2),
]
QUALITY = {
    "libx264": {"crf": "10"},
    "libx265": {"crf": "10", "x265-params": "log-level=none"},
    "mpeg4": {"qmin": "1", "qmax": "2", "bf": "2"},
    "mjpeg": {"qmin": "1", "qmax": "2"},
}


def write(path, frames=None, codec="libx264", **options):
    frames = sweep() if frames is None else frames
    options.setdefault("stream", QUALITY.get(codec, {}))
    return write_clip(path, frames, codec=codec, **options)


def read(path):
    return np.stack([grey.values for grey in media.read(media.describe(path))])


def count(path):
    medium = media.describe(path)
    found = sum(1 for _ in media.read(medium))
    assert found == medium.num_frames
    return found


def differ(first, second):
    return np.abs(first.astype(int) - second).mean()


def check_refused(path, text):
    with pytest.raises(ValueError, match=text) as caught:
        count(path)
    assert str(path) not in str(caught.value)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form[:3]))
def test_frames_are_those_written(tmp_path, form):
    ending, codec, pixels, most = form
    frames = sweep(12)
    path = write(tmp_path / f"c.{ending}", frames, codec, pixels=pixels)
    medium = media.describe(path)
    assert (medium.kind, medium.num_frames, medium.is_clip) == ("video", 12, True)
    assert differ(read(path), frames) <= most
    (first, *_) = media.read_colour(medium)
    assert first.shape == (48, 64, 3)
    assert differ(first, frames[0][..., None]) <= most + 1


@pytest.mark.parametrize("size", [(49, 67), (50, 66), (16, 18), (63, 129)])
@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx264"])
def test_rows_are_not_padded(tmp_path, size, codec):
    frames = sweep(4, size)
    pixels = {"libx264": "yuv444p", "mjpeg": "yuvj444p"}.get(codec, "yuv420p")
    assert (
        differ(read(write(tmp_path / "c.avi", frames, codec, pixels=pixels)), frames)
        <= 3
    )


@pytest.mark.parametrize("pixels", ["gray", "yuv420p", "yuvj420p"])
def test_the_range_of_grey_is_heeded(tmp_path, pixels):
    frames = sweep()
    frames[:, :8], frames[:, -8:] = 0, 255
    path = write(tmp_path / "c.mp4", frames, pixels=pixels, full=pixels != "yuv420p")
    shown = read(path)
    assert shown[:, :6].max() <= 3
    assert shown[:, -6:].min() >= 252


def test_colours_become_luminance(tmp_path):
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[..., :16, 0], frames[..., 16:32, 1], frames[..., 32:, 2] = 255, 255, 255
    path = write(tmp_path / "c.mp4", frames, pixels="yuv444p")
    shown = read(path)[1, 16, [8, 24, 40]]
    np.testing.assert_allclose(shown, [76, 150, 29], atol=4)
    colour = list(media.read_colour(media.describe(path)))[1][16, [8, 24, 40]]
    np.testing.assert_allclose(colour, 255 * np.eye(3), atol=4)


@pytest.mark.parametrize("name", ["c", "c.dat", "c.avi", "c.png.mp4", "c.MP4"])
def test_a_clip_is_known_by_its_content(tmp_path, name):
    path = write(tmp_path / name, format="mp4")
    assert media.find_kind(path) == "video"
    assert count(path) == 6


def test_frames_in_another_order_than_stored_are_sorted(tmp_path):
    frames = np.arange(12, dtype=np.uint8)[:, None, None] * np.full((48, 64), 20)
    stream = {"bf": "3", "b_strategy": "0", "crf": "10"}
    path = write(tmp_path / "c.mp4", frames.astype(np.uint8), stream=stream)
    with av.open(str(path)) as file:
        times = [packet.pts for packet in file.demux(video=0) if packet.size]
    assert times != sorted(times)
    assert (np.diff(read(path)[:, 20, 20].astype(int)) > 15).all()


EVEN = {
    "even": [50 * i for i in range(30)],
    "milliseconds round": [round(1000 / 24 * i) for i in range(30)],
    "200 a second": [5 * i for i in range(30)],
    "one dropped": [50 * i + 50 * (i > 12) for i in range(30)],
    "one dropped of few": [50 * i + 50 * (i > 2) for i in range(6)],
    "begins late": [500 + 50 * i for i in range(30)],
}
UNEVEN = {
    "jitter": [50 * i + 30 * (i % 3 == 0) for i in range(30)],
    "two rates": [50 * i + 50 * max(0, i - 15) for i in range(30)],
    "a hole": [50 * i + 400 * (i > 12) for i in range(30)],
}


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("name", [*EVEN, *UNEVEN])
def test_only_rates_that_vary_are_refused(tmp_path, name, ending):
    times = (EVEN | UNEVEN)[name]
    path = write(tmp_path / f"c.{ending}", sweep(len(times)), rate=times)
    if name in EVEN:
        assert count(path) == len(times)
    else:
        check_refused(path, "frame rate varies .*-fps_mode cfr")


def test_a_clip_turned_by_its_metadata_is_refused(tmp_path):
    path = write(tmp_path / "c.mp4")
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # the matrix of a track
    turn = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    content[start : start + 36] = struct.pack(">9i", *turn)
    path.write_bytes(content)
    check_refused(path, "turned by -?90 degrees .*upright")


def write_streams(path, *, pictures, sound=False, cover=False):
    """A clip with several streams: a cover, pictures, and 3 s of sound."""
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("mjpeg", rate=20) for _ in range(cover + pictures)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        if cover:
            streams[0].disposition = av.stream.Disposition.attached_pic
        heard = file.add_stream("pcm_s16le", rate=8000) if sound else None
        for number, stream in enumerate(streams):
            for values in sweep(1 if cover and not number else 6):
                frame = av.VideoFrame.from_ndarray(values, format="gray")
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        if heard:
            silence = np.zeros((1, 24000), np.int16)
            samples = av.AudioFrame.from_ndarray(silence, "s16", "mono")
            samples.sample_rate = 8000
            file.mux(heard.encode(samples))
    return path


def test_sound_beside_pictures_does_not_matter(tmp_path):
    assert count(write_streams(tmp_path / "c.mkv", pictures=1, sound=True)) == 6


def test_a_cover_is_no_frame(tmp_path):
    assert count(write_streams(tmp_path / "c.mp4", pictures=1, cover=True)) == 6


def test_two_streams_of_pictures_are_refused(tmp_path):
    path = write_streams(tmp_path / "c.mkv", pictures=2)
    check_refused(path, "2 streams of pictures; save each")


def test_sound_alone_is_refused(tmp_path):
    path = write_streams(tmp_path / "c.mkv", pictures=0, sound=True)
    check_refused(path, "no picture, only audio")


def test_a_clip_without_a_frame_is_refused(tmp_path):
    with av.open(str(tmp_path / "c.avi"), "w") as file:
        stream = file.add_stream("mjpeg", rate=20)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        file.start_encoding()
    check_refused(tmp_path / "c.avi", "a clip without a frame")
    (tmp_path / "e.mp4").write_bytes(b"")
    check_refused(tmp_path / "e.mp4", "the file is empty")


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile c.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nc.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_lists_of_other_files_open_none_of_them(tmp_path, text, ending):
    write(tmp_path / "c.mp4")
    path = tmp_path / f"list.{ending}"
    path.write_text(text)
    check_refused(path, "none of .* by its content")


def test_frames_of_two_sizes_are_refused(tmp_path):
    path = tmp_path / "c.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=20)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        packets = []
        for size in ((48, 64), (32, 48)):
            coder = av.CodecContext.create("mjpeg", "w")
            coder.height, coder.width, coder.pix_fmt = *size, "yuvj420p"
            coder.time_base = MILLISECOND
            for values in sweep(3, size):
                frame = av.VideoFrame.from_ndarray(values, format="gray")
                packets += coder.encode(frame.reformat(format="yuvj420p"))
            packets += coder.encode(None)
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, MILLISECOND
            packet.pts = packet.dts = 50 * number
            file.mux(packet)
    check_refused(path, r"two sizes: \(48, 64\) and \(32, 48\)")


def test_a_clip_of_huge_frames_is_refused_before_one_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "c.mp4")
    monkeypatch.setattr(media.video, "MAX_PIXELS", 48 * 64 - 1)
    check_refused(path, "64x48 px are too many")
    assert MAX_PIXELS > 48 * 64


CONTAINERS = {
    "moov last": ("mp4", "libx264", {}),
    "moov first": ("mp4", "libx264", {"movflags": "faststart"}),
    "mov": ("mov", "mpeg4", {}),
    "mkv": ("mkv", "libx264", {}),
    "webm": ("webm", "libvpx", {}),
    "avi": ("avi", "mjpeg", {}),
    "avi raw": ("avi", "rawvideo", {}),
}


@pytest.fixture(scope="module", params=CONTAINERS)
def whole(request, tmp_path_factory):
    ending, codec, container = CONTAINERS[request.param]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = tmp_path_factory.mktemp("whole") / f"c.{ending}"
    write_clip(path, sweep(30), codec=codec, pixels=pixels, container=container)
    assert count(path) == 30
    return path


FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FEW
@given(data=st.data())
def test_a_clip_cut_anywhere_is_an_error(whole, data):
    content = whole.read_bytes()
    end = data.draw(st.integers(0, len(content) - 1))
    cut = whole.with_name(f"cut{whole.suffix}")
    cut.write_bytes(content[:end])
    check_refused(cut, r".")


@FEW
@given(data=st.data())
def test_a_damaged_clip_has_all_its_frames_or_is_an_error(whole, data):
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    flipped = whole.with_name(f"flipped{whole.suffix}")
    flipped.write_bytes(content)
    try:
        found = count(flipped)
    except (OSError, ValueError) as error:
        assert str(error)
        assert str(flipped) not in str(error)
    else:  # a Matroska file says nothing of how many there should be
        assert found == 30 or whole.suffix in (".mkv", ".webm")


def test_a_damaged_clip_does_not_lock_the_interpreter(tmp_path):
    """Threads of FFmpeg that write to Python's log wait for a lock that is held."""
    path = write(tmp_path / "c.mp4", sweep(40))
    count(path)
    assert av.logging.get_level() is None


def test_frames_are_decoded_one_by_one(tmp_path):
    path = write(tmp_path / "c.mp4", sweep(40))
    frames = media.read(media.describe(path))
    first, second = next(frames), next(frames)
    assert first.values.shape == second.values.shape == (48, 64)
    frames.close()  # does not wait for the rest


@pytest.mark.slow
def test_memory_does_not_grow_with_a_clip(tmp_path):
    def grow(length):
        path = tmp_path / f"{length}.avi"
        moving = (frame for _ in range(length // 50) for frame in sweep(50, (240, 320)))
        write_long(path, moving, (240, 320))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert count(path) == length
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert sys.platform == "linux"  # where the unit is 1024 bytes
    grow(500)
    assert grow(5000) < 20 * 1024


def write_long(path, frames, size):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=20)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for values in frames:
            frame = av.VideoFrame.from_ndarray(values, format="gray")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
