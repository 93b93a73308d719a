"""Every fast form equals the plain definition, in values and in gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nerve_jax.model import ops, winograd


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def assert_same(fast, plain, *arguments):
    weights = normal(9, *fast(*arguments).shape)
    for function in (
        lambda f: f,
        lambda f: jax.grad(
            lambda *a: (f(*a) * weights).sum(), argnums=tuple(range(len(arguments)))
        ),
    ):
        for ours, theirs in zip(
            jax.tree.leaves(function(fast)(*arguments)),
            jax.tree.leaves(function(plain)(*arguments)),
            strict=True,
        ):
            size = max(1, float(np.std(theirs)))
            np.testing.assert_allclose(ours, theirs, atol=2e-4 * size, rtol=2e-4)


def plain_conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(
    ("shape", "features"),
    [((1, 4, 4, 3), 2), ((2, 8, 20, 5), 7), ((3, 16, 8, 96), 64)],
)
def test_winograd(shape, features):
    kernel = normal(1, 3, 3, shape[-1], features) / (3 * shape[-1] ** 0.5)
    assert_same(winograd.conv_3x3, plain_conv, normal(0, *shape), kernel)


def test_winograd_keeps_the_dtype_and_computes_in_float32():
    x = normal(0, 1, 8, 8, 64).astype(jnp.bfloat16)
    kernel = (normal(1, 3, 3, 64, 64) / 24).astype(jnp.bfloat16)
    y, pull = jax.vjp(winograd.conv_3x3, x, kernel)
    assert [a.dtype for a in (y, *pull(y))] == [jnp.bfloat16] * 3
    exact = plain_conv(x.astype(jnp.float32), kernel.astype(jnp.float32))
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=2**-8, rtol=2**-8)


@pytest.mark.parametrize(
    ("shape", "size", "features", "fast"),
    [
        ((3, 12, 16, 64), 3, 64, True),
        ((3, 12, 16, 64), 3, 32, False),
        ((3, 12, 16, 16), 3, 64, False),
        ((3, 12, 18, 64), 3, 64, False),
        ((2, 12, 16, 64), 3, 64, False),
        ((3, 12, 16, 64), 1, 64, False),
    ],
)
def test_wide_convolutions_take_the_fast_form(shape, size, features, fast):
    x = normal(0, *shape)
    kernel = normal(1, size, size, shape[-1], features) / (size * shape[-1] ** 0.5)
    text = jax.jit(ops.conv).lower(x, kernel).as_text()
    assert ("convolution" not in text) == fast
    assert_same(ops.conv, plain_conv, x, kernel)


def test_one_channel_times_weights_is_a_convolution_that_nothing_need_keep():
    x, kernel = normal(0, 2, 6, 8, 1), normal(1, 1, 1, 1, 5)
    assert_same(ops.conv, plain_conv, x, kernel)
    assert "convolution" not in jax.jit(ops.conv).lower(x, kernel).as_text()


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("stride", "parts"), [(2, 1), (2, 2), (3, 1)])
def test_a_folded_kernel_convolves_cells(size, stride, parts):
    x, y = (normal(seed, 2, 6, 12, 3) for seed in (0, 1))
    blocks = [x, y][:parts]
    kernel = normal(2, size, size, 3 * parts, 4)

    def in_cells(kernel, *blocks):
        cells = [ops.space_to_depth(block, stride) for block in blocks]
        found = ops.conv(jnp.concatenate(cells, axis=-1), kernel, parts)
        return ops.depth_to_space(found, stride)

    def in_pixels(kernel, *blocks):
        return plain_conv(jnp.concatenate(blocks, axis=-1), kernel)

    assert_same(in_cells, in_pixels, kernel, *blocks)


def test_the_maximum_of_cells():
    x = normal(0, 2, 6, 8, 3)
    assert_same(
        lambda x: ops.max_of_cells(ops.space_to_depth(x, 2)), ops.max_pool_2x2, x
    )


def test_max_pool():
    assert_same(
        ops.max_pool_2x2,
        lambda x: nnx.max_pool(x, (2, 2), strides=(2, 2)),
        normal(0, 2, 6, 8, 3),
    )


def test_upsample():
    def plain(x, kernel, bias):
        # lax correlates with the kernel: it is turned round first
        y = jax.lax.conv_transpose(
            x,
            kernel[::-1, ::-1],
            (2, 2),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + bias.reshape(1, 1, 1, -1)

    x, kernel, bias = normal(0, 2, 3, 5, 4), normal(1, 2, 2, 4, 3), normal(2, 3)
    assert_same(ops.upsample_2x2, plain, x, kernel, bias)


@pytest.mark.parametrize("num_groups", [1, 2, 6])
def test_group_norm(num_groups):
    def plain(x, scale, bias):
        grouped = x.reshape(*x.shape[:-1], num_groups, -1)
        mean = grouped.mean((1, 2, 4), keepdims=True)
        variance = grouped.var((1, 2, 4), keepdims=True)
        normed = ((grouped - mean) / jnp.sqrt(variance + 1e-5)).reshape(x.shape)
        return normed * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)

    x = normal(0, 2, 5, 7, 6) * 3 + 1
    assert_same(
        lambda *a: ops.group_norm(*a, num_groups), plain, x, normal(1, 6), normal(2, 6)
    )


def test_group_norm_keeps_the_dtype_and_takes_statistics_in_float32():
    x = (normal(0, 1, 16, 16, 4) + 100).astype(jnp.bfloat16)
    normed = ops.group_norm(x, jnp.ones(4), jnp.zeros(4), 2)
    assert normed.dtype == jnp.bfloat16
    assert abs(normed.astype(jnp.float32).mean()) < 0.02
    assert abs(normed.astype(jnp.float32).std() - 1) < 0.02


def test_space_and_depth_undo_each_other():
    x = normal(0, 2, 6, 9, 4)
    folded = ops.space_to_depth(x, 3)
    assert folded.shape == (2, 2, 3, 36)
    np.testing.assert_array_equal(folded[0, 1, 2, :4], x[0, 3, 6])
    np.testing.assert_array_equal(folded[0, 1, 2, 4:8], x[0, 3, 7])
    np.testing.assert_array_equal(ops.depth_to_space(folded, 3), x)


def test_repeated_pixels_are_equal():
    x = normal(0, 1, 2, 3, 2)
    np.testing.assert_array_equal(
        ops.repeat_pixels(x, 4), np.kron(x, np.ones((1, 4, 4, 1)))
    )


def test_the_maximum_of_a_frame():
    assert_same(ops.max_of_frame, lambda x: x.max((1, 2)), normal(0, 3, 5, 7, 4))
    # Where several have it, one takes the gradient, and the whole of it.
    gradient = jax.grad(lambda x: ops.max_of_frame(x).sum())(jnp.zeros((2, 3, 4, 5)))
    np.testing.assert_array_equal(gradient.sum((1, 2)), 1)
