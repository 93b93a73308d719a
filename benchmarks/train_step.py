"""One training step of the same U-Net, here and in PyTorch, taken in turns.

Widths 32 to 512, group norm, batch 8, 96x128 px, Adam. PyTorch: eager and compiled,
contiguous and channels_last, float32 and bfloat16 (autocast).

python benchmarks/train_step.py
"""

import jax

jax.config.update("jax_num_cpu_devices", 2)

import itertools

import jax.numpy as jnp
import numpy as np
import optax
from nerve_unet import open_stream
from peers import BATCH, SIZE, WIDTHS, UNet, make_step
from results import measure, print_result

from nerve_jax.data.batches import Frames
from nerve_jax.model.unet import create_model
from nerve_jax.system import devices
from nerve_jax.training.engine import Engine
from nerve_jax.training.feed import ResidentFeed, put_frames
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.step import make_train_step

ROUNDS, CALLS = 5, 4


def make_ours(images: np.ndarray, masks: np.ndarray, dtype: str):
    """A call that takes one step of this project, and the engine."""
    apply, create_params = create_model(
        widths=WIDTHS, presence_head=False, compute_dtype=dtype
    )
    adam = optax.adam(1e-3)

    def init(key, scalars):
        params = create_params(key)
        return TrainState(jnp.int32(0), params, {}, adam.init(params), scalars)

    def loss(params, state, batch, keys):
        logits = apply(params, batch.images).logits
        return optax.sigmoid_binary_cross_entropy(logits, batch.masks).mean((1, 2, 3))

    def update(state, gradient):
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = adam.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state)

    mesh = devices.create_mesh()
    step = make_train_step(loss, update, axis_name="batch")
    frames = put_frames(
        Frames(images, masks[:, None], np.ones((len(images), 1), bool)), mesh
    )
    feed = ResidentFeed(frames, images.shape[1:], mesh, BATCH, seed=0)
    engine = Engine(init, step, feed, predict=None, mesh=mesh, steps_per_call=1)
    stream = open_stream(engine, np.arange(BATCH))
    rows = stream.next_rows(0)[:, None]
    holder = {"states": engine.init(stream.keys)}

    def call():
        holder["states"], metrics = engine.step(holder["states"], rows, stream.keys)
        jax.block_until_ready(metrics)

    return call, engine


def main() -> None:
    """Print images per second of each and the ratios."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, *SIZE), dtype=np.uint8)
    masks = (rng.random((BATCH, *SIZE)) < 0.1).astype(np.uint8) * 255
    ours = {
        f"nerve_jax {dtype}": make_ours(images, masks, dtype)[0]
        for dtype in ("float32", "bfloat16")
    }
    theirs = {
        f"torch {dtype} {'compiled' if compiled else 'eager'} "
        f"{'channels_last' if last else 'contiguous'}": make_step(
            UNet(), images, masks, compiled=compiled, last=last, dtype=dtype
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
