"""A small net for two CPU cores: half a million parameters behind a strided stem.

python main.py --config=configs/fast.py

On 2 cores of an AMD EPYC, two seeds, one validation fold of five, cut at 0.5
(2026-11-25, benchmarks/time_to_dice.py; curves in benchmarks/README.md):

* 204 real frames of usgra-seg, 163 to train on (c1ad3aa): Dice 0.634 after 291 s of
  training, where a ResNet-18 U-Net of segmentation_models_pytorch in bfloat16 stood at
  0.488, with the same frames, resolution and time; a difference of 0.145 [0.069, 0.222].
* the phantom (11deaa0; predicting nothing: 0.574): 0.937 after 39 s, 0.965 after 630 s,
  then 0.948 after 788 s, where that net (c1ad3aa) stood at 0.708, 0.840 and 0.864.

Ahead at every point, each with an interval clear of 0. It trained at 111 to 121 img/s,
the other net at 36 to 38.
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """Residual blocks, four narrow levels from half the resolution down."""
    config = unet.get_config()
    config.model.widths = (16, 32, 64, 128)
    config.model.block = "residual"
    config.model.stem_stride = 2
    config.optimizer.learning_rate = 4e-3
    config.num_train_steps = 4200
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.995
    config.eval_every_steps = 420
    config.augment.rotation_degrees = 20.0
    config.augment.scale_fraction = 0.25
    return config
