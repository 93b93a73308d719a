"""The whole training loop with augmentation, against the bare step and against smp.

Here: `training.loop.advance` on the net of configs/fast.py with the augmentations of
configs/unet.py, frames resident, and once streamed from the records by Grain. Bare: the
same step without augmentation.
smp: segmentation_models_pytorch's ResNet-18 U-Net from random weights, fed by a
DataLoader of two workers that flips, rotates, scales, shifts and changes gain, gamma and
contrast by torchvision; float32 and bfloat16 (autocast), channels_last. Batch 8, 96x128.

python benchmarks/training_loop.py
"""

import tempfile

import numpy as np
from absl import flags
from ml_collections import ConfigDict
from nerve_unet import NerveUNet
from peers import BATCH
from results import measure, print_result
from smp_unet import SmpUNet

from configs import fast, unet
from nerve_jax.commands import setup
from nerve_jax.data.examples import Examples
from nerve_jax.runs.config import set_fields
from nerve_jax.system import backend

STEPS, ROUNDS = 20, 5


def make_config(records: str, augment: bool) -> ConfigDict:
    """The net to train, on a small phantom, with augmentation or without."""
    config = fast.get_config()
    config.data.records_dir = records
    config.data.phantom.num_subjects = 12
    config.augment = unet.get_config().augment
    if not augment:
        config.augment = ConfigDict(dict.fromkeys(config.augment, 0.0))
        config.augment.elastic_cells = 5
    return config


def make_loop(config: ConfigDict, examples: Examples):
    """A call that takes STEPS steps as a run does."""
    every = np.arange(len(examples))
    contestant = NerveUNet(config, examples, every, num_train_steps=10_000)
    return lambda: contestant.train(STEPS)


def make_smp(examples: Examples, strengths: ConfigDict, dtype: str):
    """A call that takes STEPS steps of smp's net with its loader."""
    contestant = SmpUNet(
        examples.images,
        examples.masks,
        strengths,
        dtype=dtype,
        num_train_steps=10_000,
        batch_size=BATCH,
        seed=0,
    )
    return lambda: contestant.train(STEPS)


def main() -> None:
    """Print images per second of each and the ratios."""
    flags.FLAGS(["training_loop"])
    backend.use_cpu_cores(BATCH, 1)
    with tempfile.TemporaryDirectory() as records:
        config = make_config(records, augment=True)
        examples = setup.load_frames(config, "train")
        streamed = set_fields(config, {"data.max_resident_gb": 0.0})
        strengths = config.augment
        contestants = {
            "loop": make_loop(config, examples),
            "bare step": make_loop(make_config(records, augment=False), examples),
            "streamed loop": make_loop(streamed, examples),
            "smp float32": make_smp(examples, strengths, "float32"),
            "smp bfloat16": make_smp(examples, strengths, "bfloat16"),
        }
        seconds = measure(contestants, ROUNDS, calls=1)
    rates = {name: BATCH * STEPS / value for name, value in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:14s} {rate:6.1f} img/s")
    print_result(
        ratio=rates["loop"] / rates["bare step"],
        ratio_streamed=rates["streamed loop"] / rates["loop"],
        ratio_smp=rates["loop"] / max(rates["smp float32"], rates["smp bfloat16"]),
        images_per_second=rates,
    )


if __name__ == "__main__":
    main()
