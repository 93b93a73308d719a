"""One training step of the same U-Net, here and in PyTorch, taken in turns.

Widths 32 to 512, group norm, batch 8, 96x128 px, Adam. PyTorch: eager and compiled,
contiguous and channels_last, float32 and bfloat16 (autocast).

python benchmarks/train_step.py
"""

import jax

jax.config.update("jax_num_cpu_devices", 2)

import itertools

import numpy as np
import optax
import torch
from peers import BATCH, SIZE, WIDTHS, UNet
from results import measure, print_result

from nerve_jax import parallel
from nerve_jax.folds import create_fold_programs
from nerve_jax.models import create_model
from nerve_jax.train_step import Frames, create_state, make_train_step, make_train_steps

ROUNDS, CALLS = 5, 4


def make_ours(images: np.ndarray, masks: np.ndarray, dtype: str):
    """A call that takes one step of this project, and its compiled program."""
    mesh = parallel.create_mesh()
    apply, init = create_model(widths=WIDTHS, presence_head=False, compute_dtype=dtype)
    optimizer = optax.adam(1e-3)

    def loss(outputs, masks):
        return optax.sigmoid_binary_cross_entropy(outputs.logits, masks).mean((1, 2, 3))

    def update(gradient, state, params):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(gradient, state, params)

    step = make_train_step(
        lambda params, images, masks, keys: loss(apply(params, images), masks),
        optax.GradientTransformation(optimizer.init, update),
        ema_decay=0.0,
        accumulate_steps=1,
        axis_name="batch",
    )
    ready = create_fold_programs(
        lambda key: create_state(init(key), optimizer),
        make_train_steps(lambda numbers: step),
        mesh,
    )
    frames = jax.device_put(Frames(images, masks), parallel.replicated(mesh))
    keys = jax.device_put(
        jax.random.split(jax.random.key(0), 1), parallel.split_folds(mesh)
    )
    holder = {"states": ready.init(keys)}
    rows = parallel.put(
        np.arange(BATCH, dtype=np.int32).reshape(1, 1, -1), parallel.split_rows(mesh)
    )
    program = ready.run.lower(holder["states"], frames, rows, keys, {}).compile()

    def call():
        holder["states"], metrics = program(holder["states"], frames, rows, keys, {})
        jax.block_until_ready(metrics)

    return call, program


def make_theirs(images, masks, *, compiled: bool, last: bool, dtype):
    """A call that takes one step in PyTorch."""
    torch.manual_seed(0)
    form = torch.channels_last if last else torch.contiguous_format
    model = UNet().to(memory_format=form)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    x = torch.from_numpy(images)[:, None].float().div(255).to(memory_format=form)
    y = torch.from_numpy(masks)[:, None].float().div(255)
    forward = torch.compile(model) if compiled else model

    def call():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logits = forward(x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        loss.backward()
        optimizer.step()

    return call


def main() -> None:
    """Print each one's images a second and the ratios."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, *SIZE), dtype=np.uint8)
    masks = (rng.random((BATCH, *SIZE)) < 0.1).astype(np.uint8) * 255
    ours = {
        f"nerve_jax {dtype}": make_ours(images, masks, dtype)[0]
        for dtype in ("float32", "bfloat16")
    }
    theirs = {
        f"torch {dtype} {'compiled' if compiled else 'eager'} "
        f"{'channels_last' if last else 'contiguous'}": make_theirs(
            images, masks, compiled=compiled, last=last, dtype=dtype
        )
        for dtype, compiled, last in itertools.product(
            ("float32", "bfloat16"), (False, True), (False, True)
        )
    }
    seconds = measure(ours | theirs, ROUNDS, CALLS)
    rates = {name: BATCH / value for name, value in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:45s} {rate:6.2f} img/s")
    best = {
        dtype: max(
            rate for name, rate in rates.items() if name.startswith(f"torch {dtype}")
        )
        for dtype in ("float32", "bfloat16")
    }
    here = max(rates[name] for name in ours)
    print_result(
        ratio=rates["nerve_jax float32"] / best["float32"],
        ratio_bfloat16=here / best["bfloat16"],
        images_per_second=rates,
    )


if __name__ == "__main__":
    main()
