"""A search around the reference: 20 trials of three folds on the simulated data set.

    python main.py --mode=tune --config=configs/tune_unet.py
    python main.py --config=runs/tune_unet/best_config.py --workdir=runs/tuned

Ranges are written as nerve_jax/commands/space.py says. Trials that differ in learning rate,
weight decay, loss weights and augmentation strengths alone share one compiled program;
other fields may be searched too, at a compilation a choice.
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """The reference, with what to search."""
    config = unet.get_config()
    config.folds = (0, 1, 2)
    config.tuning.space = ConfigDict(
        {
            "optimizer": {
                "learning_rate": ("log", 5e-4, 1e-2),
                "weight_decay": ("log", 1e-3, 0.3),
            },
            "loss": {"presence_weight": ("linear", 0.02, 0.5)},
            "augment": {
                "rotation_degrees": ("linear", 2.0, 40.0),
                "scale_fraction": ("linear", 0.02, 0.4),
                "elastic_fraction": ("linear", 0.001, 0.03),
                "gamma_fraction": ("linear", 0.02, 0.6),
                "speckle_fraction": ("linear", 0.01, 0.3),
            },
        }
    )
    return config
