"""Frames and masks unlike the others of a data set."""

from collections import Counter

import numpy as np
from jaxtyping import Float
from scipy import ndimage, stats

from nerve_jax.data.examples import Examples

OUTLIER_DEVIATIONS = 4.0  # robust standard deviations from the data set's median
USUAL_SIZE_SHARE = 0.9  # of frames; with a size so common, every other one is odd
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner hang together
RARE_SHARE = 0.05  # of masks; pieces in so few of them are odd
SATURATED_SHARE = 0.02  # of a frame's pixels, and that much more than is usual


def count_sizes(examples: Examples) -> list[tuple[tuple[int, int], int]]:
    """Each size, height and width in px, and how many frames have it; most first."""
    return Counter(tuple(map(int, size)) for size in examples.sizes).most_common()


def find_odd_sizes(examples: Examples) -> list[dict]:
    """Frames, with reasons, of another size than `USUAL_SIZE_SHARE` of all."""
    usual, count = count_sizes(examples)[0]
    if count < USUAL_SIZE_SHARE * len(examples):
        return []
    odd = np.flatnonzero((examples.sizes != np.array(usual)).any(1))
    return [
        {
            "frame": examples.frames[i],
            "reasons": ["{}x{} px, not {}x{}".format(*examples.sizes[i], *usual)],
        }
        for i in odd
    ]


def find_odd_intensities(examples: Examples) -> list[dict]:
    """Frames, with reasons, that are saturated, blank, or unusually dark or bright."""
    saturated = examples.saturated_share
    limit = np.median(saturated) + SATURATED_SHARE
    mean = examples.images.mean((1, 2))
    deviation = _deviations(mean)
    found = []
    for i, frame in enumerate(examples.frames):
        reasons = []
        if saturated[i] > limit:
            reasons.append(f"{saturated[i]:.1%} of its pixels are saturated")
        if np.ptp(examples.images[i]) == 0:
            reasons.append("it shows nothing: all pixels alike")
        elif abs(deviation[i]) > OUTLIER_DEVIATIONS:
            reasons.append(
                f"mean grey {mean[i]:.0f}, {deviation[i]:+.1f} robust deviations"
            )
        if reasons:
            found.append({"frame": frame, "reasons": reasons})
    return found


def find_odd_masks(examples: Examples) -> list[dict]:
    """Frames, with reasons, whose mask has an unusual area, place or number of pieces."""
    rows = np.flatnonzero(examples.presence)
    if not rows.size:
        return []
    masks = examples.masks[rows].astype(np.float32) / 255
    height, width = masks.shape[1:]
    area = masks.mean((1, 2))
    across = (np.arange(width) + 0.5) / width
    down = (np.arange(height) + 0.5) / height
    total = np.maximum(masks.sum((1, 2)), 1e-6)
    measures = {
        "area": area,
        "centre across": (masks.sum(1) * across).sum(1) / total,
        "centre down": (masks.sum(2) * down).sum(1) / total,
    }
    deviations = {name: _deviations(values) for name, values in measures.items()}
    deviations["area"] = _deviations(np.log(np.maximum(area, 1e-6)))
    pieces = np.array([ndimage.label(mask >= 0.5, TOUCHING)[1] for mask in masks])
    rare = np.mean(pieces > 1) <= RARE_SHARE
    found = []
    for i, row in enumerate(rows):
        reasons = [
            f"{name} {measures[name][i]:.3f} of the frame's, "
            f"{values[i]:+.1f} robust deviations"
            for name, values in deviations.items()
            if abs(values[i]) > OUTLIER_DEVIATIONS
        ]
        if rare and pieces[i] > 1:
            reasons.append(f"{pieces[i]} pieces")
        if reasons:
            found.append({"frame": examples.frames[row], "reasons": reasons})
    return found


def _deviations(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Distance from the median in robust standard deviations; 0 where all are alike."""
    spread = float(stats.median_abs_deviation(values, scale="normal"))
    return (values - np.median(values)) / spread if spread else np.zeros(len(values))
