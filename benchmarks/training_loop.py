"""The whole training loop with augmentation, against the bare step and against smp.

Here: `train_interval` on the net of configs/usgra.py with the augmentations of
configs/unet.py, frames resident. Bare: the same step without augmentation, on one batch.
smp: segmentation_models_pytorch's ResNet-18 U-Net from random weights, fed by a
DataLoader of two workers that flips, rotates, scales, shifts and changes gain, gamma and
contrast by torchvision; float32 and bfloat16 (autocast), channels_last. Batch 8, 96x128.

python benchmarks/training_loop.py
"""

import itertools
import tempfile

import jax
import numpy as np
import segmentation_models_pytorch as smp
import torch
from absl import flags
from ml_collections import ConfigDict
from peers import BATCH, measure, print_result
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from configs import unet, usgra
from nerve_jax import parallel
from nerve_jax.batches import batch_positions
from nerve_jax.examples import Examples
from nerve_jax.programs import create_programs, load_examples_from
from nerve_jax.train import train_interval

STEPS, ROUNDS = 20, 5


def make_config(records: str, augment: bool) -> ConfigDict:
    """The net to train, on a small phantom, with augmentation or without."""
    config = usgra.get_config()
    config.dataset, config.data_dir = "ultrasound_nerve/phantom", records
    config.num_subjects, config.frames_per_subject = 12, 18
    config.augment = unet.get_config().augment
    if not augment:
        config.augment = ConfigDict(dict.fromkeys(config.augment, 0.0))
        config.augment.elastic_cells = 5
    return config


def make_loop(config: ConfigDict, examples: Examples, mesh):
    """A call that takes STEPS steps as a run does."""
    programs = create_programs(config, mesh, examples)
    key = jax.random.key(0)
    holder = {"state": programs.init(key), "step": 0}

    def next_positions(step):
        return batch_positions(
            step, batch_size=BATCH, num_frames=len(examples), seed=0, fold=0
        ).astype(np.int32)

    def call():
        done = train_interval(
            holder["state"],
            lambda state, rows: programs.run_steps(state, rows, key),
            next_positions,
            first_step=holder["step"],
            last_step=holder["step"] + STEPS,
            steps_per_call=programs.steps_per_call,
            on_step=lambda step, loss: None,
        )
        holder.update(state=done.state, step=holder["step"] + STEPS)

    return call


class Frames(torch.utils.data.Dataset):
    """Frames augmented one by one, as a PyTorch user would."""

    def __init__(self, examples: Examples, strengths: ConfigDict):
        self.images, self.masks = np.array(examples.images), np.array(examples.masks)
        self.strengths = strengths

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        s, rng = self.strengths, np.random.default_rng()
        pair = [
            torch.from_numpy(a[index])[None].float() / 255
            for a in (self.images, self.masks)
        ]
        if rng.random() < s["flip_prob"]:
            pair = [tv.horizontal_flip(x) for x in pair]
        height, width = self.images.shape[1:]
        shift = s["shift_fraction"]
        place = {
            "angle": rng.uniform(-1, 1) * s["rotation_degrees"],
            "translate": [
                int(rng.uniform(-1, 1) * shift * width),
                int(rng.uniform(-1, 1) * shift * height),
            ],
            "scale": (1 + s["scale_fraction"]) ** rng.uniform(-1, 1),
            "shear": [0.0, 0.0],
            "interpolation": InterpolationMode.BILINEAR,
        }
        image, mask = (tv.affine(x, **place) for x in pair)
        image = image.clamp(min=1e-6) ** (
            (1 + s["gamma_fraction"]) ** rng.uniform(-1, 1)
        )
        image = tv.adjust_contrast(
            image.clamp(0, 1), 1 + rng.uniform(-1, 1) * s["contrast_fraction"]
        )
        image = tv.adjust_brightness(image, 1 + rng.uniform(-1, 1) * s["gain_fraction"])
        return image, mask


def make_smp(examples: Examples, strengths: dict, dtype: str):
    """A call that takes STEPS steps of smp's net with its loader."""
    torch.manual_seed(0)
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=1)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    dice = smp.losses.DiceLoss("binary")
    loader = torch.utils.data.DataLoader(
        Frames(examples, strengths),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def call():
        for images, masks in itertools.islice(batches, STEPS):
            images = images.to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                logits = model(images)
            logits = logits.float()
            cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, masks
            )
            (cross_entropy + dice(logits, masks)).backward()
            optimizer.step()

    return call


def main() -> None:
    """Print images a second of each and the ratios."""
    flags.FLAGS(["training_loop"])
    parallel.use_cpu_cores(BATCH, 1)
    mesh = parallel.create_mesh()
    with tempfile.TemporaryDirectory() as records:
        config = make_config(records, augment=True)
        examples = load_examples_from(config, "train")
        strengths = dict(config.augment)
        contestants = {
            "loop": make_loop(config, examples, mesh),
            "bare step": make_loop(make_config(records, augment=False), examples, mesh),
            "smp float32": make_smp(examples, strengths, "float32"),
            "smp bfloat16": make_smp(examples, strengths, "bfloat16"),
        }
        seconds = measure(contestants, ROUNDS, calls=1)
    rates = {name: BATCH * STEPS / value for name, value in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:14s} {rate:6.1f} img/s")
    print_result(
        ratio=rates["loop"] / rates["bare step"],
        ratio_smp=rates["loop"] / max(rates["smp float32"], rates["smp bfloat16"]),
        images_per_second=rates,
    )


if __name__ == "__main__":
    main()
