"""Ranges of configuration fields, as `config.tuning.space` writes them.

space.optimizer.learning_rate = ("log", 5e-4, 1e-2)   evenly in its logarithm
space.optimizer.weight_decay = ("linear", 0.0, 0.2)   evenly
space.model.blocks_per_level = ("int", 1, 3)          whole numbers, ends included
space.loss.name = ("choice", "bce_dice", "focal_tversky")
"""

from ml_collections import ConfigDict
from optuna.trial import BaseTrial

from nerve_jax.runs.differences import flatten, is_among
from nerve_jax.runs.fields import find_problem
from nerve_jax.runs.fields import suggest as suggest_name
from nerve_jax.system.errors import raise_if_any

# Trials share frames, folds, devices and the steps at which they are held against each
# other: these fields are the same in all of them.
SHARED = (
    *("data.", "seed", "num_folds", "split_by", "folds", "folds_together"),
    *("num_train_steps", "eval_every_steps", "tuning."),
)
KINDS = ("log", "linear", "int", "choice")


def check_space(space: dict, config: ConfigDict) -> None:
    """Check ranges against the configuration whose fields they are of.

    Args:
      space: by dotted name of a field.
      config: of a training.

    Raises:
      InputError: lists all that cannot be tried, such as ends and choices out of the
        range of their field.
    """
    known = flatten(config.to_dict())
    problems = [] if space else ["it names no field"]
    for name, entry in space.items():
        if name not in known:
            problem = f"no such field{suggest_name(name, known)}"
        elif is_among(name, SHARED):
            problem = "all trials share it"
        else:
            problem = _find_problem(name, entry, known[name])
        problems += [f"{name} = {entry}: {problem}"] if problem else []
    raise_if_any(
        problems,
        "config.tuning.space cannot be searched",
        "configs/tune_unet.py shows how.",
    )


def _find_problem(name: str, entry, value) -> str:
    """What is wrong with a range of a field that has some value; "" if nothing is."""
    if not isinstance(entry, tuple | list) or len(entry) < 2 or entry[0] not in KINDS:
        return f"not (kind, low, high); kinds are {', '.join(KINDS)}"
    kind, *values = entry
    problems = ((end, find_problem(name, end, value)) for end in values)
    wrong = next((f"{end!r} {problem}" for end, problem in problems if problem), "")
    if kind == "choice":
        return wrong
    wanted = int if kind == "int" else float
    if type(value) is not wanted:
        return f"{kind!r} is for {wanted.__name__}, and the field is {value!r}"
    if len(values) != 2 or any(type(x) not in (int, wanted) for x in values):
        return f"low and high must be {wanted.__name__}"
    if not values[0] < values[1]:
        return wrong or "low must be below high"
    if kind == "log" and values[0] <= 0:
        return "its logarithm wants low above 0"
    return wrong


def suggest(trial: BaseTrial, space: dict[str, tuple]) -> dict:
    """The values that a trial tries, by dotted name."""
    return {name: _suggest_one(trial, name, *entry) for name, entry in space.items()}


def _suggest_one(trial: BaseTrial, name: str, kind: str, *values):
    if kind == "choice":  # by name, for a database keeps no tuples
        by_name = {str(value): value for value in values}
        return by_name[trial.suggest_categorical(name, list(by_name))]
    if kind == "int":
        return trial.suggest_int(name, *values)
    return trial.suggest_float(name, *values, log=kind == "log")
