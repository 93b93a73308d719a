"""The open set of real frames, usgra-seg, on two CPU cores in ten minutes.

python main.py --config=configs/usgra.py --config.manual_dir=usgra-seg/dataset
python main.py --mode=evaluate --workdir=runs/usgra --split=test
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """A residual net behind a strided stem, which sees more frames a second."""
    config = unet.get_config()
    config.dataset = "ultrasound_nerve/usgra"
    config.num_folds = 10
    config.widths = (32, 64, 128, 256)
    config.block = "residual"
    config.stem_stride = 2
    config.num_train_steps = 2700
    config.warmup_steps = 100
    config.ema_decay = 0.995
    config.eval_every_steps = 675
    config.augment.rotation_degrees = 20.0
    config.augment.scale_fraction = 0.25
    config.augment.shift_fraction = 0.12
    config.augment.elastic_fraction = 0.015
    return config
