import functools

import jax
import jax.numpy as jnp
import pytest

from nerve_jax.model import ops
from nerve_jax.system.flops import count_flops


def count(function, *shapes):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return count_flops(jax.jit(function).trace(*arrays).jaxpr.jaxpr)


def loop(x, w):
    return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=5)[0]


PRODUCT = 2 * 8 * 16 * 16
CONVOLUTION = 2 * 2 * 10 * 12 * 9 * 3 * 5


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (jnp.matmul, [(8, 16), (16, 16)], PRODUCT),
        (loop, [(8, 16), (16, 16)], 5 * PRODUCT),
        (jax.jit(loop), [(8, 16), (16, 16)], 5 * PRODUCT),
        (jnp.add, [(8, 16), (8, 16)], 0),
        (ops.conv, [(2, 10, 12, 3), (3, 3, 3, 5)], CONVOLUTION),
        (
            jax.grad(lambda x, w: ops.conv(x, w).sum(), argnums=(0, 1)),
            [(2, 10, 12, 3), (3, 3, 3, 5)],
            None,
        ),
    ],
)
def test_products_and_convolutions_are_counted(function, shapes, expected):
    found = count(function, *shapes)
    if expected is None:  # once more for each gradient, edges and all
        assert 2 * CONVOLUTION <= found <= 3.2 * CONVOLUTION
    else:
        assert found == expected


def test_of_branches_the_costliest_counts():
    """Winograd's form, on a CPU, does not make the net smaller."""
    shape = (8, 16, 16, 64)
    plain = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    kernel = (3, 3, 64, 64)
    assert count(ops.conv, shape, kernel) == count(plain, shape, kernel)
