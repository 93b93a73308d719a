"""The reference run: a classic U-Net on the simulated data set, minutes on two cores.

python main.py --config=configs/unet.py

On 2 cores of an AMD EPYC (2026-11-26, adcf6de), fold 0 of 5, cut at 0.5: Dice 0.920
[0.867, 0.963] on 162 frames of 9 simulated people, where predicting nothing scores 0.574,
after 108 s of training, 210 s in all with setting up and drawing the frames. The same
recipe at 8dd5518 had 0.892 [0.824, 0.947]: so much does one run differ from another.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every hyperparameter once, with its unit."""
    config = ConfigDict()
    config.seed = 0

    # Data: ultrasound_nerve/phantom, /kaggle, /usgra or /folder.
    config.dataset = "ultrasound_nerve/phantom"
    config.data_dir = ""  # prepared records; "" for tfds's own folder
    config.manual_dir = ""  # the raw files; the phantom has none
    config.num_subjects = 47  # phantom only
    config.frames_per_subject = 18  # phantom only
    config.phantom_seed = 0
    config.image_size = (96, 128)  # height and width in px while training

    # Cross-validation.
    config.num_folds = 5
    config.folds = (0,)  # those that this run trains
    config.folds_together = 1  # so many at a time, each on its share of the devices
    config.clean_train = False  # leave out empty labels that a like frame contradicts

    # Model.
    config.widths = (16, 32, 64, 128, 256)  # channels of each level, finest first
    config.blocks_per_level = 1  # of two 3x3 convolutions
    config.block = "classic"  # or residual
    config.num_groups = 8  # of every group norm
    config.dropout_rate = 0.0  # of the deepest features
    config.deep_supervision = False
    config.presence_head = True
    config.stem_stride = 1  # 2: fold 2x2 px into channels before the first level
    config.compute_dtype = "float32"  # or bfloat16

    # Start; "" for random weights.
    config.init_from = ""  # the folder of a run whose weights are taken
    config.init_take = "all_but_heads"  # or encoder, or all
    config.encoder_frozen_steps = 0  # the encoder is not trained before
    config.encoder_rate_factor = 1.0  # of its learning rate

    # Loss.
    config.loss = "bce_dice"  # or focal_tversky
    config.presence_weight = 0.1
    config.coarse_weight = 0.5  # with deep supervision

    # Optimiser.
    config.batch_size = 8  # frames a step, over all devices
    config.accumulate_steps = 1  # parts that a batch is worked off in
    config.num_train_steps = 500
    config.learning_rate = 2e-3  # at its peak
    config.warmup_steps = 50
    config.weight_decay = 0.05
    config.clip_norm = 1.0
    config.ema_decay = 0.99  # of the averaged weights, with which frames are predicted
    config.max_resident_gb = 4.0  # frames larger than this are streamed from disk
    config.steps_per_call = 0  # 0: one on a CPU, 20 on an accelerator
    config.eval_every_steps = 125  # validate and save

    # Prediction and decision.
    config.test_flips = False  # average over each frame and its mirror image
    config.ensemble = True  # average over all finished folds; False: the first alone
    config.decide = "expected_dice"  # fitted on other folds' predictions; or threshold
    config.threshold = 0.5  # the plain one: a pixel is nerve from this probability on

    # Pretraining without masks (--mode=pretrain).
    config.hidden_patch_px = 16  # a multiple of stem_stride * 2**(levels - 1)
    config.hidden_share = 0.6  # of the patches

    # Augmentation; 0 switches one off.
    config.cutmix_prob = 0.0  # chance that a frame gets a rectangle of another
    config.augment = ConfigDict(
        {
            "flip_prob": 0.5,
            "rotation_degrees": 12.0,
            "scale_fraction": 0.15,
            "shift_fraction": 0.08,
            "elastic_fraction": 0.01,  # of the frame's height
            "elastic_cells": 5,  # across the frame
            "gain_fraction": 0.2,
            "gamma_fraction": 0.25,
            "contrast_fraction": 0.2,
            "speckle_fraction": 0.1,
            "shadow_prob": 0.2,
            "shadow_strength": 0.6,
            "attenuation_fraction": 0.3,
        }
    )
    return config
