"""Whether an accelerator computes what a CPU does, and the same again."""

import hashlib
import time
from collections.abc import Callable

import jax
import numpy as np
from accelerator_setting import Setting
from ml_collections import ConfigDict
from nerve_unet import Unattended, create_engine, open_stream, take_steps

from nerve_jax.commands import setup
from nerve_jax.scoring.predictor import keep
from nerve_jax.training.loop import advance

PEOPLE = 6
PROBS = "probs-cpu.npy"
# The compute dtype and how float32 is multiplied: None leaves it to XLA, which is TF32
# on NVIDIA's GPUs.
PRECISIONS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", None),
    "bfloat16": ("bfloat16", None),
}


class Losses(Unattended):
    """Keeps the loss of every step."""

    def __init__(self):
        self.values: list[float] = []

    def add_losses(self, step: int, losses: np.ndarray) -> None:
        """Take those of some steps, [folds steps]."""
        del step
        self.values += losses[0].tolist()


def create_small(setting: Setting, dtype: str, steps_per_call: int) -> ConfigDict:
    """The net of configs/kaggle.py on frames that a CPU can follow."""
    return setting.create_config(
        "kaggle",
        **{
            "data.image_size": (96, 128),
            "batch_size": 8,
            "num_train_steps": 20,
            "optimizer.warmup_steps": 5,
            "model.compute_dtype": dtype,
            "steps_per_call": steps_per_call,
        },
    )


def take_losses(setting: Setting, precision: str, steps_per_call: int) -> list[float]:
    """The losses of the first steps."""
    dtype, multiplied = PRECISIONS[precision]
    steps = setting.choose(20, 4)
    config = create_small(setting, dtype, min(steps_per_call, steps))
    examples = setting.simulate(config, PEOPLE)
    losses = Losses()
    with jax.default_matmul_precision(multiplied):
        engine = create_engine(config, examples)
        stream = open_stream(engine, np.arange(len(examples)))
        states = engine.init(stream.keys)
        advance(engine, stream, states, 0, steps, losses, Unattended())
    return losses.values


def measure_reference(setting: Setting) -> dict:
    """The CPU's losses, float32, one step a call."""
    return {"losses": take_losses(setting, "float32", 1)}


def measure_losses(setting: Setting, precision: str, per_call: str) -> dict:
    """Losses here, to be held against the CPU's and against each other.

    Args:
      setting: of all parts.
      precision: a key of `PRECISIONS`.
      per_call: how many steps a call takes.
    """
    losses = take_losses(setting, precision, int(per_call))
    return {"losses": losses, "device": jax.devices()[0].device_kind}


def draw_params(init: Callable) -> dict[str, np.ndarray]:
    """Weights of the usual sizes that are the same bits on every machine."""
    rng, params = np.random.default_rng(0), {}
    for name, shape in sorted(jax.eval_shape(init, jax.random.key(0)).items()):
        spread = (2 / max(np.prod(shape.shape[:-1]), 1)) ** 0.5
        values = rng.normal(0, spread if len(shape.shape) > 1 else 0.1, shape.shape)
        params[name] = (values + name.endswith("/scale")).astype(np.float32)
    return params


def predict_frames(setting: Setting, precision: str) -> np.ndarray:
    """Probabilities of 16 frames, float32, by the weights of `draw_params`."""
    dtype, multiplied = PRECISIONS[precision]
    config = create_small(setting, dtype, 1)
    images = setting.simulate(config, PEOPLE).images[:16]
    with jax.default_matmul_precision(multiplied):
        params = draw_params(setup.create_model_of(config)[1])
        views = setup.create_predictor_of(config, keep)([params], images)
    return views.probs[:, 0, 0]


def measure_cpu_prediction(setting: Setting) -> dict:
    """The CPU's probabilities, left beside the results."""
    probs = predict_frames(setting, "float32")
    np.save(setting.folder / PROBS, probs)
    return {"mean": float(probs.mean()), "spread": float(probs.std())}


def measure_prediction(setting: Setting, precision: str) -> dict:
    """How far probabilities are from the CPU's."""
    apart = np.abs(predict_frames(setting, precision) - np.load(setting.folder / PROBS))
    return {"mean": float(apart.mean()), "largest": float(apart.max())}


def measure_whole(setting: Setting, mode: str) -> dict:
    """Train without a break, leaving the state half-way; then time further steps."""
    half = setting.choose(20, 4)
    engine, stream, states = _begin(setting, half)
    states = take_steps(engine, stream, states, 0, half)
    leaves = map(np.asarray, jax.tree.leaves(states))
    np.savez(setting.folder / f"state-{mode}.npz", *leaves)
    states = take_steps(engine, stream, states, half, 2 * half)
    end = compute_digest_of(states)
    further = setting.choose(10, 1) * half
    started = time.perf_counter()
    take_steps(engine, stream, states, 2 * half, 2 * half + further)
    seconds = (time.perf_counter() - started) / further
    return {"digest": end, "ms_per_step": seconds * 1e3}


def measure_resumed(setting: Setting, mode: str) -> dict:
    """Train the second half from the state that `measure_whole` has left."""
    half = setting.choose(20, 4)
    engine, stream, begun = _begin(setting, half)
    with np.load(setting.folder / f"state-{mode}.npz") as kept:
        leaves = [kept[name] for name in kept.files]
    leaves = map(_put_as, leaves, jax.tree.leaves(begun))
    states = jax.tree.unflatten(jax.tree.structure(begun), leaves)
    states = take_steps(engine, stream, states, half, 2 * half)
    return {"digest": compute_digest_of(states)}


def _begin(setting: Setting, steps_per_call: int):
    """Engine, stream and first state of a run in bfloat16, as configs/kaggle.py trains."""
    calls = setting.choose(steps_per_call, 1)
    config = create_small(setting, "bfloat16", calls)
    examples = setting.simulate(config, PEOPLE)
    engine = create_engine(config, examples)
    stream = open_stream(engine, np.arange(len(examples)))
    return engine, stream, engine.init(stream.keys)


def _put_as(array: np.ndarray, like: jax.Array) -> jax.Array:
    return jax.device_put(array, like.sharding)


def compute_digest_of(states) -> str:
    """Equal for states that are equal bit for bit."""
    digest = hashlib.blake2b(digest_size=8)
    for leaf in jax.tree.leaves(states):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
