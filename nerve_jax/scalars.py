"""Numbers of a configuration that the compiled step takes as arguments, not constants.

Runs that differ in these alone share one program: tuning compiles once. A number at 0
stays a constant, so that what it scales is left out of the program.
"""

import jax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

Scalar = float | Float[Array, ""]

# Of `make_augment`: all its strengths, by the names of its arguments.
STRENGTHS = (
    *("flip_prob", "rotation_degrees", "scale_fraction", "shift_fraction"),
    *("elastic_fraction", "gain_fraction", "gamma_fraction", "contrast_fraction"),
    *("speckle_fraction", "shadow_prob", "shadow_strength", "attenuation_fraction"),
)
SCALARS = (
    *("learning_rate", "weight_decay", "clip_norm", "ema_decay"),
    *("presence_weight", "coarse_weight", "cutmix_prob"),
    *(f"augment.{name}" for name in STRENGTHS),
)


def is_on(x: Scalar) -> bool:
    """Whether a strength may be other than 0; an argument of a program may."""
    return isinstance(x, jax.Array) or x != 0


def read_scalars(config: ConfigDict) -> dict[str, float]:
    """The numbers that are arguments, by dotted name: those that are not 0."""
    fields = {**config, **{f"augment.{k}": v for k, v in config.augment.items()}}
    return {name: float(fields[name]) for name in SCALARS if fields[name] != 0}


def fill_in(values: dict[str, Scalar]) -> dict[str, Scalar]:
    """All numbers by dotted name, those that are no arguments as constants of 0."""
    return {name: values.get(name, 0.0) for name in SCALARS}


def pick_strengths(numbers: dict[str, Scalar]) -> dict[str, Scalar]:
    """Of all numbers the strengths, by the names of `make_augment`'s arguments."""
    return {name: numbers[f"augment.{name}"] for name in STRENGTHS}


def describe_program(config: ConfigDict) -> str:
    """What the programs of a run depend on: equal texts where two runs can share them."""
    on = read_scalars(config)
    fields = {name: v for name, v in config.items() if name not in SCALARS}
    fields["augment"] = {k: v for k, v in config.augment.items() if k not in STRENGTHS}
    return repr((sorted(on), sorted(fields.items(), key=lambda field: field[0])))
