"""One structure of a run: decided, scored, held against its readers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from nerve_jax.data import rle
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population, find_doubtful
from nerve_jax.reports.pictures import draw_scored
from nerve_jax.reports.tables import summarise_folds
from nerve_jax.runs import folder, out_of_fold
from nerve_jax.runs.out_of_fold import Decided
from nerve_jax.runs.score_table import read_scores, write_scores
from nerve_jax.scoring.calibration import (
    Reliability,
    compute_calibration_error,
    compute_reliability,
)
from nerve_jax.scoring.metrics import compute_presence
from nerve_jax.scoring.readers import compare_readers
from nerve_jax.scoring.scores import Scored, score_frames
from nerve_jax.scoring.summary import compute_summary, summarise
from nerve_jax.system import workers
from nerve_jax.system.files import Path, read_json, write_png


class Reported(NamedTuple):
    """What a report says of one structure.

    Attributes:
      content: for report.json.
      scored: the frames of all finished folds.
      examples: the data set with this structure's labels.
      mask_of: the decided mask of a frame, by its id.
      readers: of `compare_readers`; {} where there is one reader alone.
      pixels: their reliability, by name.
      presence: its reliability.
    """

    content: dict
    scored: Scored
    examples: Examples
    mask_of: Callable[[str], Bool[np.ndarray, "_ _"]]
    readers: dict
    pixels: dict[str, Reliability]
    presence: Reliability


def report_structure(
    workdir: Path,
    population: Population,
    structure: str,
    *,
    rule: str,
    threshold: float,
) -> Reported | None:
    """Decide and score a structure in all finished folds.

    Writes its decision.json and, for every fold, decision.json, scores.csv and
    examples.png.

    Args:
      workdir: of the run.
      population: its data set.
      structure: one of it.
      rule: how masks are decided, one of `decide.KINDS`.
      threshold: the plain one.

    Returns:
      What it came to; None where no scored frame is labelled for the structure.
    """
    whole = population.examples
    subfolder = folder.find_subfolder(whole.structures, structure)
    population = population._replace(examples=whole.of(structure))
    decided = out_of_fold.decide_folds(
        workdir, population, subfolder, kind=rule, threshold=threshold
    )
    if decided is None:
        return None
    scored = _score(workdir, population, subfolder, decided, threshold)
    mask_of = _make_mask_of(population.examples, decided)
    pixels = out_of_fold.measure_reliability(decided.evidence, decided.rules)
    presence = _measure_presence(scored)
    content = {
        **compute_summary(scored, fitted=rule == "fitted"),
        "decision": {
            "rule": rule,
            "tried": [row._asdict() for row in decided.tried],
        },
        **_measure_calibration(list(pixels.values()), presence),
        **_summarise_folds(workdir, subfolder, list(decided.predictions)),
    }
    readers = compare_with_readers(population.examples, scored, mask_of)
    return Reported(
        content, scored, population.examples, mask_of, readers, pixels, presence
    )


def _score(
    workdir: Path,
    population: Population,
    subfolder: str,
    decided: Decided,
    threshold: float,
) -> Scored:
    """Write scores.csv and examples.png of every fold; return all scores, as read."""
    doubtful = set(find_doubtful(population).tolist())
    num_frames = sum(map(len, decided.rules.values()))
    with workers.spread_out(num_frames, "scores frames") as spread:
        for fold, predicted in decided.predictions.items():
            directory = folder.fold_dir(workdir, fold) / subfolder
            rules = decided.rules[fold]
            scored = score_frames(
                population.examples,
                predicted,
                rules,
                threshold=threshold,
                groups=population.groups,
                doubtful=doubtful,
                spread=spread,
            )
            write_scores(directory / "scores.csv", scored)
            sheet = draw_scored(population.examples, predicted, rules, scored)
            write_png(directory / "examples.png", sheet)
    return read_scores(_list_tables(workdir, subfolder, list(decided.predictions)))


def _list_tables(workdir: Path, subfolder: str, folds: list[int]) -> list[Path]:
    return [folder.fold_dir(workdir, fold) / subfolder / "scores.csv" for fold in folds]


def _summarise_folds(workdir: Path, subfolder: str, folds: list[int]) -> dict:
    """Scores of each fold, and over them."""
    tables = _list_tables(workdir, subfolder, folds)
    rows = [
        {
            "fold": fold,
            **summarise(read_scores([path])),
            "decision": read_json(path.parent / "decision.json"),
        }
        for fold, path in zip(folds, tables, strict=True)
    ]
    return {"by_fold": rows, "over_folds": summarise_folds(rows)}


def _measure_presence(scored: Scored) -> Reliability:
    """The reliability of presence, over all frames."""
    return compute_reliability(
        scored.presence_probs,
        compute_presence(scored.counts).astype(float),
        np.ones(len(scored.counts)),
    )


def _measure_calibration(pixels: list[Reliability], presence: Reliability) -> dict:
    errors = [compute_calibration_error(curve) for curve in pixels]
    return {
        "calibration_error": errors[-1],  # by temperature, where one was fitted
        "calibration_error_before": errors[0],
        "presence_calibration_error": compute_calibration_error(presence),
    }


def _make_mask_of(
    examples: Examples, decided: Decided
) -> Callable[[str], Bool[np.ndarray, "_ _"]]:
    """Return `mask_of(frame)`: the decided mask of a frame, by its id."""
    where = {
        examples.frames[position]: (fold, row)
        for fold, predicted in decided.predictions.items()
        for row, position in enumerate(predicted.positions)
    }

    def mask_of(frame: str):
        fold, row = where[frame]
        return decided.predictions[fold].decide(examples, row, decided.rules[fold][row])

    return mask_of


def compare_with_readers(
    examples: Examples,
    scored: Scored,
    mask_of: Callable[[str], Bool[np.ndarray, "_ _"]],
) -> dict:
    """See `compare_readers`, of all scored frames; {} where there is one reader alone.

    Args:
      examples: with the labels of one structure.
      scored: frames of them.
      mask_of: the decided mask of a frame, by its id.
    """
    (labels,) = examples.labels.values()
    if not labels.readers:
        return {}
    positions = examples.positions(scored.frames)
    return compare_readers(
        labels.choose(positions).readers,
        [rle.encode(mask_of(frame)) for frame in scored.frames],
        examples.sizes[positions],
        scored.groups,
    )
