"""Numbers of a configuration that the compiled step takes as arguments, not constants.

They travel in `TrainState.scalars`, so runs that differ in these alone share one compiled
program: tuning compiles once. Every float of the sections below is such a number. One
that is 0 stays a constant, so that what it scales is left out of the program.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, Float

from nerve_jax.runs.differences import flatten

Scalar = float | Float[Array, ""]
SECTIONS = ("loss", "optimizer", "augment")
PREFIXES = tuple(f"{section}." for section in SECTIONS)
Sections = Mapping[str, Any]  # a configuration, its sections as mappings


def is_on(x: Scalar) -> bool:
    """Whether a strength may be other than 0; an argument of a program may."""
    return isinstance(x, jax.Array) or x != 0


def read_scalars(sections: Sections) -> dict[str, float]:
    """The floats of `SECTIONS` that are not 0, by dotted name: "loss.coarse_weight"."""
    return {
        f"{section}.{name}": value
        for section in SECTIONS
        for name, value in sections[section].items()
        if isinstance(value, float) and value != 0
    }


def fill_in(sections: Sections, scalars: Mapping[str, Scalar]) -> dict[str, dict]:
    """`SECTIONS` with the scalars in place of their values; the rest as it is."""
    return {
        section: {
            name: scalars.get(f"{section}.{name}", value)
            for name, value in sections[section].items()
        }
        for section in SECTIONS
    }


def describe_program(config: Mapping) -> str:
    """What the programs of a run depend on: equal texts where two runs can share them."""
    fields = {
        name: value
        for name, value in flatten(config).items()
        if not (isinstance(value, float) and name.startswith(PREFIXES))
    }
    return repr((sorted(read_scalars(config)), sorted(fields.items())))
