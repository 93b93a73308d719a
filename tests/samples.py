"""Made-up frames and tables of scores that several tests share."""

import dataclasses
import importlib.util
from fractions import Fraction

import av
import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from scipy import ndimage

from nerve_jax.data import rle
from nerve_jax.data.examples import Examples, Labels
from nerve_jax.scoring.scores import Scored
from nerve_jax.system import targets
from nerve_jax.system.devices import arrange
from nerve_jax.training.feed import ResidentFeed, put_frames

MILLISECOND = Fraction(1, 1000)


def mesh_of(num_devices, num_folds=1) -> Mesh:
    """The first devices, dealt to folds."""
    return arrange(jax.devices()[:num_devices], num_folds)


def labels_of(masks, labelled=None, readers=None):
    """Labels whose masks at training size are their truths."""
    labelled = np.ones(len(masks), bool) if labelled is None else np.asarray(labelled)
    truths = tuple(rle.encode(mask >= 128) for mask in masks)
    return Labels(masks, truths, labelled, readers or {})


def relabel(examples, masks=None, labelled=None):
    """Frames with other masks, or with others of them labelled."""
    masks = examples.masks if masks is None else masks
    labelled = examples.labelled if labelled is None else labelled
    labels = {examples.structures[0]: labels_of(masks, labelled)}
    return dataclasses.replace(examples, labels=labels)


def make_examples(images, masks):
    """Frames at training size that are their own originals, four of each person."""
    count, size = len(images), images.shape[1:]
    return Examples(
        images=images,
        thumbnails=np.zeros((count, 48, 64), np.uint8),
        sizes=np.full((count, 2), size),
        frames=tuple(f"f{i:02d}" for i in range(count)),
        subjects=tuple(f"s{i // 4}" for i in range(count)),
        scanners=("",) * count,
        clips=("",) * count,
        labels={"nerve": labels_of(masks)},
        spacing_mm=np.full((count, 2), np.nan, np.float32),
        saturated_share=np.zeros(count, np.float32),
        digests=tuple(map(str, range(count))),
        fingerprint="made",
        source=[{"image": image[..., None]} for image in images],
        records=np.arange(count),
    )


def bright_boxes(count=12):
    """Noise with a bright rectangle that is the nerve, but in the first frame."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 16, 24), np.uint8)
    masks[1:, 5:11, 8:16] = 255
    images = (rng.integers(0, 90, masks.shape) + masks // 2).astype(np.uint8)
    return make_examples(images, masks)


def bright_feed(mesh, *, batch_size, seed):
    """The feed of `bright_boxes`, which lie on the devices of a mesh."""
    frames = bright_boxes()
    return ResidentFeed(
        put_frames(frames.training_frames, mesh),
        frames.images.shape[1:],
        mesh,
        batch_size=batch_size,
        seed=seed,
    )


def table(
    counts, probs, subjects="ppqq", frames="abcd", doubtful=(0, 0, 0, 0), scanners=()
):
    count = len(counts)
    distances = np.where(np.array(counts)[:, 0] > 0, 3.0, np.nan)
    return Scored(
        list(frames[:count]),
        list(subjects[:count]),
        list(subjects[:count]),
        list(scanners or [""] * count),
        np.array(counts),
        np.array(probs, float),
        np.full(count, 0.5),
        np.array(doubtful[:count], bool),
        {
            "surface_dice_5px": np.full(count, 0.25),
            "surface_dice_1mm": np.full(count, np.nan),
            "hd95_px": distances,
            "assd_px": distances,
        },
    )


COUNTS = [[5, 0, 5, 90], [0, 0, 0, 100], [10, 0, 0, 90], [0, 5, 0, 95]]


def texture(seed, size=(96, 128)):
    """Speckle over a gradient that all frames share."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=size), 3)
    grey = 90 + 30 * coarse / coarse.std() + np.linspace(50, -50, size[0])[:, None]
    return np.clip(grey, 0, 255).astype(np.uint8)


def need_compiler(name: str) -> None:
    """Skip a test where what compiles for a target is not installed."""
    platform = targets.CHIPS[name.partition(":")[0]].platform
    try:
        found = importlib.util.find_spec(targets.PLUGINS[platform])
    except ModuleNotFoundError:
        found = None
    if not found:
        pytest.skip(f"the extra {targets.EXTRAS[platform]} is not installed")


def sweep(count=6, size=(48, 64), seed=0):
    """Frames of a clip, [count, height, width]: a square that moves over a gradient."""
    y, x = np.mgrid[: size[0], : size[1]]
    frames = (
        np.broadcast_to(40 + 2 * x + y // 2, (count, *size)).astype(np.uint8).copy()
    )
    rng = np.random.default_rng(seed)
    for number, frame in enumerate(frames):
        left = 4 + (2 * number + rng.integers(3)) % (size[1] // 2)
        frame[size[0] // 4 : size[0] // 2, left : left + 10] = 230
    return frames


def write_clip(path, frames, rate=20, codec="libx264", **options):
    """Write a clip of grey frames [count, height, width] or RGB [..., 3] with PyAV.

    Args:
      path: of the file; its ending says which container.
      frames: uint8.
      rate: frames per second; the times of frames in ms instead give an uneven clip.
      codec: by FFmpeg's name.
      **options: `pixels`, the pixel format, `full` for a range of 0 to 255; `container`
        and `stream`, options of FFmpeg; `format`, where the ending does not say it.
    """
    times = rate if isinstance(rate, list) else None
    form = options.get("format")
    with av.open(str(path), "w", form, options=options.get("container", {})) as file:
        stream = file.add_stream(codec, rate=20 if times else rate)
        stream.options = options.get("stream", {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = options.get("pixels", "yuv420p")
        if options.get("full"):
            stream.codec_context.color_range = av.video.reformatter.ColorRange.JPEG
        if times:
            stream.codec_context.time_base = MILLISECOND
        for number, values in enumerate(frames):
            pixels = "gray" if values.ndim == 2 else "rgb24"
            frame = av.VideoFrame.from_ndarray(values, format=pixels)
            if times:
                frame.pts, frame.time_base = times[number], MILLISECOND
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
