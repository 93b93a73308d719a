"""The page of an audit: its findings with the frames side by side."""

from collections import Counter
from collections.abc import Sequence

from nerve_jax.data.examples import Examples
from nerve_jax.reports.audit import count_not_listed, list_across
from nerve_jax.reports.audit_text import list_structures
from nerve_jax.reports.html import picture_uri, render

PAIRS_SHOWN = 12  # of a kind


def render_audit(content: dict, examples: Examples) -> str:
    """The page of an audit: its findings with the frames side by side."""
    return render(
        "audit.html",
        title=f"Audit of {examples.fingerprint}",
        audit=content,
        pictures=picture_findings(content, examples, PAIRS_SHOWN),
        rows=list_structures(content),
        others={
            name: picture_labels(own, examples.of(name), PAIRS_SHOWN)
            for name, own in content["by_structure"].items()
        },
    )


def picture_findings(content: dict, examples: Examples, count: int) -> dict:
    """Pictures of what an audit found, at most `count` of a kind.

    Returns:
      `contradictions`, `across` (pairs of different subjects), `exact` and `near`: pairs
      with two `pictures`; `odd`: frames with their reasons and a `picture`; `counts`:
      how many there are of each, and `not_listed`, pairs that audit.json lacks.
    """
    exact, near = content["exact_duplicates"], content["near_duplicates"]
    kinds = {
        "contradictions": sorted(content["contradictions"], key=_most_alike),
        "across": sorted(list_across(content), key=_most_alike),
        "exact": exact,
        "near": sorted(near, key=lambda pair: pair["similarity"]),
    }
    odd = content["odd_masks"] + content["odd_sizes"] + content["odd_intensities"]
    return {
        **{
            kind: _picture_pairs(pairs[:count], examples)
            for kind, pairs in kinds.items()
        },
        "odd": _picture_odd(odd, examples, count),
        "counts": {
            "contradictions": content["num_contradictions"],
            "across": content["num_across_subjects"],
            "exact": content["num_exact_duplicates"],
            "near": content["num_near_duplicates"],
            "odd": len(odd),
            "not_listed": count_not_listed(content),
        },
    }


def picture_labels(content: dict, examples: Examples, count: int) -> dict:
    """Of `picture_findings`, `contradictions`, `odd` and their `counts`.

    Args:
      content: of `compute_label_audit`.
      examples: with the labels of that structure.
      count: at most so many of a kind.
    """
    pairs = sorted(content["contradictions"], key=_most_alike)
    return {
        "contradictions": _picture_pairs(pairs[:count], examples),
        "odd": _picture_odd(content["odd_masks"], examples, count),
        "counts": {
            "contradictions": content["num_contradictions"],
            "odd": len(content["odd_masks"]),
        },
    }


def _picture_pairs(pairs: Sequence[dict], examples: Examples) -> list[dict]:
    return [
        pair | {"pictures": [_picture(frame, examples) for frame in pair["frames"]]}
        for pair in pairs
    ]


def _picture_odd(entries: Sequence[dict], examples: Examples, count: int) -> list[dict]:
    return [
        entry | {"picture": _picture(entry["frame"], examples)}
        for entry in _one_a_subject_first(entries, examples)[:count]
    ]


def _picture(frame: str, examples: Examples) -> str:
    place = examples.frames.index(frame)
    return picture_uri(examples.original(place), truth=examples.truth(place))


def _one_a_subject_first(entries: Sequence[dict], examples: Examples) -> list[dict]:
    """Entries in such order that subjects take turns."""
    where = {frame: i for i, frame in enumerate(examples.frames)}
    turns: Counter = Counter()
    ranked = []
    for entry in entries:
        subject = examples.subjects[where[entry["frame"]]]
        ranked.append((turns[subject], entry))
        turns[subject] += 1
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _most_alike(pair: dict) -> float:
    return -pair["similarity"]
