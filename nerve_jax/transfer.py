"""Beginning from the weights of another run: `config.init_from`.

Arrays are matched by name and shape. A fold only takes weights of a fold that has not
seen the people that it will be scored on, and notes in init.json what it took and whom
those weights have seen, so that later scores leave those out too.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from nerve_jax import processes, workdirs
from nerve_jax.errors import InputError
from nerve_jax.examples import Examples
from nerve_jax.files import Path, open_path, write_json
from nerve_jax.fold_training import Fold
from nerve_jax.inference import load_member
from nerve_jax.models import ENCODER, HEADS, Params
from nerve_jax.seen import load_seen

# What to take, by name: whether an array is.
TAKES: dict[str, Callable[[str], bool]] = {
    "encoder": lambda name: name.startswith(ENCODER),
    "all_but_heads": lambda name: not name.startswith(HEADS),
    "all": lambda name: True,
}


def check_transfer(config: ConfigDict) -> None:
    """Raise `InputError` for fields that do not fit."""
    if config.init_take not in TAKES:
        names = ", ".join(TAKES)
        raise InputError(f"init_take={config.init_take!r} is not one of: {names}")
    if config.encoder_frozen_steps < 0 or config.encoder_rate_factor < 0:
        raise InputError(
            f"encoder_frozen_steps={config.encoder_frozen_steps} and encoder_rate_factor="
            f"{config.encoder_rate_factor} must be at least 0"
        )
    if config.encoder_frozen_steps and not config.init_from:
        raise InputError(
            f"encoder_frozen_steps={config.encoder_frozen_steps}: without init_from the "
            "encoder would be kept at random weights"
        )


def make_begin(
    config: ConfigDict, examples: Examples, groups: list[str]
) -> Callable[[Fold, Params], Params]:
    """Return `begin(fold, params) -> params` as `fold_training.Task` wants it.

    Args:
      config: of the run.
      examples: its data set.
      groups: the person of each frame.

    The returned function writes the fold's init.json.

    Raises:
      InputError: by `begin`, where there are no weights to take, where none fits, or
        where all have seen people that the fold is scored on.
    """
    if not config.init_from:
        return _begin_anew
    source = open_path(config.init_from)

    def begin(fold: Fold, params: Params) -> Params:
        number = processes.share(lambda: choose_fold(source, fold, examples, groups))
        given = load_member(source, number, next(iter(params.values())).sharding)
        begun, told = match(params, given, config.init_take)
        if not told["taken"]:
            raise InputError(
                f"{source}: of its arrays none has the name and shape of one here "
                f"(init_take={config.init_take}): {'; '.join(told['skipped'][:3])}. Use "
                "the widths, block and stem_stride that it was trained with"
            )
        processes.share(lambda: _note(fold, source, number, told))
        return begun

    return begin


def _begin_anew(fold: Fold, params: Params) -> Params:
    """Random weights; what an earlier start of the fold noted is no longer so."""
    processes.share(lambda: (fold.directory / "init.json").unlink(missing_ok=True))
    return params


def match(
    params: Params, given: Params, take: str
) -> tuple[Params, dict[str, list[str]]]:
    """Take arrays of the same name and shape.

    Args:
      params: of the new run.
      given: of the other.
      take: a key of `TAKES`.

    Returns:
      The parameters to begin with, and what became of every array: "taken", "skipped"
      (of the other run) and "new" (of this one, as it was).
    """
    wanted = {name: array for name, array in given.items() if TAKES[take](name)}
    taken = {
        name: array
        for name, array in wanted.items()
        if name in params and params[name].shape == array.shape
    }
    told = {
        "taken": [_show(name, array) for name, array in taken.items()],
        "skipped": [
            _show(name, array)
            + (_say_why(name, array, params) if name in wanted else "")
            for name, array in given.items()
            if name not in taken
        ],
        "new": [
            _show(name, array) for name, array in params.items() if name not in taken
        ],
    }
    return params | taken, told


def _show(name: str, array) -> str:
    return f"{name} {list(array.shape)}"


def _say_why(name: str, array, params: Params) -> str:
    """Why an array that was asked for is not taken."""
    if name in params:
        return f" (here {list(params[name].shape)})"
    return " (not there here)"


def choose_fold(source: Path, fold: Fold, examples: Examples, groups: list[str]) -> int:
    """The finished fold of a run whose weights may be taken; best that of the same number.

    Raises:
      InputError: none is finished, or all have seen people that `fold` is scored on.
    """
    finished = workdirs.finished_folds(source)
    if not finished:
        raise InputError(
            f"init_from={source}: no fold is trained to its end there; finish that run, "
            "or name another"
        )
    known = []
    for number in sorted(finished, key=lambda number: (number != fold.number, number)):
        seen = load_seen(source, number, "train")
        known = [
            examples.frames[i]
            for i in fold.val
            if seen.knows(
                examples.fingerprint,
                examples.digests[i],
                (examples.subjects[i], groups[i]),
            )
        ]
        if not known:
            return number
    raise InputError(
        f"init_from={source}: its folds {finished} were all trained on frames or people "
        f"that fold {fold.number} is scored on, such as {', '.join(known[:3])}. Train the "
        "same fold there: same --config.num_folds and --config.seed, and this fold among "
        "--config.folds"
    )


def _note(fold: Fold, source: Path, number: int, told: dict[str, list[str]]) -> None:
    """Print what was taken and write init.json."""
    print(f"fold {fold.number} begins with weights of {source}, fold {number}:")
    for kind, arrays in told.items():
        print(f"  {len(arrays)} {kind}: {', '.join(arrays) or '–'}")
    seen = load_seen(source, number, "train")
    content = {"source": str(source), "fold": number, **told, "seen": seen.to_json()}
    write_json(fold.directory / "init.json", content)
