"""From a configuration to what the packages below take: frames, model, task, engine."""

import functools
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from nerve_jax.data.examples import Examples
from nerve_jax.data.outlines import Wanted
from nerve_jax.data.population import Population
from nerve_jax.data.resize import check_image_size
from nerve_jax.model.unet import create_model
from nerve_jax.runs.config import check_values
from nerve_jax.runs.differences import flatten
from nerve_jax.scoring.predictor import (
    average,
    choose_batch_size,
    choose_dtype,
    create_predictor,
    jit_predict_batch,
)
from nerve_jax.system import backend, devices
from nerve_jax.system.errors import InputError
from nerve_jax.training.augment import make_augment
from nerve_jax.training.engine import Engine
from nerve_jax.training.feed import Feed, create_feed
from nerve_jax.training.losses import make_loss
from nerve_jax.training.optimizer import Optimizer, create_optimizer
from nerve_jax.training.scalars import fill_in, read_scalars
from nerve_jax.training.segmentation import Segmentation, make_augmented_loss
from nerve_jax.training.step import make_train_step
from nerve_jax.training.transfer import make_begin


def load_frames(config: ConfigDict, split: str, *, if_there: bool = False) -> Examples:
    """The frames of a split of the configuration's data set, at its training size.

    Args:
      config: of the run.
      split: "train" or "test".
      if_there: see `Wanted`.
    """
    from nerve_jax.data.loading import load_split  # tfds, for those who read records

    labels = _name_labels(config)
    labels["wanted"] = labels["wanted"]._replace(if_there=if_there)
    return load_split(split, **labels, **_name_source(config))


def load_frames_of_all_splits(config: ConfigDict) -> tuple[Examples, Examples]:
    """See `load_all_frames`."""
    from nerve_jax.data.loading import load_all_frames  # as above

    return load_all_frames(**_name_labels(config), **_name_source(config))


def list_splits(config: ConfigDict) -> list[str]:
    """Names of the splits of the configuration's data set, once it is prepared."""
    from nerve_jax.data import records  # as above

    return records.list_splits(records.open_records(**_name_source(config))[0])


def _name_labels(config: ConfigDict) -> dict:
    """How frames are loaded, of whatever data set."""
    return {
        "image_size": tuple(config.data.image_size),
        "wanted": Wanted(tuple(config.data.structures), config.data.reader),
    }


def _name_source(config: ConfigDict) -> dict:
    return {
        "name": config.data.name,
        "records_dir": config.data.records_dir,
        "manual_dir": config.data.manual_dir,
        "frame_stride": config.data.frame_stride,
        "readers": config.data.readers,
        "phantom": config.data.phantom.to_dict(),
    }


def create_model_of(config: ConfigDict, platform: str = ""):
    """The model of a configuration, created once: `create_model`'s (apply, init).

    Args:
      config: of the run.
      platform: of the devices that it is for; "" for those that are here.
    """
    for_tpu = (platform or jax.default_backend()) == "tpu"
    structures = len(config.data.structures)
    return _create_model(tuple(config.model.items()), structures, for_tpu)


@functools.cache
def _create_model(options: tuple, num_structures: int, for_tpu: bool):
    return create_model(**dict(options), num_structures=num_structures, for_tpu=for_tpu)


def create_predictor_of(config: ConfigDict, reduce: Callable = average):
    """The predictor of a run's model, with mirror images if the decision wants them."""
    apply, _ = create_model_of(config)
    return create_predictor(
        apply,
        batch_size=_count_at_a_time(config),
        flips=config.decision.test_flips,
        reduce=reduce,
    )


def _count_at_a_time(config: ConfigDict) -> int:
    return config.batch_size // config.accumulate_steps


def describe_prediction(config: ConfigDict, mesh) -> tuple[Callable, dict]:
    """The program by which `create_predictor_of` predicts frames with one member.

    Args:
      config: of the run.
      mesh: of the devices of one process.

    Returns:
      The program, and the shapes of its parameters.
    """
    apply, init = create_model_of(config, devices.get_platform(mesh))
    params = jax.eval_shape(init, jax.random.key(0))
    dtype = choose_dtype(1 + config.decision.test_flips)
    return jit_predict_batch(apply, mesh, dtype), params


def choose_validation_size(
    config: ConfigDict, mesh, num_frames: int, num_processes: int
) -> int:
    """How many frames of a fold each process predicts at a time while training.

    Args:
      config: of the run.
      mesh: of the devices of one process.
      num_frames: of the data set, folds of equal size.
      num_processes: how many there are.
    """
    of_fold = -(-num_frames // config.num_folds)
    return choose_batch_size(_count_at_a_time(config), of_fold, mesh, num_processes)


def create_loss(config: ConfigDict, platform: str = "") -> Callable:
    """The loss of --mode=train: see `Task.loss`; `platform` as of `create_model_of`."""
    apply, _ = create_model_of(config, platform)
    return make_augmented_loss(apply, config.to_dict())


def create_segmentation(config: ConfigDict, population: Population) -> Segmentation:
    """The task of --mode=train."""
    apply, _ = create_model_of(config)
    return Segmentation(
        apply,
        population.examples,
        config.to_dict(),
        config.decision.threshold,
        create_begin(config, population),
    )


def create_begin(config: ConfigDict, population: Population):
    """Where folds begin: see `make_begin`."""
    return make_begin(population, workdir=config.start.workdir, take=config.start.take)


def create_feed_of(config: ConfigDict, mesh, examples: Examples) -> Feed:
    """The feed of a run: frames on the devices, or streamed."""
    return create_feed(
        examples,
        mesh,
        batch_size=config.batch_size,
        seed=config.seed,
        max_resident_gb=config.data.max_resident_gb,
        num_workers=config.data.num_workers,
    )


def create_engine(config: ConfigDict, mesh, loss: Callable, feed: Feed) -> Engine:
    """The engine of a loss; other runs that differ in scalars alone may share it.

    Args:
      config: of the run.
      mesh: of `devices.create_mesh`.
      loss: see `Task.loss`.
      feed: of `create_feed_of`.
    """
    _, init = create_model_of(config)
    sections = config.to_dict()
    create = _prepare_optimizer(config)

    def init_state(key, scalars):
        return create(**sections["optimizer"]).init(init(key), scalars)

    def update(state, gradient):
        # The optimizer's numbers are arguments of the program: it is built as it is traced.
        own = fill_in(sections, state.scalars)["optimizer"]
        return create(**own).update(state, gradient)

    return Engine(
        init_state,
        make_train_step(
            loss,
            update,
            accumulate_steps=config.accumulate_steps,
            axis_name="batch",
        ),
        feed,
        create_predictor_of(config),
        mesh=mesh,
        scalars=read_scalars(sections),
        steps_per_call=config.steps_per_call,
    )


def _prepare_optimizer(config: ConfigDict) -> Callable[..., Optimizer]:
    """`create_optimizer` but for the fields of the section "optimizer"."""
    return functools.partial(
        create_optimizer,
        num_train_steps=config.num_train_steps,
        encoder_frozen_steps=config.start.encoder_frozen_steps,
        encoder_rate_factor=config.start.encoder_rate_factor,
    )


def prepare_devices(
    config: ConfigDict, folds_together: int = 1, *, connected: bool = False
) -> None:
    """Start the devices, and say what they are; keep compiled programs.

    All cores of a CPU are used, unless connected to other processes.
    """
    if not connected:
        backend.use_cpu_cores(
            config.batch_size, config.accumulate_steps, folds_together
        )
    backend.keep_compiled_programs()
    backend.report()


def check_config(config: ConfigDict, mesh) -> None:
    """Raise `InputError` for what cannot be trained with."""
    check_values(flatten(config.to_dict()), "the configuration cannot be trained with")
    devices.check_batch_size(mesh, config.batch_size, config.accumulate_steps)
    check_image_size(tuple(config.data.image_size))
    if not config.folds:
        raise InputError('folds=(): name at least one, e.g. --config.folds="(0,)"')
    if len(set(config.folds)) < len(config.folds):
        raise InputError(f"folds={config.folds}: a fold is named twice")
    if len(config.folds) % config.folds_together:
        raise InputError(
            f"folds={config.folds} are {len(config.folds)}, which is no multiple of "
            f"folds_together={config.folds_together}"
        )
    _check_sections(config)
    if config.start.encoder_frozen_steps and not config.start.workdir:
        raise InputError(
            f"start.encoder_frozen_steps={config.start.encoder_frozen_steps}: without "
            "start.workdir the encoder would be kept at random weights"
        )


def _check_sections(config: ConfigDict) -> None:
    """Build what sections describe: each function checks its own arguments."""
    create_model_of(config)
    make_loss(**config.loss)
    weights, structures = config.loss.structure_weights, config.data.structures
    if len(weights) not in (1, len(structures)):
        raise InputError(
            f"loss.structure_weights={tuple(weights)}: one for all of "
            f"data.structures={tuple(structures)}, or one for each"
        )
    make_augment(**config.augment)
    _prepare_optimizer(config)(**config.optimizer)


def check_mixing(config: ConfigDict, mesh) -> None:
    """Raise `InputError` where frames cannot be mixed two by two."""
    each = config.batch_size // config.accumulate_steps // mesh.shape["batch"]
    if config.augment.cutmix_prob and each % 2:
        raise InputError(
            f"augment.cutmix_prob={config.augment.cutmix_prob}: frames are mixed two by "
            f"two, and each device takes {each} at a time; choose a batch_size of which "
            "it takes an even number"
        )
