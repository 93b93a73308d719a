"""The Kaggle run for TPUs: no level narrower than their 128 lanes, 8 frames per chip.

python main.py --config=configs/tpu.py --config.data.manual_dir=FOLDER
"""

from ml_collections import ConfigDict

from configs import kaggle


def get_config() -> ConfigDict:
    """The three coarsest levels of the Kaggle run, behind a stem of 4x4 px."""
    config = kaggle.get_config()
    config.batch_size = 64
    config.num_train_steps = 4250  # as many epochs
    config.eval_every_steps = 420
    config.optimizer.warmup_steps = 150
    config.optimizer.learning_rate = 5.7e-3  # as in configs/kaggle.py
    config.optimizer.weight_decay = 0.0416
    config.optimizer.ema_decay = 0.9988
    config.model.stem_stride = 4
    config.model.widths = (128, 256, 512)
    return config
