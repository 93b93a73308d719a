"""Clips with a mask for every frame, every tenth frame trained on; two CPU cores.

python main.py --config=configs/clips.py --config.data.manual_dir=FOLDER

The folder holds clips/ (mp4, avi, mov, mkv, GIF, DICOM), masks/CLIP/00012.png and a table
clips.csv (clip,subject), or subjects.csv.
"""

from ml_collections import ConfigDict

from configs import unet


def get_config() -> ConfigDict:
    """The reference net on clips, five folds by person."""
    config = unet.get_config()
    config.data.name = "ultrasound_nerve/folder"
    config.data.frame_stride = 10
    config.folds = (0, 1, 2, 3, 4)
    return config
