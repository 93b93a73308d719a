"""--mode=plan: from the size of the data to a configuration.

The idea is nnU-Net's (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): measure what
a data set is like, and let simple rules choose what follows from it. The rules here are
for 2-D frames with one small structure, and each says why.
"""

import math
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.data.measuring import describe, measure
from nerve_jax.runs.config import set_fields, to_plain, write_config
from nerve_jax.runs.differences import flatten
from nerve_jax.system import backend, clusters
from nerve_jax.system.claims import check_folder, claim, seal
from nerve_jax.system.console import say
from nerve_jax.system.files import Path, write_json
from nerve_jax.training.optimizer import rescale

FILES = ("plan.json", "planned_config.py")
MIN_SIDE_CELLS = 5  # of the coarsest features
MEMORY_SHARE = 0.5  # of the device, that activations may take
TENSORS_A_BLOCK = 12  # kept of each block for the gradient, or needed by it
MAX_BATCH, CPU_BATCH = 32, 8
MULTIPLE_PX = 16  # sides of a frame
MAX_FOLDS = 5
ALWAYS = 0.99  # of labelled frames with a nerve: whether there is one is no question


class Budget(NamedTuple):
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


class Choice(NamedTuple):
    """The value of a field, and why."""

    value: Any
    why: str


CPU = Budget(200, 160 * 208, 16, 128, 2, "float32", 40, 16_000, 48_000)
ACCELERATOR = Budget(1000, 416 * 576, 32, 512, 1, "bfloat16", 60, 64_000, 2_000_000)


def run(request: Request) -> None:
    """Run the command."""
    clusters.check_alone("plan")
    backend.report()
    plan(request.config, request.folder)


def plan(config: ConfigDict, workdir: Path) -> dict:
    """Measure a data set, print what to train it with and why, and write that.

    Args:
      config: names the data set; all that the rules do not choose is kept.
      workdir: gets planned_config.py and plan.json.

    Returns:
      The content of plan.json: "measured", "device", "chosen" and "why".

    Raises:
      InputError: no frame there shows the first structure; or another's files under these names.
    """
    check_folder(workdir, FILES, flag="--workdir")
    examples = setup.load_frames(config, "train")
    measured = measure(examples)
    device = backend.describe_device()
    choices = choose(measured, device, config)
    planned = set_fields(config, {name: c.value for name, c in choices.items()})
    content = {
        "dataset": examples.fingerprint,
        "measured": measured,
        "device": device,
        "chosen": {name: flatten(to_plain(planned))[name] for name in choices},
        "why": {name: choice.why for name, choice in choices.items()},
    }
    lines = [f"{name} = {value}: {why}" for name, (value, why) in choices.items()]
    claim(workdir, "plan", FILES, flag="--workdir")
    write_json(workdir / "plan.json", content)
    text = f"Planned for {examples.fingerprint} on {device['kind']}.\n\n"
    write_config(workdir / "planned_config.py", planned, text + "\n".join(lines) + "\n")
    seal(workdir, "plan")
    path = workdir / "planned_config.py"
    say(
        describe(examples.fingerprint, measured, device),
        *(f"  {line}" for line in lines),
        f"wrote {path}: train it with --config={path}",
    )
    return content


def choose(measured: dict, device: dict, config: ConfigDict) -> dict[str, Choice]:
    """Choose fields of the configuration by what was measured.

    Args:
      measured: of `measure`.
      device: of `describe_device`.
      config: whose optimizer suits its own batch size and steps.

    Returns:
      What was chosen, by name of the field.
    """
    budget = CPU if device["platform"] == "cpu" else ACCELERATOR
    net = _choose_net(measured, budget)
    size, widths = net["data.image_size"].value, net["model.widths"].value
    bytes_a_frame = estimate_bytes(size, widths, budget)
    training = _choose_training(measured, device, budget, bytes_a_frame)
    length = training["batch_size"].value, training["num_train_steps"].value
    return net | training | _choose_optimizer(config, length)


def _choose_net(measured: dict, budget: Budget) -> dict[str, Choice]:
    """Frames' size, and the net for it."""
    on_cpu = budget is CPU
    size = _choose_size(measured, budget)
    levels = _count_levels(size.value, budget)
    widths = tuple(
        min(budget.first_width * 2**level, budget.max_width) for level in range(levels)
    )
    cells = min(size.value) // (budget.stem_stride * 2 ** (levels - 1))
    presence = measured["presence"]
    return {
        "data.image_size": size,
        "model.widths": Choice(
            widths,
            f"{levels} levels halve it until the shorter side has {cells} cells, from "
            f"{widths[0]} channels on, which double up to {budget.max_width}",
        ),
        "model.block": Choice("residual", "shortcuts ease the training of many levels"),
        "model.stem_stride": Choice(
            budget.stem_stride,
            "the finest level costs most; "
            + ("a CPU does without it" if on_cpu else "this device can afford it"),
        ),
        "model.compute_dtype": Choice(
            budget.compute_dtype,
            "no gain on this CPU" if on_cpu else "half the memory and more throughput",
        ),
        "model.presence_head": Choice(
            presence <= ALWAYS,
            f"{presence:.0%} of labelled frames show {measured['structure']}",
        ),
    }


def _choose_training(
    measured: dict, device: dict, budget: Budget, bytes_a_frame: int
) -> dict[str, Choice]:
    """Batch, steps and folds."""
    batch = _choose_batch(device, bytes_a_frame)
    num_folds = min(MAX_FOLDS, measured["num_people"])
    train = measured["num_labelled"] * (num_folds - 1) // num_folds
    seen = min(max(budget.epochs * train, budget.min_frames), budget.max_frames)
    steps = -(-seen // batch)
    return {
        "batch_size": Choice(
            batch,
            f"about {bytes_a_frame / 1e6:.0f} MB per frame for the gradient; "
            + (
                "more is no faster on a CPU"
                if budget is CPU
                else f"as many as fit in {MEMORY_SHARE:.0%} of the memory, at most "
                f"{MAX_BATCH} and at least one per device"
            ),
        ),
        "accumulate_steps": Choice(1, "the batch fits"),
        "num_train_steps": Choice(
            steps,
            f"{train} frames per fold, each {seen / max(train, 1):.0f} times (no fewer than "
            f"{budget.min_frames} frames in all, no more than {budget.max_frames})",
        ),
        "optimizer.warmup_steps": Choice(
            min(500, max(20, steps // 40)), "a fortieth of the steps, from 20 to 500"
        ),
        "eval_every_steps": Choice(-(-steps // 10), "ten evaluations per fold"),
        "num_folds": Choice(num_folds, f"{measured['num_people']} people to deal"),
        "folds": Choice(tuple(range(num_folds)), "every frame is scored once"),
        "folds_together": Choice(1, "one after another"),
    }


def _choose_optimizer(config: ConfigDict, new: tuple[int, int]) -> dict[str, Choice]:
    """What the optimizer of a configuration becomes for another batch and length."""
    old = config.batch_size, config.num_train_steps
    scaled = rescale(config.optimizer.to_dict(), old, new)
    why = {
        "learning_rate": f"{config.optimizer.learning_rate:g} at batch {old[0]}, "
        "times the square root of the batches' ratio",
        "weight_decay": "it forgets over the length of the run",
        "ema_decay": "its half-life stays the same share of the run, as of "
        f"{old[1]} steps at {config.optimizer.ema_decay:g}",
    }
    return {
        f"optimizer.{name}": Choice(round(value, 5), why[name])
        for name, value in scaled.items()
    }


def _choose_batch(device: dict, bytes_a_frame: int) -> int:
    """A power of two per device, of which half the memory holds the activations."""
    if device["platform"] == "cpu":
        return CPU_BATCH
    fits = int(MEMORY_SHARE * device["memory_bytes"] / bytes_a_frame)
    each = max(min(fits, MAX_BATCH // device["count"]), 1)
    return device["count"] * 2 ** int(math.log2(each))


def _choose_size(measured: dict, budget: Budget) -> Choice:
    """Height and width of the median frame's shape at which small outlines stay visible."""
    height, width = (measured[name]["median"] for name in ("height_px", "width_px"))
    share = measured["nerve_share"]["low"]
    original = height * width
    wanted = budget.nerve_px / share
    pixels = min(wanted, budget.max_px, original)
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
    return Choice(
        size,
        f"the smallest twentieth of outlines of {measured['structure']} cover {share:.2%} of a "
        "frame of about "
        f"{height:.0f}x{width:.0f} px, and keep {kept:.0f} px{limit}",
    )


def _count_levels(size: tuple[int, int], budget: Budget) -> int:
    cells = min(size) / budget.stem_stride
    deeper = max(int(math.log2(cells / MIN_SIDE_CELLS)), 0)
    most = int(math.log2(budget.max_width / budget.first_width)) + 1
    return min(deeper, most) + 1


def estimate_bytes(
    size: tuple[int, int], widths: tuple[int, ...], budget: Budget
) -> int:
    """Roughly the bytes of activations that the gradient of one frame needs.

    `TENSORS_A_BLOCK` arrays of every level, encoder and decoder, in the compute dtype.
    """
    cells = size[0] * size[1] // budget.stem_stride**2
    values = sum(2 * cells // 4**level * width for level, width in enumerate(widths))
    return TENSORS_A_BLOCK * values * (2 if budget.compute_dtype == "bfloat16" else 4)
