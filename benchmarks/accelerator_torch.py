"""PyTorch's rates with the net of configs/kaggle.py, for the part "speed bare"."""

import numpy as np
import torch
from accelerator_setting import Setting
from peers import UNet, make_step
from results import measure


def measure_torch(setting: Setting, dtype: str, how: str) -> dict:
    """Images a second of one step on the same batch, channels_last.

    Args:
      setting: of all parts.
      dtype: "float32" (convolutions in TF32, PyTorch's own choice) or "bfloat16" (AMP).
      how: "eager" or "compiled".
    """
    config = setting.create_config("kaggle")
    shape = (config.batch_size, *config.data.image_size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    masks = (rng.random(shape) < 0.1).astype(np.uint8) * 255
    on_gpu = torch.cuda.is_available()
    step = make_step(
        UNet(config.model.widths, residual=True),
        images,
        masks,
        compiled=how == "compiled",
        last=True,
        dtype=dtype,
        device="cuda" if on_gpu else "cpu",
    )
    steps = setting.choose(20, 1)

    def call():
        for _ in range(steps):
            step()
        if on_gpu:
            torch.cuda.synchronize()

    seconds = measure({"train": call}, rounds=setting.choose(3, 1), calls=1)
    return {
        "train": config.batch_size * steps / seconds["train"],
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        "torch": torch.__version__,
    }
