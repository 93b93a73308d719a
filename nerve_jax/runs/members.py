"""The trained weights of a run's finished folds."""

from collections.abc import Callable

import jax

from nerve_jax.model.unet import create_model
from nerve_jax.runs import checkpoints, folder
from nerve_jax.runs.config import load_config
from nerve_jax.system import devices
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path


def load_members(workdir: Path) -> dict[int, dict[str, jax.Array]]:
    """Load the last averaged parameters of every finished fold, by fold.

    Raises:
      InputError: no fold is finished there.
    """
    init = _load_init(workdir)
    folder.check_segments(workdir)
    same = devices.replicated(devices.create_local_mesh())
    folds = folder.finished_folds(workdir)
    if not folds:
        raise InputError(
            f"{workdir}: no fold is trained to its end there; run --mode=train first"
        )
    return {fold: _load(workdir, fold, init, same) for fold in folds}


def load_member(workdir: Path, fold: int, sharding) -> dict[str, jax.Array]:
    """Load the last averaged parameters of one fold, laid on devices as `sharding` says."""
    return _load(workdir, fold, _load_init(workdir), sharding)


def _load_init(workdir: Path) -> Callable:
    """`init` of a run's model, which says the shapes of its parameters."""
    config = load_config(workdir)
    num_structures = len(config.data.structures)
    return create_model(**config.model, num_structures=num_structures)[1]


def _load(workdir: Path, fold: int, init: Callable, sharding) -> dict[str, jax.Array]:
    shapes = jax.eval_shape(init, jax.random.key(0))
    return checkpoints.load_average(
        folder.fold_dir(workdir, fold) / "checkpoints",
        jax.tree.map(lambda x: x.update(sharding=sharding), shapes),
    )
