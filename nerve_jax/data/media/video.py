"""Clips in mp4, mov, avi and mkv files, decoded as a stream by PyAV."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data.frames import MAX_PIXELS, Grey, in_words, open_file
from nerve_jax.data.media.ends import check_end
from nerve_jax.data.media.medium import Medium
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import require

# The format is named to the decoder, so that no file is taken for a list of others.
HEADS = ((4, b"ftyp", "mov"), (8, b"AVI ", "avi"), (0, b"\x1aE\xdf\xa3", "matroska"))
OTHER_HEADS = (b"moov", b"mdat", b"wide", b"free", b"skip")  # of old mov files
SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
UNEVEN = 0.5  # of the usual interval between frames, from which one differs
UNEVEN_SHARE = 0.05  # of a clip's length by which its intervals may differ in all
DROPPED = 1.5  # frames that a recorder may drop in a clip however short
MISSING = 0.75  # of an interval, from which a clip's end is missing


def find_format(head: bytes) -> str:
    """The format of a file that begins so, as FFmpeg calls it; "" for others."""
    for place, letters, name in HEADS:
        if head[place : place + len(letters)] == letters:
            return name
    return "mov" if head[4:8] in OTHER_HEADS else ""


def describe(path: Path) -> Medium:
    """Go through a clip without decoding more than its first frame.

    Raises:
      ValueError: it has no picture or no frame, ends too early, is turned by its
        metadata, has too many pixels or a frame rate that varies.
      InputError: PyAV is missing.
    """
    with _in_words(), _open(path) as container:
        stream = _find_stream(container)
        times = [
            packet.pts if packet.pts is not None else packet.dts
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
        if not times:
            raise InputError("a clip without a frame")
        known = np.sort([time for time in times if time is not None])
        _check_length(container, stream, len(times), known)
        _check_rate(known)
        container.seek(0)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise InputError("no frame in it can be decoded")
        if frame.rotation:
            raise InputError(
                f"turned by {frame.rotation} degrees by its metadata; save it upright, "
                "e.g. ffmpeg -i IN.mp4 OUT.mp4, for outlines may be drawn on it either way"
            )
        return Medium(path, "video", len(times))


def read_grey(medium: Medium) -> Iterator[Grey]:
    """Decode the luminance of frame after frame; see `_decode` for errors."""
    for values in _decode(medium, "gray"):
        yield Grey(values, 0)


def read_colour(medium: Medium) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Decode the colours of frame after frame; see `_decode` for errors."""
    return _decode(medium, "rgb24")


def _decode(medium: Medium, pixels: str) -> Iterator[np.ndarray]:
    """Decode frame after frame.

    Raises:
      ValueError: damaged, frames of two sizes, or fewer than it should have.
    """
    count, size = 0, None
    with _in_words(), _open(medium.path) as container:
        stream = _find_stream(container)
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            shape = frame.height, frame.width
            size = size or shape
            if shape != size:
                raise InputError(f"frames of two sizes: {size} and {shape}")
            if frame.is_corrupt:
                raise InputError(f"frame {count} is damaged")
            yield frame.to_ndarray(format=pixels)
            count += 1
        if count != medium.num_frames:
            raise InputError(
                f"{count} of its {medium.num_frames} frames can be decoded"
            )


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """`frames.in_words`, without the path that FFmpeg adds to what it says."""
    av = require("av", "clips", "clips")
    with in_words():
        try:
            yield
        except av.FFmpegError as error:
            raise InputError(f"cannot be decoded ({error.strerror})") from error


def _open(path: Path):
    """Open a clip. FFmpeg's log stays off: its threads would wait for Python's lock."""
    av = require("av", "clips", "clips")
    with open_file(path) as file:
        name = find_format(file.read(16))
    if not path.stat().st_size:
        raise InputError("the file is empty")
    if not name:
        kinds = ", ".join(SUFFIXES)
        raise InputError(f"none of {kinds} by its content")
    check_end(path, name)
    return av.open(str(path), format=name)


def _find_stream(container):
    """The only stream of pictures, apart from a cover."""
    av = require("av", "clips", "clips")
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        raise InputError(f"no picture, only {' and '.join(kinds) or 'nothing'}")
    if len(streams) > 1:
        raise InputError(
            f"{len(streams)} streams of pictures; save each as a file of its own, e.g. "
            "ffmpeg -i IN.mkv -map 0:v:0 OUT.mkv"
        )
    (stream,) = streams
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError(f"{stream.width}x{stream.height} px are too many")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _check_length(container, stream, count: int, known: np.ndarray) -> None:
    """Raise `InputError` for fewer frames than stated, by number or by time.

    Args:
      container: of the clip.
      stream: of its pictures.
      count: of its frames.
      known: their times in units of the stream, sorted; without those of no time.
    """
    if stream.frames > count:
        raise InputError(
            f"it ends after {count} of {stream.frames} frames; copy it again"
        )
    alone = len(container.streams) == 1  # else the duration may be the sound's
    if stream.frames or not alone or not container.duration or not len(known):
        return
    interval = 1 / float(stream.average_rate or 1)  # the last frame may state this one
    if len(known) > 1:
        usual = float(np.median(np.diff(known)) * stream.time_base)
        interval = max(interval, usual)
    seconds = float(known[-1] * stream.time_base) + interval
    whole = container.duration / 1e6  # FFmpeg's unit is a microsecond
    if seconds < whole - MISSING * interval:
        raise InputError(
            f"it ends after {seconds:.2f} of {whole:.2f} seconds; copy it again"
        )


def _check_rate(known: np.ndarray) -> None:
    """Raise `InputError` where frames do not follow each other at one rate.

    Matroska rounds times to milliseconds, and a recorder may drop a frame: both pass.

    Args:
      known: times of frames, sorted.
    """
    if len(known) < 3:
        return
    intervals = np.diff(known)
    usual = np.median(intervals)
    apart = np.abs(intervals - usual)
    uneven = apart > max(UNEVEN * usual, 1)
    lost = apart[uneven].sum() / max(usual, 1)
    if lost > max(DROPPED, UNEVEN_SHARE * len(intervals)):
        raise InputError(
            f"its frame rate varies ({uneven.sum()} of {len(intervals)} intervals), so a "
            "frame's number says nothing of its time; save it at one rate, e.g. "
            "ffmpeg -i IN.mp4 -fps_mode cfr -r 20 OUT.mp4"
        )
