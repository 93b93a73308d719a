"""One frame in, one mask out: here, in PyTorch eager and in onnxruntime.

The net of configs/fast.py with the same random weights in all three. Resizing to
96x128 px, the net and the decision at the frame's own size are timed; files are not read.

python benchmarks/inference.py
"""

import functools
import importlib
import itertools
import tempfile
import time

import jax

jax.config.update("jax_num_cpu_devices", 2)

import logging
from unittest import mock

import jax.numpy as jnp
import numpy as np
import onnxruntime
import torch
from jax2onnx import to_onnx
from peers import UNet
from results import print_result
from scipy import special

from nerve_jax.commands import setup
from nerve_jax.data.resize import resize_image
from nerve_jax.model import ops
from nerve_jax.scoring.decide import Outline, Presence, Rule
from nerve_jax.scoring.predictor import make_predict_batch
from nerve_jax.system import devices

logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # of shapes that it leaves out
CONFIG = "fast"
SIZES = ((96, 128), (420, 580))
BATCHES = (1, 32)
ROUNDS, SECONDS = 3, 3.0
PRESENCE = 0.9
RULE = Rule(0.5, Outline("expected_dice", 1.5), Presence("head", 1.0, 0.0, 0.5))


def segment(
    predict, images: list[np.ndarray], size: tuple[int, int]
) -> list[np.ndarray]:
    """Masks of frames at their own sizes; `predict` takes uint8 [batch h w]."""
    probs = predict(np.stack([resize_image(i, size) for i in images]))
    # One presence for all, so that all clean up the same masks.
    return [RULE.mask(p, PRESENCE, i.shape) for p, i in zip(probs, images, strict=True)]


def make_jax(apply, params):
    """This project's prediction: one frame runs on one device, several on all."""
    mesh = devices.create_mesh()
    shared, same = devices.split_frames(mesh), devices.replicated(mesh)
    predict_batch = make_predict_batch(apply)
    alone = jax.jit(predict_batch), jax.device_put(params, jax.devices()[0])
    together = (
        jax.jit(predict_batch, in_shardings=(same, shared), out_shardings=shared),
        jax.device_put(params, same),
    )

    def predict(images):
        compiled, where = together if len(images) % mesh.size == 0 else alone
        return jax.device_get(compiled(where, images))[0][:, 0]

    return predict


def make_torch(config, params):
    """PyTorch, eager float32, channels_last, without the presence head."""
    residual = config.model.block == "residual"
    model = (
        UNet(config.model.widths, residual, config.model.stem_stride)
        .load(params)
        .eval()
    )
    model = model.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(images):
        logits = model(torch.from_numpy(images)[:, None].float() / 255.0)
        return torch.sigmoid(logits)[:, 0].numpy()

    return predict


def make_onnx(apply, params, size):
    """onnxruntime on the exported net."""

    def logits(images):
        return apply(params, images).logits

    # jax2onnx knows neither Winograd's form nor the choice between forms.
    with mock.patch.object(ops, "WINOGRAD_CHANNELS", 1 << 30):
        model = to_onnx(logits, [("B", *size, 1)])
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        session = onnxruntime.InferenceSession(
            file.name, providers=["CPUExecutionProvider"]
        )
    (entry,) = session.get_inputs()

    def predict(images):
        grey = images.astype(np.float32)[..., None] / 255.0
        (found,) = session.run(None, {entry.name: grey})
        return special.expit(found[..., 0])

    return predict


def time_calls(contestants: dict) -> dict[str, np.ndarray]:
    """Seconds of every call of each, in turns of some seconds."""
    seconds = {name: [] for name in contestants}
    for call in contestants.values():
        for _ in range(3):
            call()
    for _, (name, call) in itertools.product(range(ROUNDS), contestants.items()):
        until = time.perf_counter() + SECONDS
        while (started := time.perf_counter()) < until:
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def main() -> None:
    """Print frames per second (median and 99th percentile) and the ratios."""
    config = importlib.import_module(f"configs.{CONFIG}").get_config()
    size = tuple(config.data.image_size)
    apply, init = setup.create_model_of(config)
    params = jax.device_get(init(jax.random.key(0)))
    predictors = {
        "nerve_jax": make_jax(apply, params),
        "torch": make_torch(config, params),
        "onnxruntime": make_onnx(apply, jax.tree.map(jnp.asarray, params), size),
    }
    rng = np.random.default_rng(0)
    check = rng.integers(0, 256, (3, *size), dtype=np.uint8)
    wanted = predictors["nerve_jax"](check)
    for name, predict in predictors.items():
        apart = float(np.abs(predict(check) - wanted).max())
        assert apart < 1e-4, f"{name} differs by {apart}"
    figures = {}
    for frame, batch in itertools.product(SIZES, BATCHES):
        images = list(rng.integers(0, 256, (batch, *frame), dtype=np.uint8))
        contestants = {
            name: functools.partial(segment, predict, images, size)
            for name, predict in predictors.items()
        }
        key = f"{frame[0]}x{frame[1]}, batch {batch}"
        figures[key] = {}
        for name, seconds in time_calls(contestants).items():
            median, slow = np.percentile(seconds, (50, 99)) * 1e3
            rate = batch / np.median(seconds)
            figures[key][name] = {
                "median_ms": median,
                "p99_ms": slow,
                "frames_per_second": rate,
            }
            print(
                f"{key:20s} {name:12s} {median:8.2f} ms, 99 % {slow:8.2f} ms, {rate:7.1f}/s"
            )
    first = {n: f["frames_per_second"] for n, f in figures["96x128, batch 1"].items()}
    print_result(
        ratio=first["nerve_jax"] / first["torch"],
        ratio_onnxruntime=first["nerve_jax"] / first["onnxruntime"],
        frames_per_second=first["nerve_jax"],
        figures=figures,
    )


if __name__ == "__main__":
    main()
