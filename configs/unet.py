"""The reference run: a classic U-Net on the simulated data set, minutes on two cores.

python main.py --config=configs/unet.py

On 2 cores of an AMD EPYC (2026-11-26, adcf6de), fold 0 of 5, cut at 0.5: Dice 0.920
[0.867, 0.963] on 162 frames of 9 simulated people, where predicting nothing scores 0.574,
after 108 s of training, 210 s in all with setting up and drawing the frames. The same
recipe at 8dd5518 had 0.892 [0.824, 0.947]: so much does one run differ from another.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every hyperparameter once, with its unit; most sections are a function's arguments.

    What each may be is in nerve_jax/runs/fields.py.
    """
    config = ConfigDict()
    config.seed = 0

    # Cross-validation.
    config.num_folds = 5
    config.split_by = (
        "subject"  # or scanner: a fold each, none of its people trained on
    )
    config.folds = (0,)  # those that this run trains
    config.folds_together = 1  # so many at a time, each on its share of the devices

    # Steps.
    config.batch_size = 8  # frames per step, over all devices
    config.accumulate_steps = 1  # parts that a batch goes through in
    config.num_train_steps = 500
    config.eval_every_steps = 125  # validate and save
    config.steps_per_call = 0  # 0: one on a CPU, 20 on an accelerator

    config.data = ConfigDict()
    config.data.name = "ultrasound_nerve/phantom"  # or /kaggle, /usgra, /folder
    config.data.records_dir = ""  # prepared records; "" for tfds's own folder
    config.data.manual_dir = ""  # the raw files; the phantom has none
    config.data.structures = ("nerve",)  # that are outlined; headlines are of the first
    config.data.reader = "mean"  # whose outlines are the truth: of all, or one by name
    config.data.frame_stride = 1  # every so many frames of each clip are trained on
    config.data.readers = False  # folders of masks/ are readers
    config.data.image_size = (96, 128)  # height and width in px while training
    config.data.max_resident_gb = 4.0  # frames larger than this are streamed from disk
    config.data.num_workers = 0  # processes per fold that stream; 0: by the cores
    config.data.clean_train = False  # leave out labels that most like frames contradict
    config.data.phantom = ConfigDict()
    config.data.phantom.num_subjects = 47
    config.data.phantom.frames_per_subject = 18
    config.data.phantom.seed = 0
    config.data.phantom.num_readers = 1

    config.model = ConfigDict()  # of model.unet.create_model
    config.model.widths = (16, 32, 64, 128, 256)  # channels of each level, finest first
    config.model.blocks_per_level = 1  # of two 3x3 convolutions
    config.model.block = "classic"  # or residual
    config.model.num_groups = 8  # of every group norm
    config.model.dropout_rate = 0.0  # of the deepest features
    config.model.deep_supervision = False
    config.model.presence_head = True
    config.model.stem_stride = 1  # 2: fold 2x2 px into channels before the first level
    config.model.compute_dtype = "float32"  # or bfloat16

    config.start = ConfigDict()  # from the weights of another run
    config.start.workdir = ""  # its folder; "" for random weights
    config.start.take = "all_but_heads"  # or encoder, or all
    config.start.encoder_frozen_steps = 0  # the encoder is not trained before
    config.start.encoder_rate_factor = 1.0  # of its learning rate

    config.loss = ConfigDict()  # of training.losses.make_loss
    config.loss.name = "bce_dice"  # or focal_tversky
    config.loss.presence_weight = 0.1
    config.loss.coarse_weight = 0.5  # with deep supervision
    config.loss.structure_weights = (1.0,)  # one for all, or one for each structure

    config.optimizer = ConfigDict()  # of training.optimizer.create_optimizer
    config.optimizer.learning_rate = 2e-3  # at its peak
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.optimizer.ema_decay = 0.99  # of the averaged weights, which predict frames

    config.augment = (
        ConfigDict()
    )  # of training.augment.make_augment; 0 switches one off
    config.augment.flip_prob = 0.5
    config.augment.rotation_degrees = 12.0
    config.augment.scale_fraction = 0.15
    config.augment.shift_fraction = 0.08
    config.augment.elastic_fraction = 0.01  # of the frame's height
    config.augment.elastic_cells = 5  # across the frame
    config.augment.gain_fraction = 0.2
    config.augment.gamma_fraction = 0.25
    config.augment.contrast_fraction = 0.2
    config.augment.speckle_fraction = 0.1
    config.augment.shadow_prob = 0.2
    config.augment.shadow_strength = 0.6
    config.augment.attenuation_fraction = 0.3
    config.augment.cutmix_prob = 0.0  # chance that a frame gets a rectangle of another

    config.decision = ConfigDict()
    config.decision.rule = "fitted"  # on other folds, where it gains; or threshold
    config.decision.threshold = 0.5  # the plain one: nerve from this probability on
    config.decision.test_flips = False  # average over each frame and its mirror image
    config.decision.ensemble = True  # average over all finished folds; False: the first

    config.pretrain = ConfigDict()  # without masks, --mode=pretrain
    config.pretrain.patch_px = 16  # a multiple of stem_stride * 2**(levels - 1)
    config.pretrain.hidden_share = 0.6  # of the patches

    config.tuning = ConfigDict()  # --mode=tune
    config.tuning.num_trials = 20
    config.tuning.storage = ""  # SQLite in the run's folder; or the URL of a database
    config.tuning.space = ConfigDict()  # ranges of fields, as configs/tune_unet.py has
    return config
