"""Arithmetic of a traced program: that of its convolutions and matrix products."""

import math

import jax
from jax.extend import core


def count_flops(jaxpr: core.Jaxpr) -> int:
    """Multiplications and additions of all convolutions and matrix products.

    Loops count as often as they run; of branches the costliest. What else is computed is
    left out: it waits for memory, not for arithmetic.

    Args:
      jaxpr: of `jax.jit(f).trace(…).jaxpr`; shapes in a `shard_map` are those of one device.
    """
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracting, _), _ = params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            depth = math.prod(left[axis] for axis in contracting)
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = kernel[params["dimension_numbers"].rhs_spec[0]]
            depth = math.prod(kernel) // features
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        elif name == "cond":
            total += max(count_flops(_open(branch)) for branch in params["branches"])
        else:
            times = params.get("length", 1) if name == "scan" else 1
            total += times * sum(map(count_flops, _find_inner(params)))
    return total


def _find_inner(params: dict) -> list[core.Jaxpr]:
    """Programs among the parameters of an equation."""
    kinds = (core.Jaxpr, core.ClosedJaxpr)
    return [
        _open(x)
        for x in jax.tree.leaves(params, is_leaf=_is_jaxpr)
        if isinstance(x, kinds)
    ]


def _is_jaxpr(x) -> bool:
    return isinstance(x, (core.Jaxpr, core.ClosedJaxpr))


def _open(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> core.Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr
