"""The U-Net (Ronneberger et al. 2015, arXiv:1505.04597) as a Flax NNX module.

`create_model` gives a pure function and a flat dictionary of parameters by name, e.g.
"encoder/0/0/conv_a/kernel"; nothing else of NNX is seen outside this file.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from nerve_jax.model import ops
from nerve_jax.model.layers import (
    ConvBlock,
    Upsample,
    compute_logits,
    drop_out,
    pad_to,
    standardise,
)
from nerve_jax.system.errors import InputError

Params = dict[str, jax.Array]
COMPUTE_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ENCODER, HEADS = "encoder/", ("head/", "coarse_heads/", "presence/")  # names begin so
INITIAL_LOGIT = -3.0  # most pixels are not nerve: start from 5 %


class Outputs(NamedTuple):
    """What the model says of a batch, all float32.

    Attributes:
      logits: of each structure against what is not, for it alone: structures may
        overlap. [batch height width structures], the size of the input.
      presence_logits: of each structure anywhere in the frame, [batch structures]; None
        without the head.
      coarse_logits: of coarser decoder levels for deep supervision, coarsest first, each
        repeated to [batch height width structures]; () without.
    """

    logits: Float[Array, "batch height width structures"]
    presence_logits: Float[Array, "batch structures"] | None
    coarse_logits: tuple[Float[Array, "batch height width structures"], ...]


BLOCKS = {"classic": False, "residual": True}  # name -> with a shortcut


class UNet(nnx.Module):
    """Encoder, decoder and the skips between them, for frames of any size."""

    def __init__(
        self,
        *,
        num_structures: int,
        widths: tuple[int, ...],
        blocks_per_level: int,
        residual: bool,
        num_groups: int,
        dropout_rate: float,
        deep_supervision: bool,
        presence_head: bool,
        stem_stride: int,
        for_tpu: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        def level(channels, features):
            inputs = [channels] + [features] * (blocks_per_level - 1)
            options = {"residual": residual, "num_groups": num_groups}
            options |= {"for_tpu": for_tpu}
            return nnx.List(
                ConvBlock(c, features, **options, dtype=dtype, rngs=rngs)
                for c in inputs
            )

        def head(channels, pixels=1):
            features = pixels * num_structures
            return nnx.Linear(channels, features, rngs=rngs, bias_init=_initial_logit)

        upwards = list(itertools.pairwise(widths))[::-1]
        inputs = (stem_stride**2, *widths[:-1])
        self.encoder = nnx.List(map(level, inputs, widths))
        self.upsample = nnx.List(Upsample(b, a, dtype, rngs) for a, b in upwards)
        self.decoder = nnx.List(level(2 * a, a) for a, _ in upwards)
        self.head = head(widths[0], stem_stride**2)
        self.coarse_heads = nnx.List()
        if deep_supervision:
            self.coarse_heads.extend(head(w) for w in widths[-2:0:-1])
        self.dropout_rate = dropout_rate
        self.presence = (
            nnx.Linear(2 * widths[-1], num_structures, rngs=rngs)
            if presence_head
            else None
        )
        self.dtype, self.stem_stride = dtype, stem_stride
        # Pixels of a cell, downwards and across, of each level; the deepest has pixels.
        fits = [for_tpu and 4 * width <= ops.LANES for width in widths[:-1]]
        self.cells = (*(2 if fit else 1 for fit in fits), 1)
        self.multiple = stem_stride * 2 ** (len(widths) - 1)

    def __call__(
        self,
        images: Float[Array, "batch height width 1"],
        dropout_keys=None,
        visible: Float[Array, "batch height width 1"] | None = None,
    ) -> Outputs:
        """Segment frames of grey values in [0, 1]; a key for each turns dropout on.

        Where `visible` is 0, features are 0 at every level of the encoder; it must be the
        same all over each of the coarsest cells. Frames are standardised by all pixels.
        """
        height, width = images.shape[1:3]
        padded = [size + -size % self.multiple for size in (height, width)]
        x, (top, left) = pad_to(standardise(images), padded)
        if visible is not None:
            shown = pad_to(visible, padded)[0].astype(self.dtype)
            x = x * shown
            shown = shown[:, :: self.stem_stride, :: self.stem_stride]
        x = ops.space_to_depth(x, self.stem_stride).astype(self.dtype)
        skips = []
        for number, (blocks, cells) in enumerate(
            zip(self.encoder, self.cells, strict=True)
        ):
            if number:
                in_cells = self.cells[number - 1] > 1
                x = ops.max_of_cells(x) if in_cells else ops.max_pool_2x2(x)
            x = ops.space_to_depth(x, cells)
            for block in blocks:
                x = block(x)
                if visible is not None:
                    stride = cells * 2**number
                    x = x * shown[:, ::stride, ::stride]
            skips.append(x)
        if dropout_keys is not None:
            x = drop_out(x, self.dropout_rate, dropout_keys)
        deepest, coarse = x, []
        for number, (upsample, blocks) in enumerate(
            zip(self.upsample, self.decoder, strict=True)
        ):
            below, cells = self.cells[-1 - number], self.cells[-2 - number]
            x = upsample(ops.depth_to_space(x, below), cells > 1)
            x = jnp.concatenate([x, skips[-2 - number]], axis=-1)
            for place, block in enumerate(blocks):
                x = block(x, parts=1 if place else 2)
            if number < len(self.coarse_heads):
                coarse.append(compute_logits(self.coarse_heads[number], x))

        def crop(y):
            return y[:, top : top + height, left : left + width]

        logits = ops.depth_to_space(compute_logits(self.head, x), self.stem_stride)
        return Outputs(
            crop(logits),
            self._presence_logits(deepest),
            tuple(crop(ops.repeat_pixels(c, padded[0] // c.shape[1])) for c in coarse),
        )

    def _presence_logits(self, x) -> Float[Array, "batch structures"] | None:
        if self.presence is None:
            return None
        x = x.astype(jnp.float32)
        pooled = jnp.concatenate([x.mean((1, 2)), ops.max_of_frame(x)], axis=-1)
        return self.presence(pooled)


def create_model(
    *,
    widths: tuple[int, ...],
    num_structures: int = 1,
    blocks_per_level: int = 1,
    block: str = "classic",
    num_groups: int = 8,
    dropout_rate: float = 0.0,
    deep_supervision: bool = False,
    presence_head: bool = True,
    stem_stride: int = 1,
    compute_dtype: str = "float32",
    for_tpu: bool = False,
) -> tuple[Callable[..., Outputs], Callable[[jax.Array], Params]]:
    """Create a U-Net as two pure functions.

    Args:
      widths: channels of each level, finest first; at least one.
      num_structures: how many structures are outlined, at least 1.
      blocks_per_level: blocks (of two convolutions) in each level, at least 1.
      block: "classic" or "residual".
      num_groups: groups of every group norm, at most one a channel.
      dropout_rate: share of deepest features dropped while training, in [0, 1).
      deep_supervision: give logits at coarser decoder levels too.
      presence_head: give a logit for "the structure is in the frame".
      stem_stride: 2 folds every 2x2 pixels into channels first and unfolds logits last,
        so that the costly finest level is left out; 1 does not.
      compute_dtype: "float32" or "bfloat16"; parameters are float32 either way.
      for_tpu: hold narrow levels in cells, and convolve few frames, as suits a TPU (see
        `ops`). What is computed stays the same, but for rounding.

    Returns:
      `apply(params, images, dropout_keys=None, visible=None) -> Outputs` and `init(key)
      -> params`; dropout is on where each frame is given a key, and where `visible`
      [batch height width 1] is 0 rather than 1, the encoder sees nothing but
      how bright the frame is as a whole.

    Raises:
      InputError: a block or dtype of another name, widths that do not fit num_groups.
    """
    if block not in BLOCKS:
        raise InputError(f"block={block!r} is not one of: {', '.join(BLOCKS)}")
    if compute_dtype not in COMPUTE_DTYPES:
        names = ", ".join(COMPUTE_DTYPES)
        raise InputError(f"compute_dtype={compute_dtype!r} is not one of: {names}")
    counts = (blocks_per_level, num_groups, stem_stride, num_structures)
    if not widths or min(*widths, *counts) < 1:
        raise InputError(
            f"widths={tuple(widths)}, blocks_per_level={blocks_per_level}, num_groups="
            f"{num_groups}, stem_stride={stem_stride}, num_structures={num_structures}: "
            "one level at least, and no number below 1"
        )

    if not 0 <= dropout_rate < 1:
        raise InputError(f"dropout_rate={dropout_rate} is not in [0, 1)")

    def build(key):
        return nnx.split(
            UNet(
                num_structures=num_structures,
                widths=tuple(widths),
                blocks_per_level=blocks_per_level,
                residual=BLOCKS[block],
                num_groups=num_groups,
                dropout_rate=dropout_rate,
                deep_supervision=deep_supervision,
                presence_head=presence_head,
                stem_stride=stem_stride,
                for_tpu=for_tpu,
                dtype=COMPUTE_DTYPES[compute_dtype],
                rngs=nnx.Rngs(params=key),
            )
        )

    graphdef, abstract = nnx.eval_shape(build, jax.random.key(0))
    names = {"/".join(map(str, path)): path for path, _ in nnx.to_flat_state(abstract)}

    def init(key) -> Params:
        # XLA's own generator compiles three times as fast as JAX's Threefry.
        bits = jax.random.bits(key, (4,), jnp.uint32)
        fast_key = jax.random.wrap_key_data(bits, impl="rbg")
        flat = dict(nnx.to_flat_state(build(fast_key)[1]))
        return {name: flat[path][...] for name, path in names.items()}

    def apply(params: Params, images, dropout_keys=None, visible=None) -> Outputs:
        state = [(path, nnx.Param(params[name])) for name, path in names.items()]
        model = nnx.merge(graphdef, nnx.from_flat_state(state))
        return model(images, dropout_keys, visible)

    return apply, jax.jit(init)


def _initial_logit(key, shape, dtype=jnp.float32, out_sharding=None):
    del key, out_sharding
    return jnp.full(shape, INITIAL_LOGIT, dtype)
