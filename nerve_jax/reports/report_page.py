"""The page of a run: all that a reader needs to believe its numbers, or not to."""

from collections.abc import Callable, Sequence

import numpy as np

from nerve_jax.data.examples import Examples
from nerve_jax.reports import html, plots
from nerve_jax.reports.audit_page import picture_findings
from nerve_jax.reports.tables import (
    BY_FOLD,
    BY_SCANNER,
    HEADLINE,
    list_headline,
    list_scanners,
)
from nerve_jax.runs.differences import flatten
from nerve_jax.scoring.calibration import Reliability
from nerve_jax.scoring.fitting import FEWEST_PEOPLE
from nerve_jax.scoring.metrics import compute_dice, compute_presence, empty_counts
from nerve_jax.scoring.scores import Scored

PAIRS_SHOWN = 4  # of a kind, of what the audit found
FRAMES_SHOWN = 3  # of the best, of the median, of the worst
FACTS = ("dataset", "time", "commit", "device", "num_devices", "machine", "python")


def render_report(
    title: str,
    content: dict,
    scored: Scored,
    audit: dict,
    examples: Examples,
    mask_of: Callable[[str], np.ndarray],
    *,
    curves: Sequence[dict],
    reliability: dict[str, Reliability],
    of_presence: Reliability,
) -> str:
    """Render report.html.

    Args:
      title: of the page.
      content: of report.json.
      scored: the frames of all finished folds.
      audit: the whole audit of the data set.
      examples: the data set.
      mask_of: the decided mask of a frame, by its id.
      curves: rows of metrics.jsonl.
      reliability: of pixels, by name.
      of_presence: the reliability of presence.
    """
    cleaned = {key: value for key, _, value, *_ in list_headline(content["cleaned"])}
    return html.render(
        "report.html",
        title=title,
        report=content,
        headline=[
            (*row, cleaned.get(key, "–")) for key, *row in list_headline(content)
        ],
        by_fold={key: HEADLINE[key] for key in BY_FOLD},
        scanner_columns=BY_SCANNER,
        scanners=list_scanners(content["by_scanner"]),
        plots=_draw_plots(scored, curves, reliability, of_presence),
        frames=_draw_frames(scored, examples, mask_of),
        audit=audit,
        pictures=picture_findings(audit, examples, PAIRS_SHOWN),
        fewest_people=FEWEST_PEOPLE,
        config=flatten(content["config"]),
        facts={name.replace("_", " "): content[name] for name in FACTS}
        | content["packages"],
    )


def _draw_plots(scored: Scored, curves, reliability, of_presence) -> dict[str, str]:
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
        "loss": plots.plot_curves(curves, "loss", "training loss"),
        "dice": plots.plot_curves(curves, "dice", "validation Dice at the threshold"),
        "pixels": plots.plot_reliability(reliability, "pixels"),
        "presence": plots.plot_reliability({"": of_presence}, "presence"),
        "area": plots.plot_dice_against_area(dice, area, present),
        "subjects": plots.plot_distribution(*means),
    }
    return {name: html.plot_uri(svg) for name, svg in drawn.items()}


def _draw_frames(scored: Scored, examples: Examples, mask_of) -> dict[str, list[dict]]:
    """Frames with a nerve from the best, the median and the worst; false alarms."""
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
        masks = {"truth": examples.truth(position), "prediction": mask_of(frame)}
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
