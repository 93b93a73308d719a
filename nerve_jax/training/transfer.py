"""Beginning from the weights of another run: `start.workdir`.

Arrays are matched by name and shape. A fold only takes weights of a fold that has not
seen the people that it will be scored on, and notes in init.json what it took and whom
those weights have seen, so that later scores leave those out too.
"""

from collections.abc import Callable, Sequence

from nerve_jax.data.population import Population
from nerve_jax.model.unet import ENCODER, HEADS, Params
from nerve_jax.runs import folder
from nerve_jax.runs.config import load_config
from nerve_jax.runs.folder import Fold
from nerve_jax.runs.members import load_member
from nerve_jax.runs.seen import load_seen
from nerve_jax.system import processes
from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, open_path, write_json

# What to take, by name: whether an array is.
TAKES: dict[str, Callable[[str], bool]] = {
    "encoder": lambda name: name.startswith(ENCODER),
    "all_but_heads": lambda name: not name.startswith(HEADS),
    "all": lambda name: True,
}


def check_take(take: str) -> None:
    """Raise `InputError` unless there is something to take under that name."""
    if take not in TAKES:
        raise InputError(f"start.take={take!r} is not one of: {', '.join(TAKES)}")


def make_begin(
    population: Population, *, workdir: str, take: str
) -> Callable[[Fold, Params], Params]:
    """Return `begin(fold, params) -> params` as `Task` wants it.

    The returned function writes the fold's init.json.

    Args:
      population: the data set of the run.
      workdir: of the run whose weights are taken; "" for random weights.
      take: a key of `TAKES`.

    Raises:
      InputError: another `take`, or "all" of a run of other structures; or by `begin`,
        where there are no weights to take, where none fits, or where all have seen people
        that the fold is scored on.
    """
    check_take(take)
    if not workdir:
        return _begin_at_random
    source = open_path(workdir, "--config.start.workdir", plain=True)
    if take == "all":
        _check_heads(source, population.examples.structures)

    def begin(fold: Fold, params: Params) -> Params:
        number = processes.share(lambda: choose_fold(source, fold, population))
        given = load_member(source, number, next(iter(params.values())).sharding)
        begun, matched = match(params, given, take)
        if not matched["taken"]:
            raise InputError(
                f"{source}: of its arrays none has the name and shape of one here "
                f"(start.take={take}): {'; '.join(matched['skipped'][:3])}. Use "
                "the widths, block and stem_stride that it was trained with"
            )
        processes.share(lambda: _note(fold, source, number, matched))
        return begun

    return begin


def _check_heads(source: Path, structures: Sequence[str]) -> None:
    """Raise `InputError` unless a run's heads are those of the same structures."""
    theirs = tuple(load_config(source).data.structures)
    if theirs != tuple(structures):
        raise InputError(
            f"start.take=all: heads of {source} outline {', '.join(theirs)}, and "
            f"data.structures names {', '.join(structures)}, so that one would begin as "
            "that of another. Use --config.start.take=all_but_heads, or name the same "
            "structures in the same order"
        )


def _begin_at_random(fold: Fold, params: Params) -> Params:
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
    matched = {
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
    return params | taken, matched


def _show(name: str, array) -> str:
    return f"{name} {list(array.shape)}"


def _say_why(name: str, array, params: Params) -> str:
    """Why an array that was asked for is not taken."""
    if name in params:
        return f" (here {list(params[name].shape)})"
    return " (not there here)"


def choose_fold(source: Path, fold: Fold, population: Population) -> int:
    """The finished fold of a run whose weights may be taken; best that of the same number.

    Raises:
      InputError: none is finished, or all have seen people that `fold` is scored on.
    """
    val = population.examples.choose(fold.val)
    val_groups = [population.groups[i] for i in fold.val]
    finished = folder.finished_folds(source)
    if not finished:
        raise InputError(
            f"start.workdir={source}: no fold is trained to its end there; finish that run, "
            "or name another"
        )
    known = []
    for number in sorted(finished, key=lambda number: (number != fold.number, number)):
        seen = load_seen(source, number, "train").find_known(val, val_groups)
        known = [
            frame for frame, *found in zip(val.frames, *seen, strict=True) if any(found)
        ]
        if not known:
            return number
    raise InputError(
        f"start.workdir={source}: its folds {finished} were all trained on frames or people "
        f"that fold {fold.number} is scored on, such as {', '.join(known[:3])}. Train the "
        "same fold there: same --config.num_folds, --config.split_by and --config.seed, "
        "and this fold among --config.folds"
    )


def _note(fold: Fold, source: Path, number: int, matched: dict[str, list[str]]) -> None:
    """Print what was taken and write init.json."""
    say(f"fold {fold.number} begins with weights of {source}, fold {number}:")
    for kind, arrays in matched.items():
        say(f"  {len(arrays)} {kind}: {', '.join(arrays) or '–'}")
    seen = load_seen(source, number, "train")
    kept = seen.write(fold.directory)
    content = {"source": str(source), "fold": number, **matched, "seen": kept}
    write_json(fold.directory / "init.json", content)
