"""The real-length run on the Kaggle frames: five folds, for one accelerator or many.

    python main.py --config=configs/kaggle.py --config.data.manual_dir=FOLDER

Score and time are not yet measured: neither the data nor an accelerator was at hand.
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """The reference with a wider net, larger frames and 60 epochs per fold."""
    config = unet.get_config()
    config.data.name = "ultrasound_nerve/kaggle"
    config.folds = (0, 1, 2, 3, 4)
    config.data.image_size = (208, 288)
    config.model.widths = (32, 64, 128, 256, 512)
    config.model.block = "residual"
    config.model.deep_supervision = True
    config.model.dropout_rate = 0.1
    config.model.compute_dtype = "bfloat16"
    config.batch_size = 32
    config.num_train_steps = 8500  # 60 epochs of 4,500 frames
    config.optimizer.warmup_steps = 300
    # Of training.optimizer.rescale, from configs/unet.py.
    config.optimizer.learning_rate = 4e-3
    config.optimizer.weight_decay = 0.029
    config.optimizer.ema_decay = 0.9994
    config.eval_every_steps = 850
    return config
