"""The page of an audit: its findings with the frames side by side."""

from collections import Counter

from nerve_jax.data.examples import Examples
from nerve_jax.reports.audit import count_not_listed, list_across
from nerve_jax.reports.html import picture_uri, render

PAIRS_SHOWN = 12  # of a kind


def render_audit(content: dict, examples: Examples) -> str:
    """The page of an audit: its findings with the frames side by side."""
    return render(
        "audit.html",
        title=f"Audit of {examples.fingerprint}",
        audit=content,
        pictures=picture_findings(content, examples, PAIRS_SHOWN),
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
    where = {frame: i for i, frame in enumerate(examples.frames)}

    def picture(frame: str) -> str:
        place = where[frame]
        return picture_uri(examples.original(place), truth=examples.truth(place))

    return {
        **{
            kind: [
                pair | {"pictures": [picture(f) for f in pair["frames"]]}
                for pair in pairs[:count]
            ]
            for kind, pairs in kinds.items()
        },
        "odd": [
            entry | {"picture": picture(entry["frame"])}
            for entry in _one_a_subject_first(odd, where, examples)[:count]
        ],
        "counts": {
            "contradictions": content["num_contradictions"],
            "across": content["num_across_subjects"],
            "exact": content["num_exact_duplicates"],
            "near": content["num_near_duplicates"],
            "odd": len(odd),
            "not_listed": count_not_listed(content),
        },
    }


def _one_a_subject_first(entries, where, examples) -> list[dict]:
    """Entries in such order that subjects take turns."""
    turns: Counter = Counter()
    ranked = []
    for entry in entries:
        subject = examples.subjects[where[entry["frame"]]]
        ranked.append((turns[subject], entry))
        turns[subject] += 1
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _most_alike(pair: dict) -> float:
    return -pair["similarity"]
