"""From the size of the data to a configuration: the command `--mode=plan`.

The idea is nnU-Net's (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): measure what
a data set is like, and let simple rules choose what follows from it. The rules here are
for 2-D frames with one small structure, and each says why.
"""

import math
import os
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import rle
from nerve_jax.cross_validation import load_data
from nerve_jax.errors import InputError
from nerve_jax.examples import Examples
from nerve_jax.files import Path, write_json
from nerve_jax.loading import load_examples_from
from nerve_jax.workdirs import to_plain, write_config

SMALL_PERCENTILE = 5  # of mask areas; a nerve so small must still be seen
MIN_SIDE_CELLS = 5  # of the coarsest features
MEMORY_SHARE = 0.5  # of the device, that activations may take
TENSORS_A_BLOCK = 12  # kept of each block for the gradient, or needed by it
MAX_BATCH, CPU_BATCH = 32, 8
MULTIPLE_PX = 16  # sides of a frame


class Purse(NamedTuple):
    """What a kind of device can afford.

    Attributes:
      nerve_px: area that the small nerves keep at training size.
      max_px: of a frame at training size.
      first_width: channels of the finest level.
      max_width: of the coarsest.
      stem_stride: see `create_model`.
      compute_dtype: see `create_model`.
      epochs: how often each frame is seen.
      min_frames: seen altogether, however few there are.
      max_frames: seen altogether, however many there are.
    """

    nerve_px: int
    max_px: int
    first_width: int
    max_width: int
    stem_stride: int
    compute_dtype: str
    epochs: int
    min_frames: int
    max_frames: int


CPU = Purse(200, 160 * 208, 16, 128, 2, "float32", 40, 16_000, 48_000)
ACCELERATOR = Purse(1000, 416 * 576, 32, 512, 1, "bfloat16", 60, 64_000, 2_000_000)


def plan(config: ConfigDict, workdir: Path) -> dict:
    """Measure a data set, print what to train it with and why, and write that.

    Args:
      config: names the data set; all that the rules do not choose is kept.
      workdir: gets planned_config.py and plan.json.

    Returns:
      The content of plan.json: "fingerprint", "device", "chosen" and "why".

    Raises:
      InputError: no frame there shows a nerve.
    """
    examples = load_examples_from(config, "train")
    fingerprint = measure(examples)
    device = describe_device()
    chosen, why = choose(fingerprint, device)
    planned = config.copy_and_resolve_references()
    planned.update(chosen)
    content = {
        "dataset": examples.fingerprint,
        "fingerprint": fingerprint,
        "device": device,
        "chosen": {name: to_plain(planned)[name] for name in chosen},
        "why": why,
    }
    lines = [f"{name} = {chosen[name]}: {reason}" for name, reason in why.items()]
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "plan.json", content)
    text = f"Planned for {examples.fingerprint} on {device['kind']}.\n\n"
    write_config(workdir / "planned_config.py", planned, text + "\n".join(lines) + "\n")
    print(_describe(examples.fingerprint, fingerprint, device))
    print("\n".join(f"  {line}" for line in lines))
    path = workdir / "planned_config.py"
    print(f"wrote {path}: train it with --config={path}")
    return content


def measure(examples: Examples) -> dict:
    """Measure frames and nerves.

    Returns:
      Counts of frames, labelled ones and people in these; sizes in px; spacing in mm (None where
      unknown); grey values; the share of labelled frames that show a nerve, and the
      share of such a frame that is nerve.

    Raises:
      InputError: no frame shows a nerve, or all labelled ones are of one person.
    """
    present = np.flatnonzero(examples.presence & examples.labelled)
    if not present.size:
        raise InputError(
            f"{examples.fingerprint}: no frame shows a nerve, so its size is not known"
        )
    groups = np.array(load_data(examples).groups)[examples.labelled]
    if len(set(groups)) < 2:
        raise InputError(
            f"{examples.fingerprint}: all labelled frames are of one person, so none is "
            "left to score on. Say who is who in subjects.csv, or add people"
        )
    areas = np.array([rle.count_pixels(examples.truths[i]) for i in present])
    shares = areas / examples.sizes[present].prod(1)
    spacing = np.nanmedian(examples.spacing_mm) if _knows_spacing(examples) else None
    means = examples.thumbnails.mean((1, 2))
    return {
        "num_frames": len(examples),
        "num_labelled": int(examples.labelled.sum()),
        "num_people": len(set(groups)),
        "height_px": _spread(examples.sizes[:, 0]),
        "width_px": _spread(examples.sizes[:, 1]),
        "spacing_mm": None if spacing is None else float(spacing),
        "mean_grey": _spread(means),
        "saturated_share": float(examples.saturated_share.mean()),
        "presence": float(examples.presence[examples.labelled].mean()),
        "nerve_px": _spread(areas),
        "nerve_share": _spread(shares),
    }


def _knows_spacing(examples: Examples) -> bool:
    return bool(np.isfinite(examples.spacing_mm).any())


def _spread(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, [SMALL_PERCENTILE, 50, 95])
    return {"low": float(low), "median": float(middle), "high": float(high)}


def describe_device() -> dict:
    """Kind, number and memory in bytes of the devices; of a CPU, that of the machine."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    memory = stats.get("bytes_limit")
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "kind": device.device_kind,
        "platform": device.platform,
        "count": jax.local_device_count(),
        "memory_bytes": int(memory),
    }


def choose(fingerprint: dict, device: dict) -> tuple[dict, dict[str, str]]:
    """Choose fields of the configuration by what was measured, and say why.

    Args:
      fingerprint: of `measure`.
      device: of `describe_device`.

    Returns:
      Values and reasons, both by name of the field.
    """
    purse = CPU if device["platform"] == "cpu" else ACCELERATOR
    size, why_size = _choose_size(fingerprint, purse)
    levels = _count_levels(size, purse)
    widths = tuple(
        min(purse.first_width * 2**level, purse.max_width) for level in range(levels)
    )
    bytes_a_frame = estimate_bytes(size, widths, purse)
    batch = _choose_batch(device, bytes_a_frame)
    num_folds = min(5, fingerprint["num_people"])
    train = fingerprint["num_labelled"] * (num_folds - 1) // num_folds
    seen = min(max(purse.epochs * train, purse.min_frames), purse.max_frames)
    steps = -(-seen // batch)
    always = fingerprint["presence"] > 0.99
    chosen = {
        "image_size": size,
        "widths": widths,
        "stem_stride": purse.stem_stride,
        "block": "residual",
        "compute_dtype": purse.compute_dtype,
        "batch_size": batch,
        "accumulate_steps": 1,
        "num_train_steps": steps,
        "warmup_steps": min(500, max(20, steps // 40)),
        "eval_every_steps": -(-steps // 10),
        "num_folds": num_folds,
        "folds": tuple(range(num_folds)),
        "folds_together": 1,
        "presence_head": not always,
    }
    side = min(size) // (purse.stem_stride * 2 ** (levels - 1))
    why = {
        "image_size": why_size,
        "widths": f"{levels} levels halve it until the shorter side has {side} cells, "
        f"from {widths[0]} channels on, which double up to {purse.max_width}",
        "block": "shortcuts ease the training of many levels",
        "stem_stride": "the finest level costs most; "
        + ("a CPU does without it" if purse is CPU else "this device can afford it"),
        "compute_dtype": "no gain on this CPU"
        if purse is CPU
        else "half the memory and more throughput",
        "batch_size": f"about {bytes_a_frame / 1e6:.0f} MB a frame for the gradient; "
        + (
            "more is no faster on a CPU"
            if purse is CPU
            else f"as many as fit in {MEMORY_SHARE:.0%} of the memory, at most {MAX_BATCH} "
            "and at least one a device"
        ),
        "accumulate_steps": "the batch fits",
        "num_train_steps": f"{train} frames a fold, each {seen / max(train, 1):.0f} times "
        f"(no fewer than {purse.min_frames} frames in all, no more than "
        f"{purse.max_frames})",
        "warmup_steps": "a fortieth of the steps, from 20 to 500",
        "eval_every_steps": "ten evaluations a fold",
        "num_folds": f"{fingerprint['num_people']} people to deal",
        "folds": "every frame is scored once",
        "folds_together": "one after another",
        "presence_head": f"{fingerprint['presence']:.0%} of labelled frames show a nerve",
    }
    return chosen, why


def _choose_batch(device: dict, bytes_a_frame: int) -> int:
    """A power of two a device, of which half the memory holds the activations."""
    if device["platform"] == "cpu":
        return CPU_BATCH
    fits = int(MEMORY_SHARE * device["memory_bytes"] / bytes_a_frame)
    each = max(min(fits, MAX_BATCH // device["count"]), 1)
    return device["count"] * 2 ** int(math.log2(each))


def _choose_size(fingerprint: dict, purse: Purse) -> tuple[tuple[int, int], str]:
    """Height and width of the median frame's shape at which small nerves stay visible."""
    height, width = (fingerprint[name]["median"] for name in ("height_px", "width_px"))
    share = fingerprint["nerve_share"]["low"]
    original = height * width
    wanted = purse.nerve_px / share
    pixels = min(wanted, purse.max_px, original)
    scale = math.sqrt(pixels / original)
    rows = max(round(height * scale / MULTIPLE_PX), 2)
    columns = max(round(rows * width / height), 2)
    size = (rows * MULTIPLE_PX, columns * MULTIPLE_PX)
    kept = share * size[0] * size[1]
    limit = ""
    if pixels < wanted:
        limit = (
            "; more would be larger than the frames"
            if pixels == original
            else "; more would cost too much here"
        )
    return size, (
        f"the smallest twentieth of nerves cover {share:.2%} of a frame of about "
        f"{height:.0f}x{width:.0f} px, and keep {kept:.0f} px{limit}"
    )


def _count_levels(size: tuple[int, int], purse: Purse) -> int:
    cells = min(size) / purse.stem_stride
    deeper = max(int(math.log2(cells / MIN_SIDE_CELLS)), 0)
    most = int(math.log2(purse.max_width / purse.first_width)) + 1
    return min(deeper, most) + 1


def estimate_bytes(size: tuple[int, int], widths: tuple[int, ...], purse: Purse) -> int:
    """Roughly the bytes of activations that the gradient of one frame needs.

    `TENSORS_A_BLOCK` arrays of every level, encoder and decoder, in the compute dtype.
    """
    cells = size[0] * size[1] // purse.stem_stride**2
    values = sum(2 * cells // 4**level * width for level, width in enumerate(widths))
    return TENSORS_A_BLOCK * values * (2 if purse.compute_dtype == "bfloat16" else 4)


def _describe(name: str, fingerprint: dict, device: dict) -> str:
    """What was measured, in a few lines."""
    height, width = fingerprint["height_px"], fingerprint["width_px"]
    area, grey = fingerprint["nerve_share"], fingerprint["mean_grey"]
    spacing = fingerprint["spacing_mm"]
    return (
        f"{name}: {fingerprint['num_frames']} frames of {fingerprint['num_people']} "
        f"people, {fingerprint['num_labelled']} labelled\n"
        f"  {height['low']:.0f} to {height['high']:.0f} px high, {width['low']:.0f} to "
        f"{width['high']:.0f} wide; spacing "
        + ("unknown" if spacing is None else f"{spacing:.3f} mm")
        + f"\n  mean grey {grey['low']:.0f} to {grey['high']:.0f}, saturated "
        f"{fingerprint['saturated_share']:.2%}; the net standardises each frame\n"
        f"  nerve in {fingerprint['presence']:.0%} of labelled frames, covering "
        f"{area['low']:.2%} to {area['high']:.2%}\n"
        f"  {device['count']} x {device['kind']}, {device['memory_bytes'] / 1e9:.0f} GB"
    )
