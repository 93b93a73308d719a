"""Clips in mp4, mov, avi and mkv files, decoded as a stream by PyAV."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from nerve_jax.data.frames import MAX_PIXELS, Grey, in_words
from nerve_jax.data.media.medium import Medium
from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import require

# The format is named to the decoder, so that no file is taken for a list of others.
HEADS = ((4, b"ftyp", "mov"), (8, b"AVI ", "avi"), (0, b"\x1aE\xdf\xa3", "matroska"))
OTHER_HEADS = (b"moov", b"mdat", b"wide", b"free", b"skip")  # of old mov files
SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
UNEVEN = 0.5  # of the usual interval between frames, from which one differs
UNEVEN_SHARE = 0.05  # of intervals, from which a frame rate varies
MISSING_SHARE = 0.1  # of a clip's length, from which its end is missing


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
    with in_words(), _open(path) as container:
        stream = _find_stream(container)
        times = [
            packet.pts if packet.pts is not None else packet.dts
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
        _check_length(container, stream, times)
        _check_rate(times)
        container.seek(0)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise InputError("no frame in it can be decoded")
        if frame.width * frame.height > MAX_PIXELS:
            raise InputError(f"{frame.width}x{frame.height} px are too many")
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
    with in_words(), _open(medium.path) as container:
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


def _open(path: Path):
    av = require("av", "clips", "clips")
    with path.open("rb") as file:
        name = find_format(file.read(16))
    if not name:
        kinds = ", ".join(SUFFIXES)
        raise InputError(f"none of {kinds} by its content")
    av.logging.set_level(av.logging.PANIC)
    return av.open(str(path), format=name)


def _find_stream(container):
    streams = container.streams
    if not streams.video:
        kinds = sorted({stream.type for stream in streams})
        raise InputError(f"no picture, only {' and '.join(kinds) or 'nothing'}")
    return streams.video[0]


def _check_length(container, stream, times: list) -> None:
    if not times:
        raise InputError("a clip without a frame")
    if stream.frames > len(times):
        raise InputError(
            f"it ends after {len(times)} of {stream.frames} frames; copy it again"
        )
    known = [time for time in times if time is not None]
    if not known or not container.duration or len(known) < 2:
        return
    # Frames lie between the first time and the last, and one more interval.
    seconds = float((max(known) - min(known)) * stream.time_base)
    seconds *= len(known) / (len(known) - 1)
    whole = container.duration / 1e6  # FFmpeg's unit is a microsecond
    if not stream.frames and seconds < (1 - MISSING_SHARE) * whole:
        raise InputError(
            f"it ends after {seconds:.1f} of {whole:.1f} seconds; copy it again"
        )


def _check_rate(times: list) -> None:
    """Raise `InputError` where frames do not follow each other at one rate."""
    known = np.sort([time for time in times if time is not None])
    if len(known) < 3:
        return
    intervals = np.diff(known)
    usual = np.median(intervals)
    uneven = np.abs(intervals - usual) > max(UNEVEN * usual, 1)
    if uneven.mean() > UNEVEN_SHARE:
        raise InputError(
            f"its frame rate varies ({uneven.sum()} of {len(intervals)} intervals), so a "
            "frame's number says nothing of its time; save it at one rate, e.g. "
            "ffmpeg -i IN.mp4 -fps_mode cfr -r 20 OUT.mp4"
        )
