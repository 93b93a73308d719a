"""Strictness that holds in all tests: shapes, dtypes, four simulated devices."""

import atexit
import shutil
import signal
import tempfile

import jax
from jaxtyping import install_import_hook

# What starts the tests in the background may have them ignored, by commands too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# A third of the time goes with XLA's optimisations; commands that tests start have them.
jax.config.update("jax_disable_most_optimizations", True)

# Programs that one test has compiled are kept for the others, and commands they start.
CACHE = tempfile.mkdtemp(prefix="nerve_jax_tests_")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

install_import_hook("nerve_jax", "beartype.beartype")

import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from PIL import Image

flags.FLAGS(sys.argv[:1])  # readers of array_record files want them parsed

REPO = Path(__file__).parents[1]
USGRA = REPO.parent / "shared" / "data" / "usgra-seg"


@pytest.fixture
def usgra_dir() -> Path:
    """The open set of real frames, where a copy lies beside the project."""
    if not USGRA.is_dir():
        pytest.skip(f"no copy of usgra-seg at {USGRA}")
    return USGRA


@pytest.fixture
def write_folder(tmp_path):
    """Return `write(frames, subjects=None) -> folder` that makes a folder data set.

    `frames` maps stems to (image, mask or None), arrays as Pillow takes them.
    """

    def write(frames, name="frames", subjects=None) -> Path:
        folder = tmp_path / name
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for stem, (image, mask) in frames.items():
            Image.fromarray(image).save(folder / "images" / f"{stem}.png")
            if mask is not None:
                Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
        if subjects is not None:
            (folder / "subjects.csv").write_text(subjects)
        return folder

    return write


@pytest.fixture
def blob_frames():
    """Return `make(num_subjects, per_subject) -> frames` of a bright disc on noise."""

    def make(num_subjects=4, per_subject=3, size=(40, 56), seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: size[0], : size[1]]
        frames = {}
        for subject in range(num_subjects):
            for index in range(per_subject):
                centre = rng.uniform(0.3, 0.7, 2) * size
                mask = np.hypot(y - centre[0], x - centre[1]) < 0.2 * size[0]
                mask &= index > 0  # the first frame of a subject shows no nerve
                image = rng.integers(0, 90, size) + 120 * mask
                pair = (image.astype(np.uint8), mask.astype(np.uint8) * 255)
                frames[f"s{subject}_{index}"] = pair
        return frames

    return make


@pytest.fixture
def kaggle_dir(tmp_path):
    """The competition's files, in small."""
    from nerve_jax.data import rle

    folder = tmp_path / "kaggle"
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    rng = np.random.default_rng(0)
    rows = ["subject,img,pixels"]
    for subject in (1, 2, 10):
        for img in (1, 2):
            image = rng.integers(0, 256, (42, 58), dtype=np.uint8)
            mask = np.zeros((42, 58), bool)
            if img == 1:
                mask[10:20, 20 : 30 + subject] = True
            stem = folder / "train" / f"{subject}_{img}"
            Image.fromarray(image).save(f"{stem}.tif")
            Image.fromarray(mask * np.uint8(255)).save(f"{stem}_mask.tif")
            rows.append(f"{subject},{img},{rle.encode(mask)}")
    for img in (1, 2, 3):
        image = rng.integers(0, 256, (42, 58), dtype=np.uint8)
        Image.fromarray(image).save(folder / "test" / f"{img}.tif")
    (folder / "train_masks.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def small_config(write_folder, blob_frames, tmp_path):
    """Return `create(**fields) -> config` of a run of seconds on a folder of discs.

    Fields of sections are given by dotted name: `create(**{"model.widths": (8,)})`.
    """
    from configs import unet

    folder = write_folder(blob_frames(4, 3))

    def create(**fields):
        config = unet.get_config()
        small = {
            "data.name": "ultrasound_nerve/folder",
            "data.manual_dir": str(folder),
            "data.records_dir": str(tmp_path / "records"),
            "data.image_size": (24, 32),
            "model.widths": (8, 16),
            "pretrain.patch_px": 8,
            "batch_size": 8,
            "num_train_steps": 4,
            "eval_every_steps": 2,
            "num_folds": 2,
        }
        config.update_from_flattened_dict(small | fields)
        return config

    return create


@pytest.fixture(scope="session")
def make_plain_step():
    """Return `make(apply, optimizer, **options)`: a step on frames as they are."""
    from nerve_jax.training.losses import make_loss
    from nerve_jax.training.step import make_train_step

    loss = make_loss("bce_dice", presence_weight=0.1, coarse_weight=0.0)

    def make(apply, optimizer, *, accumulate_steps=1):
        def compute_loss(params, state, batch, keys):
            del state
            outputs = apply(params, batch.images, keys)
            return loss(outputs, batch.masks, batch.labelled)

        return make_train_step(
            compute_loss,
            optimizer.update,
            accumulate_steps=accumulate_steps,
            axis_name="batch",
        )

    return make
