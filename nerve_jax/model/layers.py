"""Layers of the U-Net as Flax NNX modules, and what is done to frames on the way in.

Parameters are float32; convolutions compute in the dtype that they are given.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from nerve_jax.model import ops
from nerve_jax.system.errors import InputError


class GroupNorm(nnx.Module):
    """Group norm with a learned scale and bias per channel."""

    def __init__(self, channels: int, num_groups: int):
        self.num_groups = min(num_groups, channels)
        if channels % self.num_groups:
            raise InputError(
                f"a width of {channels} does not divide into {num_groups} groups: "
                "change --config.model.widths or --config.model.num_groups"
            )
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: Float[Array, "batch height width channels"]):
        return ops.group_norm(x, self.scale[...], self.bias[...], self.num_groups)


class Upsample(nnx.Module):
    """A 2x2 transposed convolution of stride 2."""

    def __init__(self, channels: int, features: int, dtype, rngs: nnx.Rngs):
        initial = nnx.initializers.he_normal(in_axis=2, out_axis=3)
        shape = (2, 2, channels, features)
        self.kernel = nnx.Param(initial(rngs.params(), shape, jnp.float32) * 2.0)
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))
        self.dtype = dtype

    def __call__(
        self, x: Float[Array, "batch height width channels"], to_cells: bool = False
    ):
        kernel, bias = self.kernel[...], self.bias[...]
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        return ops.upsample_2x2(x, kernel, bias, to_cells)


class Conv(nnx.Module):
    """A convolution of stride 1 without bias, zeros around the frame."""

    def __init__(
        self,
        channels: int,
        features: int,
        size: int,
        *,
        for_tpu: bool,
        dtype,
        rngs: nnx.Rngs,
    ):
        initial = nnx.initializers.he_normal()
        shape = (size, size, channels, features)
        self.kernel = nnx.Param(initial(rngs.params(), shape, jnp.float32))
        self.dtype, self.for_tpu = dtype, for_tpu

    def __call__(self, x: Float[Array, "batch height width channels"], parts: int = 1):
        kernel = self.kernel[...].astype(self.dtype)
        return ops.conv(x, kernel, parts, for_tpu=self.for_tpu)


class ConvBlock(nnx.Module):
    """Two 3x3 convolutions, each with group norm and ReLU; with a shortcut or not.

    Pixels or cells go in, and come out; `parts` as of `ops.conv`.
    """

    def __init__(
        self, channels, features, *, residual, num_groups, for_tpu, dtype, rngs
    ):
        def conv(inputs, size):
            options = {"for_tpu": for_tpu, "dtype": dtype, "rngs": rngs}
            return Conv(inputs, features, size, **options)

        self.conv_a, self.conv_b = conv(channels, 3), conv(features, 3)
        self.norm_a = GroupNorm(features, num_groups)
        self.norm_b = GroupNorm(features, num_groups)
        self.residual = residual
        if residual and channels != features:
            self.shortcut = conv(channels, 1)
            self.norm_shortcut = GroupNorm(features, num_groups)

    def __call__(self, x: Float[Array, "batch height width channels"], parts: int = 1):
        y = nnx.relu(self.norm_a(self.conv_a(x, parts)))
        y = self.norm_b(self.conv_b(y))
        if self.residual:
            same = x.shape == y.shape
            y = y + (x if same else self.norm_shortcut(self.shortcut(x, parts)))
        return nnx.relu(y)


def compute_logits(head: nnx.Linear, x: Float[Array, "batch height width channels"]):
    """Logits of each pixel by itself, float32; of cells too, always given by pixels."""
    x = x.astype(jnp.float32)
    cell = x.shape[-1] // head.in_features
    if cell == 1:
        return head(x)
    columns = jnp.kron(jnp.eye(cell, dtype=jnp.float32), head.kernel[...])
    logits = x @ columns + jnp.tile(head.bias[...], cell).reshape(1, 1, 1, -1)
    return ops.depth_to_space(logits, math.isqrt(cell))


def standardise(
    images: Float[Array, "batch height width 1"],
) -> Float[Array, "batch height width 1"]:
    """Bring every frame to zero mean and unit deviation; a flat frame becomes 0."""
    mean = images.mean((1, 2, 3), keepdims=True)
    deviation = jnp.sqrt(jnp.square(images - mean).mean((1, 2, 3), keepdims=True))
    return (images - mean) / (deviation + 1e-3)


def drop_out(x: Float[Array, "batch height width channels"], rate: float, keys):
    """Set a share of features to 0 and scale up the rest; a key for each frame."""
    if not rate:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0)


def pad_to(x: Float[Array, "batch height width channels"], sizes: Sequence[int]):
    """Repeat the edges evenly up to `sizes`; return that and the (top, left) added."""
    missing = [new - old for new, old in zip(sizes, x.shape[1:3], strict=True)]
    before = [m // 2 for m in missing]
    if not any(missing):
        return x, before
    pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="edge"), before
