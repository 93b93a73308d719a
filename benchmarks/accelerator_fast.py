"""How fast an accelerator trains and predicts, and what the host needs beside it."""

import dataclasses
import time

import jax
import numpy as np
from accelerator_setting import Setting, list_strengths
from ml_collections import ConfigDict
from nerve_unet import NerveUNet, create_engine
from results import measure

from nerve_jax.commands import setup
from nerve_jax.data import rle
from nerve_jax.data.examples import Examples
from nerve_jax.runs.config import set_fields
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.predictor import make_predict_batch
from nerve_jax.scoring.scores import Predicted, count_frames, score_frames
from nerve_jax.system.flops import count_flops

PEOPLE = 12


def create_bare_fields(config: ConfigDict) -> dict:
    """Fields that leave what PyTorch's net has too, trained without augmentation."""
    return {
        "model.deep_supervision": False,
        "model.presence_head": False,
        "model.dropout_rate": 0.0,
        **list_strengths(config, 0.0),
    }


def measure_flops(setting: Setting, name: str) -> dict:
    """Floating point operations a frame of convolutions and matrix products.

    Convolutions are counted as such: Winograd's form, which a CPU uses, needs fewer.
    Prediction includes mirror images where the configuration asks for them.
    """
    config = setting.create_config(name)
    apply, init = setup.create_model_of(config)
    params = jax.eval_shape(init, jax.random.key(0))
    views = 1 + config.decision.test_flips
    frame = jax.ShapeDtypeStruct((1, *config.data.image_size), np.uint8)
    step = create_engine(config, setting.simulate(config, 1)).trace(1)
    predict = jax.jit(make_predict_batch(apply)).trace(params, frame)
    # The step is that of one device, on its own frames of the batch.
    own = config.batch_size // jax.device_count()
    return {
        "train": count_flops(step.jaxpr.jaxpr) / own,
        "predict": count_flops(predict.jaxpr.jaxpr) * views,
    }


def measure_speed(setting: Setting, name: str, dtype: str) -> dict:
    """Images a second of training and prediction, compile seconds and memory.

    Training is what a run does between two evaluations, fed and augmented; prediction
    takes frames from the host's memory and brings probabilities back to it.
    """
    is_bare = name == "bare"
    config = setting.create_config("kaggle" if is_bare else name)
    fields = {"model.compute_dtype": dtype}
    config = set_fields(
        config, fields | (create_bare_fields(config) if is_bare else {})
    )
    examples = setting.simulate(config, PEOPLE)
    net = NerveUNet(config, examples, np.arange(len(examples)), num_train_steps=10_000)
    steps = net.engine.steps_per_call * setting.choose(2, 1)
    images = np.resize(
        examples.images, (config.batch_size * 8, *config.data.image_size)
    )
    started = time.perf_counter()
    net.predict(images[: config.batch_size])
    first = time.perf_counter() - started
    seconds = measure(
        {"train": lambda: net.train(steps), "predict": lambda: net.predict(images)},
        rounds=setting.choose(3, 1),
        calls=1,
    )
    return {
        "train": config.batch_size * steps / seconds["train"],
        "predict": len(images) / seconds["predict"],
        "batch_size": config.batch_size,
        "compile_seconds": net.compile_seconds,
        "first_prediction_seconds": first,
        "num_parameters": net.parameters(),
        **measure_memory(net),
        **describe_device(),
    }


def measure_memory(net: NerveUNet) -> dict:
    """Bytes: what the compiled steps ask for, and what the device says is in use.

    The device's peak is the highest since the process began, other parts included.
    """
    asked = net.engine.get_program(net.engine.steps_per_call).memory_analysis()
    stats = jax.local_devices()[0].memory_stats() or {}
    return {
        "program_bytes": asked.temp_size_in_bytes
        + asked.argument_size_in_bytes
        + asked.output_size_in_bytes
        - asked.alias_size_in_bytes,
        "bytes_in_use": stats.get("bytes_in_use"),
        "peak_bytes_in_use": stats.get("peak_bytes_in_use"),
    }


def describe_device() -> dict:
    """What the parts run on."""
    return {
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "jax": jax.__version__,
    }


def measure_host(setting: Setting) -> dict:
    """Seconds a frame that an evaluation and a report keep one core of the host busy.

    Frames are of the competition's size, 420x580 px, at the training size of
    configs/kaggle.py; probabilities are the smooth masks themselves.
    """
    config = setting.create_config("kaggle")
    examples = enlarge(setting.simulate(config, 6))
    positions = np.arange(len(examples))
    probs = (examples.masks / 255).astype(np.float16)
    predicted = Predicted(positions, probs, examples.presence.astype(np.float32))
    rules = [Rule(0.5)] * len(examples)
    started = time.perf_counter()
    count_frames(examples, predicted, rules)
    counted = time.perf_counter()
    score_frames(
        examples,
        predicted,
        rules,
        threshold=0.5,
        groups=examples.subjects,
        doubtful=set(),
    )
    ended = time.perf_counter()
    return {
        "num_frames": len(examples),
        "evaluation_seconds_per_frame": (counted - started) / len(examples),
        "report_seconds_per_frame": (ended - counted) / len(examples),
    }


def enlarge(examples: Examples) -> Examples:
    """The same frames at twice their original size."""
    truths = (examples.truth(i).repeat(2, 0).repeat(2, 1) for i in range(len(examples)))
    return dataclasses.replace(
        examples, sizes=examples.sizes * 2, truths=tuple(map(rle.encode, truths))
    )
