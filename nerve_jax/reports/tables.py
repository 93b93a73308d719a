"""Tables of scores, as a terminal and a page show them."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from nerve_jax.data.listing import count_of
from nerve_jax.data.structures import MODEL, NERVE
from nerve_jax.reports.html import show_gain, show_interval, show_number
from nerve_jax.scoring.metrics import compute_mean
from nerve_jax.system.console import create_console, say

HEADLINE = {
    "dice": "Dice",
    "dice_nerve_present": "Dice, nerve present",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "pixel_accuracy": "pixel accuracy",
    "presence_sensitivity": "presence, sensitivity",
    "presence_specificity": "presence, specificity",
    "presence_auroc": "presence, AUROC",
    "surface_dice": "surface Dice, 5 px",
    "hd95_px": "HD95, px",
    "assd_px": "ASSD, px",
}
IN_MILLIMETRES = {
    "surface_dice_1mm": "surface Dice, 1 mm",
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
}
BY_FOLD = ("dice", "dice_nerve_present", "iou", "pixel_accuracy")
BY_READER = ("outlined by", "against", "frames", "Dice", "95 % interval")
BY_READER += ("Dice, where either drew", "95 % interval")
BY_NAME = ("frames", "subjects", "Dice", "95 % interval", "Dice, present")
BY_NAME += ("predicting nothing",)
GAINS = {
    "decision_gain": "Dice gained by the fitted decision on the plain threshold",
    "decision_gain_with_nerve": "  on frames with nerve",
    "decision_gain_without_nerve": "  on frames without",
    "flip_gain": "Dice gained by mirror images",
    "ensemble_gain": "Dice gained by the average over folds on each by itself",
}
COSTS = (
    "  what was learnt of other people costs here, as it may on another scanner's frames; "
    "--config.decision.rule=threshold leaves it out"
)


def name_score(key: str, structure: str) -> str:
    """What a score of `HEADLINE`, `IN_MILLIMETRES` or `GAINS` of a structure is called."""
    name = (HEADLINE | IN_MILLIMETRES | GAINS)[key]
    return name.replace(NERVE, structure)


def summarise_folds(rows: list[dict]) -> dict:
    """Mean and standard deviation of every headline score over folds that have one.

    The deviation is the sample's (n - 1); NaN for a single fold.
    """
    values = {key: np.array([row[key] for row in rows], float) for key in HEADLINE}
    values = {key: found[~np.isnan(found)] for key, found in values.items()}
    return {
        "mean": {key: compute_mean(found) for key, found in values.items()},
        "std": {
            key: float(found.std(ddof=1)) if len(found) > 1 else float("nan")
            for key, found in values.items()
        },
    }


def list_headline(
    scores: dict, structure: str = NERVE
) -> list[tuple[str, str, str, str, str]]:
    """The rows of a headline table: key, name, score, interval, predicting nothing's.

    Distances in millimetres are among them where any frame's spacing is known.

    Args:
      scores: of `compute_summary`, or the like.
      structure: whose scores they are.
    """
    known = not np.isnan(scores.get("surface_dice_1mm", np.nan))
    rows = []
    for key in HEADLINE | (IN_MILLIMETRES if known else {}):
        digits = 1 if key.endswith("_px") else 3
        interval = show_interval(
            scores["intervals"].get(key, (np.nan, np.nan)), f".{digits}f"
        )
        baseline = show_number(scores.get(f"{key}_empty_baseline"))
        name = name_score(key, structure)
        rows.append((key, name, show_number(scores[key], digits), interval, baseline))
    return rows


def list_named(by_name: dict[str, dict]) -> list[tuple[str, ...]]:
    """The rows of a table of scanners, or structures: names, and the columns `BY_NAME`.

    Args:
      by_name: scores of each, as of `compute_summary`; one alone gives no row.
    """
    if len(by_name) < 2:
        return []
    return [
        (
            name,
            str(scores["num_frames"]),
            str(scores["num_subjects"]),
            show_number(scores["dice"]),
            show_interval(scores["intervals"]["dice"]),
            show_number(scores["dice_nerve_present"]),
            show_number(scores["dice_empty_baseline"]),
        )
        for name, scores in by_name.items()
    ]


def describe_readers(readers: dict) -> str:
    """Say how well readers agree, and the model with them; `compare_readers` counts it."""
    each = {
        name: "{} ({})".format(
            show_number(readers[name]["dice"]), show_interval(readers[name]["interval"])
        )
        for name in ("between_readers", "with_model")
    }
    difference = readers["difference"]
    return (
        f"two readers of one frame agree with Dice {each['between_readers']}, a reader and "
        f"the model with {each['with_model']}: the model differs from that ceiling by "
        f"{difference['dice']:+.3f} ({show_interval(difference['interval'], '+.3f')}), on "
        f"{count_of(readers['num_frames'], 'frame')} that two readers or more have outlined"
    )


def list_readers(readers: dict) -> list[tuple[str, ...]]:
    """The rows of a table of readers, with the columns `BY_READER`.

    Args:
      readers: of `compare_readers`; {} gives no row, nor does a pair without a frame that
        both have outlined.
    """
    return [
        (
            pair["second"] if pair["second"] == MODEL else pair["first"],
            pair["first"] if pair["second"] == MODEL else pair["second"],
            str(pair["num_frames"]),
            show_number(pair["dice"]),
            show_interval(pair["intervals"]["dice"]),
            show_number(pair["dice_present"]),
            show_interval(pair["intervals"]["dice_present"]),
        )
        for pair in readers.get("pairs", [])
        if pair["num_frames"]
    ]


def print_scores(scores: dict, *, title: str, folds: list[dict] | None = None) -> None:
    """Print headline scores beside what predicting nothing gets.

    And by structure, scanner and fold, and what readers have of each other.

    Args:
      scores: of `compute_summary`, with `by_structure` and, where there are any,
        `readers`; without, of a set with one structure.
      title: above the table.
      folds: scores of each fold, where there is more than one.
    """
    console = create_console()
    say(title)  # a title of the table would be broken at its width
    table = _create_table(("score", "this run", "95 % interval", "predicting nothing"))
    first = next(iter(scores.get("by_structure", {})), NERVE)
    for _, *row in list_headline(scores, first):
        table.add_row(*row)
    console.print(table)
    for key in GAINS:
        if not np.isnan(scores.get(key, np.nan)):
            say(f"{name_score(key, first)}: {show_gain(key, scores)}")
    if scores["intervals"].get("decision_gain", (0, 0))[1] < 0:
        say(COSTS)
    for kind in ("structure", "scanner"):
        if rows := list_named(scores.get(f"by_{kind}", {})):
            say(f"by {kind}")
            # A terminal is narrower than a page.
            table = _create_table((kind, *BY_NAME[:-1]))
            for row in rows:
                table.add_row(*row[:-1])
            console.print(table)
    for structure, readers in scores.get("readers", {}).items():
        say(f"{structure}: {describe_readers(readers)}")
    if folds and len(folds) > 1:
        say("by fold")
        console.print(_fold_table(folds, first))


def _create_table(columns: Sequence[str]) -> Table:
    """A table whose first column holds names, and the others numbers."""
    table = Table()
    for place, name in enumerate(columns):
        whole = len("0.000 to 1.000") if "interval" in name else None
        table.add_column(name, justify="right" if place else "left", min_width=whole)
    return table


def _fold_table(folds: list[dict], structure: str) -> Table:
    table = Table()
    names = [name_score(key, structure) for key in BY_FOLD]
    for name in ("fold", "frames", *names):
        table.add_column(name, justify="right")
    for row in folds:
        cells = (show_number(row[key]) for key in BY_FOLD)
        table.add_row(str(row["fold"]), str(row["num_frames"]), *cells)
    table.add_section()
    for name, values in summarise_folds(folds).items():
        table.add_row(name, "", *(show_number(values[key]) for key in BY_FOLD))
    return table
