"""Whether frames and masks of a data set can be what they are taken for, as a whole.

No file is wrong by itself: masks the wrong way round, greys of another range, or masks of
other frames show only in the whole set.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from nerve_jax.data import rle
from nerve_jax.data.examples import Examples
from nerve_jax.data.resize import resize_image

LARGE_SHARE = 0.5  # of a frame; what is outlined covers less
NARROW_RANGE = 16  # of 256 greys
MIN_PEOPLE, FEW_PEOPLE = (
    6,
    12,
)  # of fewer than the first, the fit of masks is not judged
MIN_FIT = 0.6  # 0.5 is chance
FRAMES_TRIED, OTHERS_TRIED = 300, 4
NUM_FOLDS = 5


def find_implausible(examples: Examples) -> list[str]:
    """What is hard to believe of a data set, of its frames and of each structure.

    Returns:
      A sentence each; see the functions below.
    """
    found = [find_implausible_labels(examples.of(n)) for n in examples.structures]
    texts = [text for of_structure in found for text in of_structure]
    return texts + list(filter(None, [_check_range(examples)]))


def find_implausible_labels(examples: Examples) -> list[str]:
    """What is hard to believe of the labels of the first structure, a sentence each."""
    return list(filter(None, [_check_share(examples), _check_fit(examples)]))


def measure_fit(examples: Examples, seed: int = 0) -> tuple[float, int]:
    """How often a frame's own mask fits it better than the mask of another person.

    How well a mask fits is a linear function, learnt here, of grey, gradient and texture
    inside it, along its outline and around it. Each person is judged by what was learnt
    from others, and counts the same. Of masks that belong to other frames, or are turned
    or mirrored, the share is 0.5 but for chance.

    Args:
      examples: of a split; at most `FRAMES_TRIED` of its frames that show the first
        structure are used.
      seed: of the choice of frames and of others' masks.

    Returns:
      The share, 0 to 1 (NaN of fewer than `MIN_PEOPLE`), and the number of people.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(examples.presence & examples.labelled))
    rows = rows[:FRAMES_TRIED]
    people = np.array([examples.subjects[i] for i in rows])
    num_people = len(set(people.tolist()))
    if num_people < MIN_PEOPLE:
        return float("nan"), num_people
    maps = [_map_looks(examples.thumbnails[i]) for i in rows]
    zones = [_find_zones(examples.masks[i], maps[0].shape[1:]) for i in rows]
    better, judged = [], []
    for row, person in enumerate(people):
        others = rng.choice(np.flatnonzero(people != person), OTHERS_TRIED)
        own = _describe(maps[row], zones[row])
        better += [own - _describe(maps[row], zones[other]) for other in others]
        judged += [person] * OTHERS_TRIED
    wins = _predict_wins(np.array(better), np.array(judged))
    per_person = [wins[np.array(judged) == p].mean() for p in sorted(set(judged))]
    return float(np.mean(per_person)), num_people


def _check_share(examples: Examples) -> str:
    """Masks the wrong way round."""
    labelled = np.flatnonzero(examples.labelled)
    areas = np.array([rle.count_pixels(examples.truths[i]) for i in labelled])
    large = int((areas > LARGE_SHARE * examples.sizes[labelled].prod(1)).sum())
    if large <= len(labelled) / 2:
        return ""
    return (
        f"{examples.structures[0]} covers more than half of the frame in {large} of "
        f"{len(labelled)} masks: are they the wrong way round? The structure is to be 1 or "
        "255, or a value of its own in a label map, all else 0"
    )


def _check_range(examples: Examples) -> str:
    """Greys of another range than they were read with."""
    spans = np.ptp(examples.thumbnails, axis=(1, 2))
    if np.median(spans) >= NARROW_RANGE:
        return ""
    return (
        f"most frames span less than {NARROW_RANGE} of 256 greys: is that their range? "
        "Stretch the greys of all frames alike, so that white is the largest value of "
        "8 or 16 bit"
    )


def _check_fit(examples: Examples) -> str:
    """Masks of other frames, turned or mirrored: outlines along nothing."""
    fit, num_people = measure_fit(examples)
    if not fit < MIN_FIT:
        return ""
    few = " With so few people that may be chance." if num_people < FEW_PEOPLE else ""
    return (
        f"outlines of {examples.structures[0]} lie along nothing: masks fit their own "
        f"frames in {fit:.0%} of comparisons with masks of other people, and chance is 50% ({num_people} "
        f"people). Do masks belong to frames of other names, or are they turned?{few}"
    )


def _map_looks(
    thumbnail: UInt8[np.ndarray, "rows columns"],
) -> Float[np.ndarray, "looks rows columns"]:
    """Grey, gradient at two scales, and texture, of a frame of mean 0 and deviation 1."""
    grey = thumbnail.astype(np.float32)
    grey = (grey - grey.mean()) / (grey.std() + 1e-6)
    coarse = ndimage.gaussian_filter(grey, 1)
    return np.stack(
        [
            ndimage.gaussian_filter(grey, 0.5),
            ndimage.gaussian_gradient_magnitude(grey, 0.75),
            ndimage.gaussian_gradient_magnitude(grey, 1.5),
            np.abs(grey - coarse),
        ]
    )


def _find_zones(
    mask: UInt8[np.ndarray, "height width"], size: tuple[int, int]
) -> list[Bool[np.ndarray, "rows columns"]]:
    """Inside a mask, along its outline and around it; the whole of it where one is empty."""
    small = resize_image(np.asarray(mask), size)
    nerve = small >= max(min(128, int(small.max())), 1)
    wide, wider = (ndimage.binary_dilation(nerve, iterations=n) for n in (1, 3))
    inside = ndimage.binary_erosion(nerve)
    zones = (inside, wide & ~inside, wider & ~nerve)
    return [zone if zone.any() else nerve for zone in zones]


def _describe(maps: np.ndarray, zones: list[np.ndarray]) -> np.ndarray:
    means = np.array([[look[zone].mean() for zone in zones] for look in maps])
    inside, outline, around = means[0]
    contrasts = [abs(inside - around), abs(outline - around)]
    return np.nan_to_num(np.concatenate([means.ravel(), contrasts]))


def _predict_wins(
    better: Float[np.ndarray, "pairs looks"], people: np.ndarray
) -> Float[np.ndarray, " pairs"]:
    """Whether own masks score higher (1, or 0.5 where alike), by what others teach."""
    better = better / (better.std(0) + 1e-6)
    scores = cross_val_predict(
        LogisticRegression(C=0.05, fit_intercept=False),
        np.concatenate([better, -better]),
        np.repeat([1, 0], len(better)),
        groups=np.tile(people, 2),
        cv=GroupKFold(NUM_FOLDS),
        method="decision_function",
    )[: len(better)]
    return np.where(scores == 0, 0.5, scores > 0)
