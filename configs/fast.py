"""A small net for two CPU cores: half a million parameters behind a strided stem.

python main.py --config=configs/fast.py

Trains at 95 img/s with augmentation on 2 cores of an AMD EPYC, 2.5 times as fast as a
ResNet-18 U-Net of segmentation_models_pytorch in bfloat16 in the same run (2026-11-25,
5e708e3, benchmarks/training_loop.py). Its scores are not yet measured.
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """Residual blocks, four narrow levels from half the resolution down."""
    config = unet.get_config()
    config.widths = (16, 32, 64, 128)
    config.block = "residual"
    config.stem_stride = 2
    config.learning_rate = 4e-3
    config.num_train_steps = 4200
    config.warmup_steps = 100
    config.ema_decay = 0.995
    config.eval_every_steps = 420
    config.augment.rotation_degrees = 20.0
    config.augment.scale_fraction = 0.25
    return config
