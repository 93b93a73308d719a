"""--mode=pretrain: weights that know ultrasound before they see a mask.

Each fold learns from all frames, labelled or not, of the people that it will not be
scored on; `config.start.workdir` of a training then names the folder.
"""

import time

import numpy as np
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.folds import Training, check_start, prepare, train_all
from nerve_jax.commands.request import Request
from nerve_jax.data.population import Population, find_people
from nerve_jax.runs import folder
from nerve_jax.system import processes
from nerve_jax.system.console import say
from nerve_jax.system.files import Path
from nerve_jax.training.inpainting import Inpainting, check_patches


def run(request: Request) -> None:
    """Run the command."""
    config = request.config
    setup.prepare_devices(config, config.folds_together, connected=request.connected)
    pretrain(config, request.folder, force=request.force)


def pretrain(config: ConfigDict, workdir: Path, *, force: bool = False) -> None:
    """Train the folds of `config.folds` to guess what is under hidden patches.

    Frames of split "train" and unlabelled ones of other splits are learnt from. Folds are
    those of --mode=train with the same `num_folds`, `split_by` and `seed`; a fold's
    validation people are left out, and how much of their hidden patches it explains is
    its score.

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
    mesh = check_start(config, workdir)
    cell_px = config.model.stem_stride * 2 ** (len(config.model.widths) - 1)
    check_patches(tuple(config.data.image_size), **config.pretrain, cell_px=cell_px)
    train, frames = processes.take_turns(
        lambda: setup.load_frames_of_all_splits(config)
    )
    population = find_people(frames)
    # Dealt as a training deals them, whoever else the frames of other splits resemble.
    own = population.groups if train is frames else find_people(train).groups
    as_trained = population._replace(groups=[*own, *population.groups[len(own) :]])
    task = create_inpainting(config, population)
    engine = setup.create_engine(
        config, mesh, task.loss, setup.create_feed_of(config, mesh, frames)
    )
    training = Training(config, workdir, as_trained, task, engine, started)
    labelled = frames.labelled
    folds = prepare(
        training,
        labelled if labelled.any() else np.ones_like(labelled),
        force=force,
        task=folder.PRETRAINING,
        change_split=lambda split: add_unlabelled(split, population, config.split_by),
    )
    train_all(training, folds)
    say(f"pretrained; take these weights with --config.start.workdir={workdir}")


def create_inpainting(config: ConfigDict, population: Population) -> Inpainting:
    """The task of --mode=pretrain."""
    apply, _ = setup.create_model_of(config)
    return Inpainting(
        apply,
        population.examples,
        config.to_dict(),
        **config.pretrain,
        batch_size=config.batch_size // config.accumulate_steps,
        begin=setup.create_begin(config, population),
    )


def add_unlabelled(
    split: dict[str, list[str]], population: Population, split_by: str
) -> dict[str, list[str]]:
    """Train also on frames without a mask, but for those of validation people.

    Args:
      split: the frames of a fold.
      population: of the data set.
      split_by: "subject"; "scanner" leaves out frames of the validation scanners too, and
        those of an unknown one.
    """
    examples = population.examples
    apart = [population.groups]
    if split_by == "scanner":
        apart.append(examples.scanners)
    val, known = set(split["val"]), {*split["train"], *split["val"]}
    more = ~examples.labelled & [frame not in known for frame in examples.frames]
    for names in apart:
        pairs = zip(examples.frames, names, strict=True)
        held_out = {"", *(name for frame, name in pairs if frame in val)}
        more &= [name not in held_out for name in names]
    more = [examples.frames[i] for i in np.flatnonzero(more)]
    return {"train": [*split["train"], *more], "val": split["val"]}
