"""Layers of a U-Net written so that XLA runs them fast.

Each equals the plain definition, values and gradients: convolution, a 2x2 max pool
without select-and-scatter, the maximum of a frame, a 2x2 transposed convolution as one
matrix product, group norm that reads its input once, and the moves between space and
channels.

A TPU keeps channels in registers of 128 lanes, of which 32 channels fill a quarter. There
a narrow level is held in cells: every 2x2 pixels lie in the channels of one, as
`space_to_depth` puts them. Convolution and group norm see from the shapes of their weights
whether pixels or cells come in.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nerve_jax.model import winograd

# From so many channels in and out and pixels in all frames on, Winograd's form is faster
# on a CPU: below, the passes over frames or over the kernel cost more than they save.
WINOGRAD_CHANNELS = 64
WINOGRAD_PIXELS = 512
LANES, SUBLANES = 128, 8  # of a TPU's registers and tiles of memory


def conv(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "size size own_channels own_features"],
    parts: int = 1,
    for_tpu: bool = False,
) -> Float[Array, "batch height width features"]:
    """Convolve with an odd kernel, zeros around the frame; one dtype throughout.

    Args:
      x: of pixels or of cells, which give cells.
      kernel: between pixels.
      parts: arrays of cells, equally wide, that were concatenated to `x`.
      for_tpu: take the form that suits a TPU. Where frames are fewer than sublanes, its
        compiler folds their width into these before each convolution, at many times the
        traffic; a third dimension of one pixel keeps it from that.
    """
    stride = math.isqrt(x.shape[-1] // kernel.shape[2])
    if stride > 1:
        kernel = fold_kernel(kernel, stride, parts)
    if kernel.shape[:3] == (1, 1, 1):  # then it need not be kept in memory
        return x * kernel
    if for_tpu and len(x) < SUBLANES:
        return _convolve(x[:, :, :, None], kernel[:, :, None], "D")[:, :, :, 0]
    batch, height, width, channels = x.shape
    pays = (
        kernel.shape[0] == 3
        and height % winograd.TILE == width % winograd.TILE == 0
        and min(channels, kernel.shape[-1]) >= WINOGRAD_CHANNELS
        and batch * height * width >= WINOGRAD_PIXELS
    )
    if not pays:
        return _convolve(x, kernel)
    return jax.lax.platform_dependent(
        x, kernel, cpu=winograd.conv_3x3, default=_convolve
    )


def _convolve(x: Array, kernel: Array, third: str = "") -> Array:
    """XLA's convolution, with a third dimension of a name or without."""
    dimensions = f"NHW{third}C", f"HW{third}IO", f"NHW{third}C"
    strides = (1,) * (x.ndim - 2)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, "SAME", dimension_numbers=dimensions
    )


def fold_kernel(
    kernel: Float[Array, "size size channels features"], stride: int, parts: int = 1
) -> Float[Array, "coarse_size coarse_size more_channels more_features"]:
    """The kernel between cells that does what `kernel` does between their pixels.

    Most of it is zeros: stride**2 times the products, on a unit that was as much idle.

    Args:
      kernel: of odd size.
      stride: pixels of a cell, downwards and across.
      parts: blocks of equally many channels, each folded by itself.
    """
    size, _, channels, features = kernel.shape
    chosen = jnp.asarray(_choose_taps(size, stride), kernel.dtype)
    apart = kernel.reshape(size, size, parts, channels // parts, features)
    folded = jnp.einsum(
        "aiot,bjpu,tuncf->abnijcopf",
        *(chosen, chosen, apart),
        precision=jax.lax.Precision.HIGHEST,
    )
    cell = stride**2
    return folded.reshape(len(chosen), len(chosen), cell * channels, cell * features)


def _choose_taps(size: int, stride: int) -> np.ndarray:
    """1 where pixel i of cell a is what tap t reads for pixel o: [cells i o taps]."""
    reach = size // 2
    cells = -(-reach // stride)
    chosen = np.zeros((2 * cells + 1, stride, stride, size))
    for to in range(stride):
        for tap in range(size):
            cell, place = divmod(to + tap - reach, stride)
            chosen[cell + cells, place, to, tap] = 1
    return chosen


def max_of_cells(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width fewer_channels"]:
    """`max_pool_2x2` of what is held in cells."""
    a, b, c, d = jnp.split(x, 4, axis=-1)
    return jnp.maximum(jnp.maximum(a, c), jnp.maximum(b, d))


def max_pool_2x2(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch half_height half_width channels"]:
    """Take the maximum of every 2x2 window; height and width must be even.

    Where several of the four are equal, the gradient is shared among them.
    """
    rows = jnp.maximum(x[:, 0::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def max_of_frame(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch channels"]:
    """Take the largest value of each channel; one pixel that has it takes the gradient.

    The gradient of `jnp.max` compares values with their maximum: where the compiler works
    them out twice, rounded differently, none is equal, and 0 / 0 follows.
    """
    batch, height, width, channels = x.shape
    pixels = x.reshape(batch, height * width, channels)
    where = jnp.argmax(pixels, axis=1, keepdims=True)
    return jnp.take_along_axis(pixels, where, axis=1)[:, 0]


def upsample_2x2(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "2 2 channels features"],
    bias: Float[Array, " features"],
    to_cells: bool = False,
) -> Float[Array, "batch new_height new_width new_features"]:
    """Convolve transposed with stride 2: each pixel is painted as a 2x2 patch.

    Output pixel (2 y + i, 2 x + j) is x[y, x] times kernel[i, j], plus bias; or its cell.
    """
    channels, features = kernel.shape[2:]
    columns = kernel.transpose(2, 0, 1, 3).reshape(channels, 4 * features)
    if to_cells:
        return x @ columns + jnp.tile(bias, 4).reshape(1, 1, 1, 4 * features)
    return depth_to_space(x @ columns, 2) + bias.reshape(1, 1, 1, features)


def space_to_depth(
    x: Float[Array, "batch height width channels"], stride: int
) -> Float[Array, "batch coarse_height coarse_width more_channels"]:
    """Fold every stride x stride pixels into the channels of one; sizes must divide."""
    if stride == 1:
        return x
    batch, height, width, channels = x.shape
    rows, columns = height // stride, width // stride
    cells = x.reshape(batch, rows, stride, columns, stride, channels)
    cells = cells.transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(batch, rows, columns, stride * stride * channels)


def depth_to_space(
    x: Float[Array, "batch height width channels"], stride: int
) -> Float[Array, "batch fine_height fine_width fewer_channels"]:
    """Unfold channels into stride x stride pixels: undoes `space_to_depth`."""
    if stride == 1:
        return x
    batch, rows, columns, channels = x.shape
    features = channels // stride**2
    cells = x.reshape(batch, rows, columns, stride, stride, features)
    cells = cells.transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(batch, rows * stride, columns * stride, features)


def repeat_pixels(
    x: Float[Array, "batch height width channels"], times: int
) -> Float[Array, "batch fine_height fine_width channels"]:
    """Show every pixel as times x times equal ones."""
    return jnp.repeat(jnp.repeat(x, times, axis=1), times, axis=2)


def group_norm(
    x: Float[Array, "batch height width channels"],
    scale: Float[Array, " own_channels"],
    bias: Float[Array, " own_channels"],
    num_groups: int,
    epsilon: float = 1e-5,
) -> Float[Array, "batch height width channels"]:
    """Normalise groups of channels over space (Wu & He 2018), statistics in float32.

    Mean and mean of squares are taken per channel in one pass, then per group. The
    result has the dtype of `x`, which holds pixels or cells.
    """
    batch, channels = x.shape[0], x.shape[-1]
    cell = channels // len(scale)
    repeats = len(scale) // num_groups
    wide = x.astype(jnp.float32)
    moments = jnp.stack([wide.mean((1, 2)), jnp.square(wide).mean((1, 2))])
    grouped = moments.reshape(2, batch, cell, num_groups, repeats).mean((2, 4))
    mean, mean_square = grouped[0], grouped[1]
    variance = jnp.maximum(mean_square - jnp.square(mean), 0)
    inverse = jax.lax.rsqrt(variance + epsilon)
    factor = jnp.repeat(inverse, repeats, axis=-1) * scale.reshape(1, -1)
    offset = bias.reshape(1, -1) - jnp.repeat(mean, repeats, axis=-1) * factor
    if cell > 1:
        factor, offset = jnp.tile(factor, (1, cell)), jnp.tile(offset, (1, cell))
    spread = (batch, 1, 1, channels)
    return (wide * factor.reshape(spread) + offset.reshape(spread)).astype(x.dtype)
