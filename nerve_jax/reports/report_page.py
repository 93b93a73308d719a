"""The page of a run: all that a reader needs to believe its numbers, or not to."""

from collections.abc import Mapping, Sequence

import numpy as np

from nerve_jax.reports import html, plots
from nerve_jax.reports.audit_page import picture_findings
from nerve_jax.reports.structure import Reported
from nerve_jax.reports.tables import (
    BY_FOLD,
    BY_NAME,
    BY_READER,
    describe_readers,
    list_headline,
    list_named,
    list_readers,
    name_score,
)
from nerve_jax.runs.differences import flatten
from nerve_jax.scoring.fitting import FEWEST_PEOPLE
from nerve_jax.scoring.metrics import compute_dice, compute_presence, empty_counts

PAIRS_SHOWN = 4  # of a kind, of what the audit found
FRAMES_SHOWN = 3  # of the best, of the median, of the worst
FACTS = ("dataset", "time", "commit", "device", "num_devices", "machine", "python")


def render_report(
    title: str,
    content: dict,
    reported: Mapping[str, Reported],
    audit: dict,
    *,
    curves: Sequence[dict],
) -> str:
    """Render report.html.

    Args:
      title: of the page.
      content: of report.json.
      reported: each structure by name, the first one first.
      audit: the whole audit of the data set.
      curves: rows of metrics.jsonl.
    """
    first, *others = (_describe(name, one) for name, one in reported.items())
    first["title"] = ""
    examples = next(iter(reported.values())).examples
    of_first = f" of {first['structure']}" * bool(others)
    drawn = {
        "loss": plots.plot_curves(curves, "loss", "training loss"),
        "dice": plots.plot_curves(
            curves, "dice", f"validation Dice{of_first} at the threshold"
        ),
    }
    return html.render(
        "report.html",
        title=title,
        report=content,
        first=first,
        others=others,
        by_fold={key: name_score(key, first["structure"]) for key in BY_FOLD},
        columns=BY_NAME,
        structures=list_named(content["by_structure"]),
        reader_columns=BY_READER,
        curves={name: html.plot_uri(svg) for name, svg in drawn.items()},
        audit=audit,
        pictures=picture_findings(audit, examples, PAIRS_SHOWN),
        fewest_people=FEWEST_PEOPLE,
        threshold=content["config"]["decision"]["threshold"],
        config=flatten(content["config"]),
        facts={name.replace("_", " "): content[name] for name in FACTS}
        | content["packages"],
    )


def _describe(structure: str, one: Reported) -> dict:
    """What the page shows of a structure."""
    content = one.content
    cleaned = list_headline(content["cleaned"], structure)
    cleaned = {key: value for key, _, value, *_ in cleaned}
    return {
        "structure": structure,
        "title": f"{structure.capitalize()}: ",
        "scores": content,
        "headline": [
            (*row, cleaned.get(key, "–"))
            for key, *row in list_headline(content, structure)
        ],
        "scanners": list_named(content["by_scanner"]),
        "readers": list_readers(one.readers),
        "agreement": describe_readers(one.readers) if one.readers else "",
        "plots": _draw_plots(one, structure),
        "frames": _draw_frames(one),
    }


def _draw_plots(one: Reported, structure: str) -> dict[str, str]:
    scored = one.scored
    dice, present = compute_dice(scored.counts), compute_presence(scored.counts)
    baseline = compute_dice(empty_counts(scored.counts))
    area = (scored.counts[:, 0] + scored.counts[:, 2]) / scored.counts.sum(1)
    subjects = np.array(scored.subjects)
    means = [
        np.array(
            [values[subjects == person].mean() for person in sorted(set(subjects))]
        )
        for values in (dice, baseline)
    ]
    drawn = {
        "pixels": plots.plot_reliability(one.pixels, "pixels"),
        "presence": plots.plot_reliability({"": one.presence}, "presence"),
        "subjects": plots.plot_distribution(*means),
    }
    if present.any():
        drawn["area"] = plots.plot_dice_against_area(dice, area, present, structure)
    return {name: html.plot_uri(svg) for name, svg in drawn.items()}


def _draw_frames(one: Reported) -> dict[str, list[dict]]:
    """Frames with the structure, the best, the median and the worst; false alarms."""
    scored, examples = one.scored, one.examples
    dice, present = compute_dice(scored.counts), compute_presence(scored.counts)
    claimed = scored.counts[:, :2].sum(1)
    nerves = np.flatnonzero(present)
    ranked = nerves[np.argsort(-dice[nerves], kind="stable")]
    from_middle = np.argsort(np.abs(np.arange(len(ranked)) - len(ranked) // 2))
    alarms = np.flatnonzero(~present & (claimed > 0))
    orders = {
        "best": ranked,
        "median": ranked[from_middle],
        "worst": ranked[::-1],
        "false alarms, the largest": alarms[np.argsort(-claimed[alarms])],
    }

    def draw(row: int) -> dict:
        frame = scored.frames[row]
        (position,) = examples.positions([frame]).tolist()
        masks = {"truth": examples.truth(position), "prediction": one.mask_of(frame)}
        return {
            "frame": frame,
            "subject": scored.subjects[row],
            "dice": float(dice[row]),
            "picture": html.picture_uri(examples.original(position), **masks),
        }

    return {
        name: [draw(row) for row in choose_first(rows.tolist(), scored.groups)]
        for name, rows in orders.items()
    }


def choose_first(rows: Sequence[int], people: Sequence[str]) -> list[int]:
    """The first `FRAMES_SHOWN` of some frames, of as many people as there are.

    Args:
      rows: of the frames, in order.
      people: the person of every frame, also of those that `rows` leaves out.
    """
    firsts: dict[str, int] = {}
    for row in rows:
        firsts.setdefault(people[row], row)
    others = [row for row in rows if firsts[people[row]] != row]
    return [*firsts.values(), *others][:FRAMES_SHOWN]
