"""The open set of real frames, usgra-seg, on two CPU cores in ten minutes.

python main.py --config=configs/usgra.py --config.data.manual_dir=usgra-seg/dataset
python main.py --mode=evaluate --workdir=runs/usgra --split=test
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """A residual net behind a strided stem, five levels deep, mildly augmented.

    Twenty folds, so that the one that is trained leaves nearly all frames to train on:
    the set's own test split is what it is scored on.
    """
    config = unet.get_config()
    config.data.name = "ultrasound_nerve/usgra"
    config.num_folds = 20
    config.model.widths = (32, 64, 128, 256, 256)
    config.model.block = "residual"
    config.model.stem_stride = 2
    config.num_train_steps = 2300
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.995
    config.eval_every_steps = 575
    config.augment.elastic_fraction = 0.0
    config.augment.speckle_fraction = 0.0
    config.augment.shadow_prob = 0.0
    config.augment.attenuation_fraction = 0.0
    return config
