"""What is odd about a data set, found before a model is blamed.

Frames that occur twice, people who share frames, labels that contradict each other,
frames and masks unlike the others. Scores cannot be believed, or beaten, past these.
"""

from collections import Counter

import numpy as np
from jaxtyping import Float
from scipy import ndimage, stats

from nerve_jax.data.duplicates import SAME_VIEW, Pair, shared_subjects
from nerve_jax.data.examples import Examples
from nerve_jax.data.plausible import find_implausible
from nerve_jax.data.population import Population, find_doubtful
from nerve_jax.scoring.label_noise import compute_label_noise

LISTED = 200  # pairs of a kind
DISAGREEMENT_DICE = 0.5  # outlines of one view that agree less contradict each other
OUTLIER_DEVIATIONS = 4.0  # robust standard deviations from the data set's median
USUAL_SIZE_SHARE = 0.9  # of frames; with a size so common, every other one is odd
ALONE_SHARE = 0.9  # of subjects in frames, from which nobody seems to know who is who
TOUCHING = np.ones((3, 3))  # pixels that touch at a corner hang together
RARE_SHARE = 0.05  # of masks; pieces in so few of them are odd
SATURATED_SHARE = 0.02  # of a frame's pixels, and that much more than is usual


def compute_audit(population: Population) -> dict:
    """Everything odd about a data set.

    Labels are compared at training size, a pixel being nerve if half of it is.

    Args:
      population: all frames of a split, and who is who.

    Returns:
      `implausible`: sentences of `find_implausible`, of the set as a whole;
      `num_frames`, `num_labelled`, `num_subjects`, `one_frame_a_subject`;
      `shared_subjects`: groups of subjects with a view in common;
      `num_exact_duplicates`, `num_near_duplicates`, `num_across_subjects`: all pairs;
      `exact_duplicates`, `near_duplicates`: at most `LISTED` of each, those of two
      subjects first and then the most alike, with `frames`, `subjects`, `similarity`, and
      `dice` between their labels (None if not both have one);
      `num_compared`: pairs whose labels were compared, `duplicates.PARTNERS` of a frame;
      `num_contradictions`, `contradictions`: those of them that show the same view and
      whose labels cannot both be right, with `kind`; at most `LISTED`;
      `doubtful`: frames whose label most others of the same view contradict;
      what `compute_label_noise` returns, of compared pairs that show the same view and of
      which at least one has a nerve;
      `sizes`, `odd_sizes`, `odd_intensities`, `odd_masks`: frames with `reasons`;
      `presence_by_subject`: [frames with a nerve, labelled frames] of each.
    """
    examples, duplicates, groups = population
    described = [
        _describe_pair(pair, examples) | {"view": int(duplicates.views[pair.first])}
        for pair in duplicates.pairs
    ]
    described.sort(
        key=lambda p: (p["subjects"][0] == p["subjects"][1], -p["similarity"])
    )
    exact = [p for p in described if p["exact"]]
    near = [p for p in described if not p["exact"]]
    contradictions = [p for p in described if p["kind"]]
    people = len(set(examples.subjects))
    return {
        "implausible": find_implausible(examples),
        "num_frames": len(examples),
        "num_labelled": int(examples.labelled.sum()),
        "num_subjects": people,
        "one_frame_a_subject": people >= max(ALONE_SHARE * len(examples), 3),
        "shared_subjects": shared_subjects(examples.subjects, groups),
        "num_exact_duplicates": duplicates.num_exact,
        "num_near_duplicates": duplicates.num_near,
        "num_across_subjects": duplicates.num_across,
        "exact_duplicates": exact[:LISTED],
        "near_duplicates": near[:LISTED],
        "num_compared": len(described),
        "num_contradictions": len(contradictions),
        "contradictions": contradictions[:LISTED],
        "doubtful": [examples.frames[i] for i in find_doubtful(population)],
        **_measure_label_noise(described),
        "presence_by_subject": _count_presence(examples),
        "sizes": {f"{h}x{w}": count for (h, w), count in _count_sizes(examples)},
        "odd_sizes": _find_odd_sizes(examples),
        "odd_intensities": _find_odd_intensities(examples),
        "odd_masks": _find_odd_masks(examples),
    }


def _measure_label_noise(described: list[dict]) -> dict:
    labelled = [p for p in described if p["same_view"] and p["nerves"]]
    columns = ([p[key] for p in labelled] for key in ("view", "dice", "nerves"))
    return compute_label_noise(*columns)


def describe(content: dict) -> str:
    """Say in a few lines what an audit found."""
    count = {k: len(v) for k, v in content.items() if isinstance(v, list)}
    not_listed = count_not_listed(content)
    warned = "".join(f"warning: {text}\n" for text in content["implausible"])
    text = f"""\
{warned}{content["num_frames"]} frames of {content["num_subjects"]} subjects, \
{content["num_labelled"]} labelled
{content["num_exact_duplicates"]} pairs of equal frames, \
{content["num_near_duplicates"]} of nearly equal ones; \
{content["num_across_subjects"]} of them across subjects{
        f"; {not_listed} are not listed" * bool(not_listed)
    }
{count["shared_subjects"]} group(s) of subjects that share a view; each counts as one \
subject in the folds
{content["num_contradictions"]} of {content["num_compared"]} compared pairs contradict \
each other; the labels of {count["doubtful"]} frames are in doubt
{count["odd_sizes"]} frames of odd size, {count["odd_intensities"]} of odd intensity, \
{count["odd_masks"]} odd masks"""
    if content["num_label_pairs"]:
        text += (
            f"\ntwo labels of one view agree with Dice {content['label_noise_dice']:.3f} "
            f"on average ({content['num_label_views']} views, "
            f"{content['num_label_pairs']} pairs); a model that is always right would "
            f"have {content['perfect_model_dice']:.3f} with one of them"
        )
    if content["one_frame_a_subject"]:
        text += (
            "\nnearly every frame counts as a subject of its own: if people recur, one "
            "may be on both sides of a fold and scores are optimistic"
        )
    return text


def list_across(content: dict) -> list[dict]:
    """Of the pairs that an audit lists, equal ones first, those of two subjects."""
    pairs = content["exact_duplicates"] + content["near_duplicates"]
    return [pair for pair in pairs if len(set(pair["subjects"])) > 1]


def count_not_listed(content: dict) -> int:
    """How many pairs an audit found and does not list."""
    kinds = ("exact_duplicates", "near_duplicates")
    return sum(content[f"num_{kind}"] - len(content[kind]) for kind in kinds)


def _describe_pair(pair: Pair, examples: Examples) -> dict:
    places = [pair.first, pair.second]
    labelled = bool(examples.labelled[places].all())
    same_view = labelled and pair.similarity >= SAME_VIEW
    masks = examples.masks[places] >= 128
    nerves = int(examples.presence[places].sum())
    areas, shared = masks.sum(), (masks[0] & masks[1]).sum()
    dice = (2.0 * float(shared / areas) if areas else 1.0) if labelled else None
    kind = ""
    if same_view and nerves == 1:
        kind = "one is labelled empty"
    elif same_view and dice < DISAGREEMENT_DICE:
        kind = "outlines differ"
    return {
        "frames": [examples.frames[i] for i in places],
        "subjects": [examples.subjects[i] for i in places],
        "similarity": round(pair.similarity, 4),
        "exact": pair.exact,
        "dice": dice,
        "nerves": nerves,
        "same_view": same_view,
        "kind": kind,
    }


def _count_presence(examples: Examples) -> dict[str, list[int]]:
    subjects = np.array(examples.subjects)
    counts = {}
    for subject in sorted(set(examples.subjects)):
        rows = (subjects == subject) & examples.labelled
        counts[subject] = [int(examples.presence[rows].sum()), int(rows.sum())]
    return counts


def _count_sizes(examples: Examples) -> list[tuple[tuple[int, int], int]]:
    return Counter(tuple(map(int, size)) for size in examples.sizes).most_common()


def _find_odd_sizes(examples: Examples) -> list[dict]:
    usual, count = _count_sizes(examples)[0]
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


def _find_odd_intensities(examples: Examples) -> list[dict]:
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


def _find_odd_masks(examples: Examples) -> list[dict]:
    """Masks whose area, place or number of pieces is unlike the others'."""
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
