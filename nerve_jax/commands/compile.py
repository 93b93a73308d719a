"""--mode=compile: what a configuration's programs need of an accelerator that is not here.

The programs are the very ones that training and prediction run. They are compiled for the
target, and what the compiler says of them is put beside the target's published peaks. That
tells what a step would wait for; no time is measured.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from rich.table import Table

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.runs.config import set_fields
from nerve_jax.system import clusters, devices, flops, hlo, targets
from nerve_jax.system.claims import check_folder, claim, seal
from nerve_jax.system.console import create_console, say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, write_json
from nerve_jax.system.targets import Target
from nerve_jax.training.feed import describe_feed

FILES = ("compile.json",)
COSTLIEST = 10
PACKAGE = "nerve_jax/"
NUM_FRAMES = {"ultrasound_nerve/kaggle": 5635, "ultrasound_nerve/usgra": 204}


class Program(NamedTuple):
    """One of the programs of a run.

    Attributes:
      name: in compile.json.
      trace: gives it traced, for the devices that it is to be compiled for.
      frames: that one device works on, in a step.
      steps: that one call takes.
      shares: of how many devices' work its traced shapes are.
    """

    name: str
    trace: Callable
    frames: int
    steps: int = 1
    shares: int = 1


def run(request: Request) -> None:
    """Run the command."""
    clusters.check_alone("compile")
    jax.config.update("jax_platforms", "cpu")  # nothing runs, and no device is taken
    compile_for(request.config, request.folder, request.target)


def compile_for(config: ConfigDict, workdir: Path, target_name: str) -> list[dict]:
    """Compile all programs of a configuration for a target, and write compile.json.

    Args:
      config: of a run.
      workdir: where to write.
      target_name: of `targets.list_targets`.

    Returns:
      The content of compile.json: see `measure`.

    Raises:
      InputError: no such target, one whose compiler is not installed, or a configuration
        that its devices cannot share out.
    """
    target = targets.describe(target_name)
    check_folder(workdir, FILES, flag="--workdir")
    mesh = devices.create_mesh(config.folds_together, target.devices)
    setup.check_config(config, mesh)
    height, width = config.data.image_size
    shape = (count_frames(config), len(config.data.structures), height, width)
    say(f"compiles for {target.name}, {shape[0]} frames of {height}x{width} px")
    content = [
        measure(program, target, config.model.compute_dtype)
        for program in list_programs(config, mesh, shape)
    ]
    if not content[0]["fits"]:
        content[0]["largest_batch"] = find_largest_batch(config, target, shape)
    claim(workdir, "compile", FILES, flag="--workdir")
    write_json(workdir / "compile.json", content)
    seal(workdir, "compile")
    print_programs(content, target)
    say(f"wrote {workdir / 'compile.json'}")
    return content


def count_frames(config: ConfigDict) -> int:
    """How many frames the data set has, read from it only where its name does not say."""
    name = config.data.name
    if name == "ultrasound_nerve/phantom":
        phantom = config.data.phantom
        return phantom.num_subjects * phantom.frames_per_subject
    return NUM_FRAMES.get(name) or len(setup.load_frames(config, "train"))


def list_programs(
    config: ConfigDict, mesh: Mesh, shape: tuple[int, int, int, int]
) -> Iterator[Program]:
    """Training, step by step and many at once; prediction, of a fold and of one frame.

    A fold is predicted as it is while training, by the devices of one process.
    """
    engine = create_engine(config, mesh, shape)
    each = config.batch_size // mesh.shape["batch"]
    yield Program("train_step", lambda: engine.trace(1), each)
    count = engine.steps_per_call
    if count > 1:
        yield Program("train_steps", lambda: engine.trace(count), each, count)
    hosts = [device.process_index for device in mesh.devices.flat]
    own = [d for d in mesh.devices.flat if d.process_index == hosts[0]]
    local = devices.arrange(own, 1)
    size = setup.choose_validation_size(config, local, shape[0], len(set(hosts)))
    trace = trace_prediction(config, local, size, shape[2:])
    yield Program("predict", trace, size // local.size, shares=local.size)
    trace = trace_prediction(config, devices.arrange(own[:1], 1), 1, shape[2:])
    yield Program("predict_one", trace, 1)


def create_engine(config: ConfigDict, mesh: Mesh, shape: tuple[int, int, int, int]):
    """The engine of training, on shapes alone."""
    feed = describe_feed(
        shape,
        mesh,
        batch_size=config.batch_size,
        max_resident_gb=config.data.max_resident_gb,
    )
    loss = setup.create_loss(config, devices.get_platform(mesh))
    return setup.create_engine(config, mesh, loss, feed)


def trace_prediction(
    config: ConfigDict, mesh: Mesh, size: int, image_size: tuple[int, int]
) -> Callable:
    """Return what traces the prediction of so many frames."""

    def trace():
        program, params = setup.describe_prediction(config, mesh)
        images = jax.ShapeDtypeStruct((size, *image_size), np.uint8)
        return program.trace(params, images)

    return trace


def measure(program: Program, target: Target, compute_dtype: str) -> dict:
    """Compile a program and say what it needs.

    Args:
      program: to be compiled.
      target: for what.
      compute_dtype: "float32" or "bfloat16", in which it computes products.

    Returns:
      `name`, `target`, `fits`, `peak_bytes` (arguments, results and what is between, on
      one device), `argument_bytes`, `code_bytes`, `bytes_per_frame`, `flops_per_frame`,
      `collectives_per_step`, `bound_ms_per_step` with the three that it is the largest of
      in `bounds_ms`, `costliest` instructions, `compile_seconds`. Of what the compiler
      refused for want of memory only the first four are known.
    """
    traced = program.trace()
    known = {"name": program.name, "target": target.name}
    started = time.perf_counter()
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        needed = targets.read_shortfall(str(error))
        if needed is None:
            raise
        return known | {"fits": False, "peak_bytes": int(needed)}
    seconds = time.perf_counter() - started
    read = hlo.read_program(compiled.as_text(), trips=program.steps)
    memory = compiled.memory_analysis()
    peak = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
    moved = read.num_bytes / program.steps
    count = flops.count_flops(traced.jaxpr.jaxpr) / program.steps / program.shares
    collectives = read.list_collectives(program.steps)
    bounds = bound(target, compute_dtype, count, moved, collectives)
    return known | {
        "fits": peak <= target.chip.memory_bytes,
        "peak_bytes": peak,
        "argument_bytes": memory.argument_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "bytes_per_frame": moved / program.frames,
        "flops_per_frame": count / program.frames,
        "collectives_per_step": collectives,
        "bounds_ms": bounds,
        "bound_ms_per_step": max(bounds.values()),
        "costliest": read.list_costliest(COSTLIEST, PACKAGE, program.steps),
        "compile_seconds": seconds,
    }


def bound(
    target: Target,
    compute_dtype: str,
    count: float,
    moved: float,
    collectives: list[dict],
) -> dict[str, float]:
    """Milliseconds of a step by arithmetic, memory and network, at the peaks of the chip.

    Of an all-reduce each device sends, and receives, nearly twice its bytes.
    """
    chip = target.chip
    peak = chip.bfloat16_flops if compute_dtype == "bfloat16" else chip.float32_flops
    exchanged = sum(2 * row["bytes"] for row in collectives)
    return {
        "arithmetic": 1e3 * count / peak,
        "memory": 1e3 * moved / chip.memory_bandwidth,
        "network": 1e3 * exchanged / chip.link_bandwidth,
    }


def find_largest_batch(
    config: ConfigDict, target: Target, shape: tuple[int, int, int, int]
) -> int:
    """The largest batch, halved and halved again, whose training step fits; 0 if none."""
    mesh = devices.create_mesh(config.folds_together, target.devices)
    size = config.batch_size
    while size := size // 2:
        smaller = set_fields(config, {"batch_size": size})
        try:
            setup.check_config(smaller, mesh)
        except InputError:
            return 0
        step = next(list_programs(smaller, mesh, shape))
        if measure(step, target, config.model.compute_dtype)["fits"]:
            return size
    return 0


def print_programs(content: list[dict], target: Target) -> None:
    """Print one row per program, and what does not fit.

    Columns are peak memory of a device, bytes moved and arithmetic of a frame, the bound of
    a step, and the seconds that compiling took.
    """
    table = Table()
    for name in ("program", "GB", "MB/frame", "GFLOP/frame", "ms/step, bound", "s"):
        left = name == "program"
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in content:
        if "bytes_per_frame" not in row:
            table.add_row(row["name"], f"{row['peak_bytes'] / 1e9:.2f}", *["–"] * 4)
            continue
        table.add_row(
            row["name"],
            f"{row['peak_bytes'] / 1e9:.2f}",
            f"{row['bytes_per_frame'] / 1e6:.0f}",
            f"{row['flops_per_frame'] / 1e9:.1f}",
            f"{row['bound_ms_per_step']:.2f}",
            f"{row['compile_seconds']:.0f}",
        )
    create_console().print(table)
    memory = target.chip.memory_bytes
    for row in content:
        if not row["fits"]:
            missing = (row["peak_bytes"] - memory) / 1e9
            say(f"{row['name']} does not fit: {missing:.2f} GB more than there are")
    if "largest_batch" in content[0]:
        say(f"the largest batch that fits, by halves: {content[0]['largest_batch']}")
