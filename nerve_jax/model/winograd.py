"""The 3x3 convolution by Winograd's minimal filtering, for CPUs.

F(4x4, 3x3) of Lavin & Gray 2016 (arXiv:1509.09308): a tile of 4x4 output pixels is made
of 36 products instead of 144. Input tiles and kernel are transformed by small constant
matrices, multiplied as 36 matrix products, and transformed back. The transforms cost
passes over the data, so that it pays from some tens of channels on.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TILE, POINTS = 4, 6  # output pixels, and products, along each axis
# The matrices B^T, G and A^T of the paper's F(4x4, 3x3).
FROM_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
FROM_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TO_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
FROM_OUTPUT = tuple(zip(*TO_OUTPUT, strict=True))
TO_KERNEL = tuple(zip(*FROM_KERNEL, strict=True))
TO_INPUT = tuple(zip(*FROM_INPUT, strict=True))


@jax.custom_vjp
def conv_3x3(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "3 3 channels features"],
) -> Float[Array, "batch height width features"]:
    """Convolve, with zeros around the frame; height and width must divide by 4.

    Computed in float32, given and returned in one dtype. Differs from the plain sum of
    products by some 1e-5 of the result's deviation.
    """
    return _forward(x, kernel)[0]


def _forward(x, kernel):
    """Y = A^T [(G g G^T) * (B^T d B)] A of the paper, for all tiles d at once.

    The products of the brackets are summed over channels: at each of the 36 points that
    is a matrix product of [tiles channels] and [channels features], where the time goes.
    """
    tiles = _join_points(_tile(x))
    points = _join_points(_transform(FROM_KERNEL, kernel))
    products = jnp.einsum("pnc,pcf->pnf", tiles, points)
    cells = _transform(TO_OUTPUT, _split_points(products, *_count_tiles(x)))
    return _untile(cells).astype(x.dtype), (tiles, points)


def _backward(saved, gradient):
    """The transposes of the same steps, in the opposite order."""
    tiles, points = saved
    cells = _join_points(_transform(FROM_OUTPUT, _cut(gradient)))
    of_tiles = jnp.einsum("pnf,pcf->pnc", cells, points)
    of_points = jnp.einsum("pnc,pnf->pcf", tiles, cells)
    of_x = _tile_transposed(_split_points(of_tiles, *_count_tiles(gradient)))
    of_kernel = _transform(TO_KERNEL, _split_points(of_points, points.shape[1]))
    return of_x.astype(gradient.dtype), of_kernel.astype(gradient.dtype)


conv_3x3.defvjp(_forward, _backward)


def _tile(frames):
    """Transformed 6x6 tiles, which overlap by 2 px: [6 6 batch down across channels].

    A tile is a 4x4 cell and one row or column of its neighbours on either side, so frames
    are cut into cells and only the borders are shifted: no overlapping copy is made.
    """
    cells = _cut(frames.astype(jnp.float32))
    rows = _mix(FROM_INPUT, _widen(list(cells), axis=2))
    rows = jax.lax.optimization_barrier(rows)
    return _mix(FROM_INPUT, _widen([rows[:, i] for i in range(TILE)], axis=3))


def _tile_transposed(tiles):
    """The transpose of `_tile`: tiles are summed where they overlap."""
    columns = jnp.stack(_narrow(_mix(TO_INPUT, list(tiles)), axis=3))
    columns = jax.lax.optimization_barrier(columns)
    rows = _mix(TO_INPUT, [columns[:, i] for i in range(POINTS)])
    return _untile(jnp.stack(_narrow(rows, axis=2)))


def _widen(cells: list, axis: int) -> list:
    """Four rows of each cell -> with the last of the cell before, the first after."""
    return [_shift(cells[-1], 1, axis), *cells, _shift(cells[0], -1, axis)]


def _narrow(parts, axis: int) -> list:
    """The transpose of `_widen`."""
    before, *cells, after = parts
    cells[-1] += _shift(before, -1, axis)
    cells[0] += _shift(after, 1, axis)
    return cells


def _shift(x, by: int, axis: int):
    sides = [(0, 0, 0)] * x.ndim
    sides[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.float32(0), sides)


def _count_tiles(frames) -> tuple[int, int, int]:
    batch, height, width, _ = frames.shape
    return batch, height // TILE, width // TILE


def _cut(frames):
    """Frames -> cells of 4x4 px, [4 4 batch down across features]."""
    batch, down, across = _count_tiles(frames)
    cells = frames.reshape(batch, down, TILE, across, TILE, frames.shape[-1])
    return cells.transpose(2, 4, 0, 1, 3, 5)


def _untile(cells):
    """The transpose of `_cut`."""
    _, _, batch, down, across, features = cells.shape
    frames = cells.transpose(2, 3, 0, 4, 1, 5)
    return frames.reshape(batch, down * TILE, across * TILE, features)


def _transform(matrix: Sequence[Sequence[float | int]], x):
    """Multiply the first two axes by a matrix; they change places."""
    rows = _mix(matrix, list(x.astype(jnp.float32)))
    rows = jax.lax.optimization_barrier(rows)  # or they are computed once per column
    return _mix(matrix, [rows[:, i] for i in range(x.shape[1])])


def _mix(matrix: Sequence[Sequence[float | int]], parts: list):
    """Sums of parts, weighted by each row of a matrix, stacked."""
    sums = []
    for weights in matrix:
        terms = [w * p for w, p in zip(weights, parts, strict=True) if w]
        sums.append(sum(terms[1:], terms[0]))
    return jnp.stack(sums)


def _join_points(x):
    """[6 6 ... channels] -> [36 all channels]."""
    return x.reshape(POINTS**2, -1, x.shape[-1])


def _split_points(x, *sizes: int):
    """[36 all channels] -> [6 6 ... channels], of the sizes that were joined."""
    return x.reshape(POINTS, POINTS, *sizes, x.shape[-1])
