"""segmentation_models_pytorch's ResNet-18 U-Net, trained as its users would."""

import itertools

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv


class Frames(torch.utils.data.Dataset):
    """Frames augmented one by one: flip, affine, gamma, contrast, brightness.

    Strengths are those of `nerve_jax.training.augment`, by the same names.
    """

    def __init__(self, images: np.ndarray, masks: np.ndarray, strengths: ConfigDict):
        self.images, self.masks, self.strengths = images, masks, dict(strengths)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        s, rng = self.strengths, np.random.default_rng(torch.randint(2**31, ()).item())
        pair = [
            torch.from_numpy(np.array(a[index]))[None].float() / 255
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


class SmpUNet:
    """Random weights, AdamW 1e-3 with cosine decay, cross-entropy and Dice.

    Args:
      images: uint8 [frames height width], to train on.
      masks: the same, 0 to 255.
      strengths: of `Frames`.
      dtype: "float32" or "bfloat16" (autocast).
      num_train_steps: over which the learning rate falls to 0.
      batch_size: of the loader, which has two workers.
      seed: of weights, order and augmentation.
    """

    def __init__(
        self, images, masks, strengths, *, dtype, num_train_steps, batch_size, seed
    ):
        torch.manual_seed(seed)
        model = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=1)
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, num_train_steps
        )
        self.dice = smp.losses.DiceLoss("binary")
        loader = torch.utils.data.DataLoader(
            Frames(images, masks, strengths),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=2,
            persistent_workers=True,
        )
        self.batches = itertools.chain.from_iterable(itertools.repeat(loader))
        self.cast = dtype == "bfloat16"
        next(self.batches)  # start the workers

    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def train(self, num_steps: int) -> None:
        """Take some steps."""
        self.model.train()
        for images, masks in itertools.islice(self.batches, num_steps):
            images = images.to(memory_format=torch.channels_last)
            self.optimizer.zero_grad()
            logits = self._logits(images)
            cross_entropy = F.binary_cross_entropy_with_logits(logits, masks)
            (cross_entropy + self.dice(logits, masks)).backward()
            self.optimizer.step()
            self.schedule.step()

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of frames, uint8 -> float32 [frames height width]."""
        self.model.eval()
        probs = []
        for start in range(0, len(images), 16):
            grey = torch.from_numpy(np.array(images[start : start + 16]))[:, None]
            grey = (grey.float() / 255.0).to(memory_format=torch.channels_last)
            probs.append(torch.sigmoid(self._logits(grey))[:, 0].numpy())
        return np.concatenate(probs)

    def _logits(self, images):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.cast):
            return self.model(images).float()
