"""Planned for ultrasound_nerve/phantom-seed0-dd5ef84f88cf/1.2.0 on cpu.

data.image_size = (80, 112): the smallest twentieth of nerves cover 2.06% of a frame of about 210x290 px, and keep 185 px
model.widths = (16, 32, 64, 128): 4 levels halve it until the shorter side has 5 cells, from 16 channels on, which double up to 128
model.block = residual: shortcuts ease the training of many levels
model.stem_stride = 2: the finest level costs most; a CPU does without it
model.compute_dtype = float32: no gain on this CPU
model.presence_head = True: 42% of labelled frames show a nerve
batch_size = 8: about 6 MB per frame for the gradient; more is no faster on a CPU
accumulate_steps = 1: the batch fits
num_train_steps = 3380: 676 frames per fold, each 40 times (no fewer than 16000 frames in all, no more than 48000)
optimizer.warmup_steps = 84: a fortieth of the steps, from 20 to 500
eval_every_steps = 338: ten evaluations per fold
num_folds = 5: 47 people to deal
folds = (0, 1, 2, 3, 4): every frame is scored once
folds_together = 1: one after another
optimizer.learning_rate = 0.002: 0.002 at batch 8, times the square root of the batches' ratio
optimizer.weight_decay = 0.14793: it forgets over the length of the run
optimizer.ema_decay = 0.99851: its half-life stays the same share of the run, as of 500 steps at 0.99
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every field."""
    return ConfigDict(
        {'accumulate_steps': 1,
         'augment': {'attenuation_fraction': 0.3,
                     'contrast_fraction': 0.2,
                     'cutmix_prob': 0.0,
                     'elastic_cells': 5,
                     'elastic_fraction': 0.01,
                     'flip_prob': 0.5,
                     'gain_fraction': 0.2,
                     'gamma_fraction': 0.25,
                     'rotation_degrees': 12.0,
                     'scale_fraction': 0.15,
                     'shadow_prob': 0.2,
                     'shadow_strength': 0.6,
                     'shift_fraction': 0.08,
                     'speckle_fraction': 0.1},
         'batch_size': 8,
         'data': {'clean_train': False,
                  'frame_stride': 1,
                  'image_size': (80, 112),
                  'manual_dir': '',
                  'max_resident_gb': 4.0,
                  'name': 'ultrasound_nerve/phantom',
                  'num_workers': 0,
                  'phantom': {'frames_per_subject': 18,
                              'num_readers': 1,
                              'num_subjects': 47,
                              'seed': 0},
                  'reader': 'mean',
                  'readers': False,
                  'records_dir': '',
                  'structures': ('nerve',)},
         'decision': {'ensemble': True,
                      'rule': 'fitted',
                      'test_flips': False,
                      'threshold': 0.5},
         'eval_every_steps': 338,
         'folds': (0, 1, 2, 3, 4),
         'folds_together': 1,
         'loss': {'coarse_weight': 0.5,
                  'name': 'bce_dice',
                  'presence_weight': 0.1,
                  'structure_weights': (1.0, 1.5)},
         'model': {'block': 'residual',
                   'blocks_per_level': 1,
                   'compute_dtype': 'float32',
                   'deep_supervision': False,
                   'dropout_rate': 0.0,
                   'num_groups': 8,
                   'presence_head': True,
                   'stem_stride': 2,
                   'widths': (16, 32, 64, 128)},
         'num_folds': 5,
         'num_train_steps': 3380,
         'optimizer': {'clip_norm': 1.0,
                       'ema_decay': 0.99851,
                       'learning_rate': 0.002,
                       'warmup_steps': 84,
                       'weight_decay': 0.14793},
         'pretrain': {'hidden_share': 0.6, 'patch_px': 16},
         'seed': 0,
         'split_by': 'subject',
         'start': {'encoder_frozen_steps': 0,
                   'encoder_rate_factor': 1.0,
                   'take': 'all_but_heads',
                   'workdir': ''},
         'steps_per_call': 0,
         'tuning': {'num_trials': 20, 'space': {}, 'storage': ''}}
    )
