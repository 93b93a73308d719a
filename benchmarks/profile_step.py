"""Where the time of one training step goes, by kind of operation.

The net and step of train_step.py (widths 32 to 512, batch 8, 96x128 px, float32, one
simulated device a core), traced by JAX's profiler, and beside it, timed in turns with
the step, what the machine's matrix products reach.

python benchmarks/profile_step.py
"""

import jax

jax.config.update("jax_num_cpu_devices", 2)

import collections
import re
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from peers import BATCH, SIZE
from results import measure, print_result
from train_step import make_ours

ROUNDS, STEPS, DEVICES = 7, 5, 2
KINDS = {  # op inside a fusion -> kind of the fusion; the first that is found counts
    " convolution(": "convolution",
    " dot(": "matrix product",
    " all-reduce(": "sum over devices",
    " reduce(": "reduction",
    " reduce-window(": "reduction",
    " gather(": "gather, scatter",
    " scatter(": "gather, scatter",
    " exponential(": "elementwise",
    " multiply(": "elementwise",
    " add(": "elementwise",
    " select(": "elementwise",
    " maximum(": "elementwise",
}


def trace(call) -> Path:
    """Run some steps under the profiler; the file it wrote."""
    call()
    call()
    folder = tempfile.mkdtemp()
    with jax.profiler.trace(folder):
        for _ in range(STEPS):
            call()
    return next(Path(folder).rglob("*.xplane.pb"))


def read_ops(path: Path) -> dict[str, float]:
    """Milliseconds of each operation in one step, summed over threads."""
    profile = jax.profiler.ProfileData.from_file(str(path))
    spent = collections.Counter()
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                if "hlo_op" in dict(event.stats):
                    spent[event.name] += event.duration_ns / 1e6 / STEPS
    return dict(spent)


def find_kinds(program_text: str) -> dict[str, str]:
    """The kind of each operation of a compiled program, from its own text or fusion."""
    bodies = {}
    for name, body in re.findall(
        r"^%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", program_text, re.MULTILINE | re.DOTALL
    ):
        bodies[name] = body
    kinds = {}
    for name, line in re.findall(
        r"^ +(?:ROOT )?%?([\w.-]+) = (.*)$", program_text, re.MULTILINE
    ):
        called = re.search(r"calls=%?([\w.-]+)", line)
        text = bodies.get(called.group(1), line) if called else line
        found = (kind for op, kind in KINDS.items() if op in text)
        kinds[name] = next(found, "copy, transpose")
    return kinds


def make_product():
    """A call that multiplies two float32 matrices, shared out, and its operations."""
    size = 2048
    mesh = jax.make_mesh((DEVICES,), ("rows",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    same = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    a = jax.device_put(jnp.ones((size, size)), rows)
    b = jax.device_put(jnp.ones((size, size)), same)
    product = jax.jit(lambda a, b: a @ b, out_shardings=rows)
    return lambda: product(a, b).block_until_ready(), 2 * size**3


def main() -> None:
    """Print milliseconds by kind and the share of the peak."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, *SIZE), dtype=np.uint8)
    masks = (rng.random((BATCH, *SIZE)) < 0.1).astype(np.uint8) * 255
    call, engine = make_ours(images, masks, "float32")
    program = engine.get_program(1)
    flops = program.cost_analysis()["flops"] * DEVICES
    kind_of = find_kinds(program.as_text())
    ops = read_ops(trace(call))
    product, product_flops = make_product()
    seconds = measure({"step": call, "product": product}, ROUNDS, STEPS)
    step_ms = seconds["step"] * 1e3
    kinds = collections.Counter()
    for name, spent in ops.items():
        kinds[kind_of.get(name, "other")] += (
            spent / DEVICES
        )  # which work at the same time
    for kind, spent in kinds.most_common():
        print(f"{kind:20s} {spent:7.1f} ms")
    print("slowest:")
    for name, spent in collections.Counter(ops).most_common(12):
        print(f"  {name:30s} {kind_of.get(name, ''):20s} {spent / DEVICES:6.1f} ms")
    peak = product_flops / seconds["product"] / 1e9
    reached = flops / step_ms / 1e6
    print(f"step {step_ms:.0f} ms, {reached:.0f} of {peak:.0f} GFLOP/s")
    print_result(
        ratio=reached / peak,
        step_ms=step_ms,
        ms_by_kind=dict(kinds),
        gflops_per_second=reached,
        matrix_product_gflops_per_second=peak,
    )


if __name__ == "__main__":
    main()
