"""Clips with a mask for every frame, every tenth frame trained on; two CPU cores.

python main.py --config=configs/clips.py --config.data.manual_dir=FOLDER

The folder holds clips/ (mp4, avi, mov, mkv, GIF, DICOM), masks/CLIP/00012.png and a table
clips.csv (clip,subject), or subjects.csv.

On 40 clips of the brachial plexus of 38 people, all five folds (2026-11-27, fa93975): Dice
0.780 [0.730, 0.825] on 729 frames, where predicting nothing scores 0.240, after 17 minutes
of training on 2 cores of an AMD EPYC beside other work.
"""

from ml_collections import ConfigDict

from configs import fast


def get_config() -> ConfigDict:
    """The fast net on clips, five folds by person."""
    config = fast.get_config()
    config.data.name = "ultrasound_nerve/folder"
    config.data.frame_stride = 10
    config.folds = (0, 1, 2, 3, 4)
    config.num_train_steps = 2000
    config.eval_every_steps = 1000
    return config
