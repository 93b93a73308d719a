"""Weights that know ultrasound before they see a mask: the command `--mode=pretrain`.

Each fold learns from all frames, labelled or not, of the people that it will not be
scored on; `config.init_from` then names the folder.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import masking, parallel, processes, transfer, workdirs
from nerve_jax.batches import padded_batches
from nerve_jax.cross_validation import (
    Data,
    check_config,
    load_data,
    prepare,
    train_all,
)
from nerve_jax.examples import Examples
from nerve_jax.files import Path
from nerve_jax.fold_training import Fold, Task
from nerve_jax.loading import load_all_frames
from nerve_jax.models import INITIAL_LOGIT, Params
from nerve_jax.programs import (
    create_model_from,
    create_programs,
    make_augment_from,
)


def pretrain(config: ConfigDict, workdir: Path, *, force: bool = False) -> None:
    """Train the folds of `config.folds` to guess what is under hidden patches.

    Frames of split "train" and unlabelled ones of other splits are learnt from. Folds are
    those of --mode=train with the same `num_folds` and `seed`; a fold's validation people
    are left out, and how much of their hidden patches it explains is its score.

    Args:
      config: of the run.
      workdir: its folder.
      force: go on with another configuration, data set or code than before.

    Raises:
      InputError: a configuration, data set or folder that does not fit.
      RunError: training could not go on.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    started = time.perf_counter()
    mesh = parallel.create_mesh(config.folds_together)
    check_config(config, mesh)
    cell_px = config.stem_stride * 2 ** (len(config.widths) - 1)
    size, patch_px = tuple(config.image_size), config.hidden_patch_px
    masking.check_patches(size, patch_px, config.hidden_share, cell_px)
    train, frames = processes.take_turns(lambda: load_all_frames(config))
    data = load_data(frames)
    # Dealt as a training deals them, whoever else the frames of other splits resemble.
    own = data.groups if train is frames else load_data(train).groups
    dealt_data = data._replace(groups=[*own, *data.groups[len(own) :]])
    labelled = data.examples.labelled
    dealt = labelled if labelled.any() else np.ones_like(labelled)
    splits = processes.share(
        lambda: prepare(
            config,
            workdir,
            dealt_data,
            dealt,
            force=force,
            task=workdirs.PRETRAINING,
            change_split=lambda split: add_unlabelled(split, data),
        )
    )
    folds = []
    for number in config.folds:
        train, val = (
            data.examples.positions(splits[number][part]) for part in ("train", "val")
        )
        directory = workdirs.fold_dir(workdir, number)
        folds.append(Fold(number, directory, train, train, val))
    programs = create_programs(config, mesh, data.examples, make_objective)
    task = make_task(config, data)
    train_all(config, workdir, folds, task, programs, started)
    print(f"pretrained; take these weights with --config.init_from={workdir}")


def add_unlabelled(split: dict[str, list[str]], data: Data) -> dict[str, list[str]]:
    """Train also on frames without a mask, but for those of validation people."""
    examples = data.examples
    group_of = dict(zip(examples.frames, data.groups, strict=True))
    held_out = {group_of[frame] for frame in split["val"]}
    known = {*split["train"], *split["val"]}
    more = [
        frame
        for frame, labelled in zip(examples.frames, examples.labelled, strict=True)
        if not labelled and frame not in known and group_of[frame] not in held_out
    ]
    return {"train": [*split["train"], *more], "val": split["val"]}


def make_objective(config: ConfigDict, apply: Callable, numbers: dict) -> Callable:
    """Return `objective(params, images, masks, keys)`, the error under hidden patches.

    Frames are augmented as for segmentation; masks are not looked at. See
    `segmentation.make_objective` for the arguments.
    """
    augment = make_augment_from(config, numbers)
    patch_px, share = config.hidden_patch_px, config.hidden_share

    def objective(params, images, masks, keys):
        augment_keys, hide_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        images, _ = augment(images, masks, augment_keys)
        size = images.shape[1:3]
        visible = masking.draw_visible(hide_keys, size, patch_px, share)
        guesses = guess(apply, params, images, visible)
        return masking.compute_squared_error(guesses, images, visible, patch_px)

    return objective


def guess(apply: Callable, params: Params, images, visible):
    """What the net takes hidden pixels for; its head begins at 0 here, not at 5 %."""
    return apply(params, images, visible=visible).logits - INITIAL_LOGIT


def make_task(config: ConfigDict, data: Data) -> Task:
    """Pretraining as `run_folds` trains it; the score of a fold is "explained".

    That is the share of the variance within hidden patches that is guessed right, at
    most 1; guessing the mean of each patch gives 0.
    """
    examples = data.examples
    measure = _make_measure(config)

    def score(fold: Fold, step: int, params: Params) -> dict[str, float]:
        del step
        return {"explained": measure(params, examples, fold.val)}

    return Task(
        "explained",
        transfer.make_begin(config, examples, data.groups),
        score,
        lambda fold, params: lambda: None,
    )


def _make_measure(
    config: ConfigDict,
) -> Callable[[Params, Examples, np.ndarray], float]:
    """Return `measure(params, examples, positions)`: the share explained."""
    apply, _ = create_model_from(config)
    mesh = parallel.create_local_mesh()
    here, by_frame = parallel.replicated(mesh), parallel.split_frames(mesh)
    patch_px, share = config.hidden_patch_px, config.hidden_share
    frames_at_a_time = config.batch_size // config.accumulate_steps
    batch_size = -(-frames_at_a_time // mesh.size) * mesh.size

    def compute_errors(params, images, numbers):
        images = images.astype(jnp.float32)[..., None] / 255.0
        # Each frame is always hidden alike, so that scores of two steps can be compared.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), numbers)
        visible = masking.draw_visible(keys, images.shape[1:3], patch_px, share)
        guesses = guess(apply, params, images, visible)
        nothing = masking.compute_squared_error(0 * guesses, images, visible, patch_px)
        error = masking.compute_squared_error(guesses, images, visible, patch_px)
        return jnp.stack([error, nothing], axis=-1)

    compiled = jax.jit(
        compute_errors,
        in_shardings=(here, by_frame, by_frame),
        out_shardings=by_frame,
    )

    def measure(params, examples, positions) -> float:
        if jax.process_count() > 1:
            params = parallel.bring_home(params, here)

        def measure_part(rows: np.ndarray) -> np.ndarray:
            chosen, errors = positions[rows], []
            for places, real in padded_batches(len(chosen), batch_size):
                images = np.asarray(examples.images[chosen[places]])
                numbers = chosen[places].astype(np.uint32)
                errors.append(np.asarray(compiled(params, images, numbers))[real])
            return np.concatenate([np.zeros((0, 2), np.float32), *errors])

        error, nothing = processes.share_out(measure_part, len(positions)).sum(0)
        return float(1 - error / nothing)

    return measure
