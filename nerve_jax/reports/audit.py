"""What is odd about a data set, found before a model is blamed.

Frames that occur twice, people who share frames, labels that contradict each other,
frames and masks unlike the others. Scores say little before these are looked at.
"""

from collections.abc import Mapping

import numpy as np

from nerve_jax.data.duplicates import SAME_VIEW, Pair, shared_subjects
from nerve_jax.data.examples import Examples
from nerve_jax.data.plausible import find_implausible, find_implausible_labels
from nerve_jax.data.population import (
    Population,
    Shown,
    find_doubtful,
    find_known_people,
)
from nerve_jax.reports.outliers import (
    count_sizes,
    find_odd_intensities,
    find_odd_masks,
    find_odd_sizes,
)
from nerve_jax.scoring.label_noise import compute_label_noise

LISTED = 200  # pairs of a kind
DISAGREEMENT_DICE = 0.5  # outlines of one view that agree less contradict each other
ALONE_SHARE = 0.9  # of subjects in frames, from which nobody seems to know who is who


def compute_audit(
    population: Population, others: Mapping[str, Examples] | None = None
) -> dict:
    """Everything odd about a data set and the labels of its first structure.

    Labels are compared at training size, a pixel being nerve if half of it is.

    Args:
      population: all frames of a split, and who is who.
      others: frames of other splits, by their names.

    Returns:
      `implausible`: sentences of `find_implausible`, of the set as a whole;
      `num_frames`, `num_labelled`, `num_subjects`, `one_frame_a_subject`;
      `shared_subjects`: groups of subjects with a view in common;
      `in_other_splits`: of each, the frames here whose person shares a view with it;
      `num_exact_duplicates`, `num_near_duplicates`, `num_across_subjects`: all pairs;
      `exact_duplicates`, `near_duplicates`: at most `LISTED` of each, those of two
      subjects first, from the most alike, then of one, nearly equal ones from the least
      alike, with `frames`, `subjects`, `similarity`, and
      `dice` between their labels (None if not both have one);
      `num_within_clips`: pairs of equal and nearly equal frames of one clip, where they
      are expected; they are neither counted nor listed among the others;
      `num_compared`: pairs whose labels were compared, `duplicates.PARTNERS` of a frame;
      `num_contradictions`, `contradictions`: those of them that show the same view and
      whose labels cannot both be right, with `kind`; at most `LISTED`;
      `doubtful`: frames whose label most others of the same view contradict;
      what `compute_label_noise` returns, of compared pairs that show the same view and of
      which at least one has a nerve;
      `sizes`, `odd_sizes`, `odd_intensities`, `odd_masks`: frames with `reasons`;
      `presence_by_subject`: [frames with a nerve, labelled frames] of each.
    """
    examples = population.examples
    people = len(set(examples.subjects))
    described = _describe_pairs(population)
    return {
        "implausible": find_implausible(examples),
        "num_frames": len(examples),
        "num_labelled": int(examples.labelled.sum()),
        "num_subjects": people,
        "one_frame_a_subject": people >= max(ALONE_SHARE * len(examples), 3),
        "shared_subjects": shared_subjects(examples.subjects, population.groups),
        "in_other_splits": {
            split: _find_in_other_split(population, other)
            for split, other in (others or {}).items()
        },
        **_list_pairs(population, described),
        **_compare_labels(population, described),
        "presence_by_subject": _count_presence(examples),
        "sizes": {f"{h}x{w}": count for (h, w), count in count_sizes(examples)},
        "odd_sizes": find_odd_sizes(examples),
        "odd_intensities": find_odd_intensities(examples),
        "odd_masks": find_odd_masks(examples),
    }


def audit_structures(population: Population) -> dict[str, dict]:
    """`compute_label_audit` of every structure but the first, by name."""
    examples = population.examples
    return {
        name: compute_label_audit(population._replace(examples=examples.of(name)))
        for name in examples.structures[1:]
    }


def compute_label_audit(population: Population) -> dict:
    """What is odd about the labels of the first structure alone.

    Returns:
      `implausible`, of `find_implausible_labels`; and of `compute_audit` `num_labelled`,
      `num_compared`, `num_contradictions`, `contradictions`, `doubtful`, label noise,
      `odd_masks` and `presence_by_subject`.
    """
    examples = population.examples
    return {
        "implausible": find_implausible_labels(examples),
        "num_labelled": int(examples.labelled.sum()),
        **_compare_labels(population, _describe_pairs(population)),
        "presence_by_subject": _count_presence(examples),
        "odd_masks": find_odd_masks(examples),
    }


def _describe_pairs(population: Population) -> list[dict]:
    """Pairs of frames of one view, and what their labels say; those of two subjects first."""
    examples, duplicates = population.examples, population.duplicates
    described = [
        _describe_pair(pair, examples) | {"view": int(duplicates.views[pair.first])}
        for pair in duplicates.pairs
    ]
    return sorted(
        described,
        key=lambda p: (p["subjects"][0] == p["subjects"][1], -p["similarity"]),
    )


def _list_pairs(population: Population, described: list[dict]) -> dict:
    """Of `compute_audit`, which frames are alike."""
    duplicates = population.duplicates
    listed = [p for p in described if not p["within_clip"]]
    exact = [p for p in listed if p["exact"]]
    near = [p for p in listed if not p["exact"]]
    near.sort(key=_telling)
    return {
        "num_exact_duplicates": duplicates.num_exact,
        "num_near_duplicates": duplicates.num_near,
        "num_across_subjects": duplicates.num_across,
        "num_within_clips": duplicates.num_within_clips,
        "exact_duplicates": exact[:LISTED],
        "near_duplicates": near[:LISTED],
    }


def _compare_labels(population: Population, described: list[dict]) -> dict:
    """Of `compute_audit`, what the labels of frames that are alike say of each other."""
    contradictions = [p for p in described if p["kind"]]
    doubtful = find_doubtful(population)
    return {
        "num_compared": len(described),
        "num_contradictions": len(contradictions),
        "contradictions": contradictions[:LISTED],
        "doubtful": [population.examples.frames[i] for i in doubtful],
        **_measure_label_noise(described),
    }


def _find_in_other_split(population: Population, other: Examples) -> list[str]:
    examples = population.examples
    shown = Shown(examples.thumbnails, examples.digests, population.groups)
    known = Shown(other.thumbnails, other.digests, other.subjects)
    found = np.flatnonzero(find_known_people(shown, known))
    return [examples.frames[i] for i in found]


def _measure_label_noise(described: list[dict]) -> dict:
    labelled = [p for p in described if p["same_view"] and p["nerves"]]
    columns = ([p[key] for p in labelled] for key in ("view", "dice", "nerves"))
    return compute_label_noise(*columns)


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
        "within_clip": pair.within_clip,
        "dice": dice,
        "nerves": nerves,
        "same_view": same_view,
        "kind": kind,
    }


def _telling(pair: dict) -> tuple[bool, float]:
    """Of two subjects from the most alike, of one from the least alike."""
    own = pair["subjects"][0] == pair["subjects"][1]
    return own, pair["similarity"] if own else -pair["similarity"]


def _count_presence(examples: Examples) -> dict[str, list[int]]:
    subjects = np.array(examples.subjects)
    counts = {}
    for subject in sorted(set(examples.subjects)):
        rows = (subjects == subject) & examples.labelled
        counts[subject] = [int(examples.presence[rows].sum()), int(rows.sum())]
    return counts
