"""The scanned sector of a frame: what moves or is tissue, among what stands still.

A screen holds names, logos, scales and bars around the sector. They stand still while
tissue moves, and in a still image they are flat or sparse while tissue is neither. The
sector is convex: a fan, a rectangle or a trapezoid. Shadows inside it are part of it.
"""

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from nerve_jax.data.marks import find_text

MOVING = 0.5  # grey levels of standard deviation over a clip
RINGING = 0.1  # of the usual deviation, which a codec spreads beyond moving tissue
MOVING_SHARE = 0.05  # of the frame; with less, the clip counts as a still image
DENSE, SPARSE = 0.5, 0.35  # share of tissue around a pixel; letters fill less
BORDER_PX = 2  # that the sector is wider than what was found


def find_sector(
    samples: UInt8[np.ndarray, "samples height width"],
) -> Bool[np.ndarray, "height width"]:
    """Return where tissue was scanned, as one convex region.

    Args:
      samples: frames spread over a clip, or one still image; of coloured ones, the
        brightest channel.

    Returns:
      Two pixels wider than the tissue. All True for an image that is tissue up to its
      edges, all False where none is found. Rectangular if most of both sides are
      vertical, so that a shadow in a corner is inside.
    """
    image = samples[len(samples) // 2]
    tissue = _largest(_tissue(samples, image))
    if not tissue.any():
        return tissue
    screen = _screen(image)
    sector = _with_black_parts(_fill(tissue), image > screen)
    sector = _with_corners(sector, np.abs(image.astype(np.int16) - screen) > 3)
    return ndimage.binary_dilation(sector, iterations=BORDER_PX)


def find_box(sector: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of the sector, half open; zeros if empty."""
    rows, columns = np.flatnonzero(sector.any(1)), np.flatnonzero(sector.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def blacken(
    image: Shaped[np.ndarray, "height width *channels"],
    sector: Bool[np.ndarray, "height width"],
) -> Shaped[np.ndarray, "height width *channels"]:
    """Return the image with 0 outside the sector."""
    return np.where(sector.reshape(sector.shape + (1,) * (image.ndim - 2)), image, 0)


def mosaic(
    image: UInt8[np.ndarray, "height width"],
    sector: Bool[np.ndarray, "height width"],
    cell_px: int = 24,
) -> UInt8[np.ndarray, "height width"]:
    """Return the image with means of square cells outside the sector.

    A name in letters of up to about `cell_px` pixels cannot be read from it. A cell
    that the sector cuts is averaged outside the sector only.
    """
    rows = np.arange(image.shape[0]) // cell_px
    columns = np.arange(image.shape[1]) // cell_px
    cell = rows[:, None] * (columns[-1] + 1) + columns
    outside = ~sector
    count = np.bincount(cell[outside], minlength=cell.max() + 1)
    total = np.bincount(cell[outside], image[outside], minlength=cell.max() + 1)
    means = (total / np.maximum(count, 1)).astype(np.uint8)
    return np.where(sector, image, means[cell])


def _screen(image: np.ndarray) -> int:
    """Return the grey value of the empty screen: the commonest dark one."""
    return int(np.bincount(image.ravel(), minlength=256)[:64].argmax())


def _tissue(samples: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the pixels that move, or those with texture in every direction."""
    mean = samples.mean(0, dtype=np.float32)
    spread = sum(np.square(each - mean) for each in samples)  # one frame at a time
    deviation = np.sqrt(spread / len(samples))
    moves = deviation > MOVING
    if moves.mean() > MOVING_SHARE:
        return deviation > max(MOVING, RINGING * float(np.median(deviation[moves])))
    textured = np.abs(image.astype(np.int16) - _screen(image)) > 3
    for size in ((1, 5), (5, 1)):
        highest = ndimage.maximum_filter(image, size)
        textured &= highest - ndimage.minimum_filter(image, size) > 1
    return textured & ~find_text(image, np.ones(image.shape, bool))


def _largest(tissue: np.ndarray) -> np.ndarray:
    """Return the tissue of the largest region that is not made of letters or lines."""
    side = min(tissue.shape)
    share = ndimage.uniform_filter(tissue.astype(np.float32), max(5, int(0.03 * side)))
    width = max(5, int(0.05 * side))
    dense, count = ndimage.label(_open(share > DENSE, width))
    if not count:
        return np.zeros_like(tissue)
    core = dense == np.bincount(dense.ravel())[1:].argmax() + 1
    sparse, _ = ndimage.label(_open(share > SPARSE, width))
    return tissue & (sparse > 0) & np.isin(sparse, sparse[core])


def _open(mask: np.ndarray, width: int) -> np.ndarray:
    """Drop what is narrower than `width` pixels, at the edges of the image too."""
    padded = np.pad(mask, width, mode="edge")
    for shape in ((width, 1), (1, width)):
        padded = ndimage.binary_opening(padded, np.ones(shape))
    return padded[width:-width, width:-width]


def _fill(mask: np.ndarray) -> np.ndarray:
    """Return the convex hull of a mask; the mask itself if it is a line."""
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    points = np.stack([columns, rows], 1)
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return mask
    hull = Image.new("1", mask.shape[::-1])
    ImageDraw.Draw(hull).polygon([tuple(map(int, c)) for c in corners], 1, 1)
    return np.array(hull)


def _with_black_parts(sector: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the sector with what a scanner shows there in its darkest grey.

    `shown` is True where the image is brighter than the empty screen, if only by one
    level. It is believed where it is convex around the sector, as it is in losslessly
    stored frames.
    """
    labels, _ = ndimage.label(_open(shown, max(5, int(0.05 * min(shown.shape)))))
    around = np.bincount(labels[sector])[1:]
    if not around.any():
        return sector
    part = labels == around.argmax() + 1
    hull = _fill(part)
    convex = (
        part.sum() > 0.95 * hull.sum() and (part & sector).sum() > 0.75 * sector.sum()
    )
    return hull | sector if convex else sector


def _with_corners(sector: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the box of a sector with vertical sides, if its corners are empty."""
    top, left, bottom, right = find_box(sector)
    inside = sector[top:bottom, left:right]
    near = max(2, (right - left) // 50)
    for rows in (inside, inside[:, ::-1]):
        if np.mean(rows.argmax(1) <= near) < 0.5:
            return sector
    box = np.zeros_like(sector)
    box[top:bottom, left:right] = True
    corners = box & ~sector
    return box if shown[corners].sum() <= 0.05 * corners.sum() else sector
