"""All finished folds of a run in one report: report.json, and report.html for people."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population, find_doubtful
from nerve_jax.data.splits import find_torn
from nerve_jax.reports.audit import compute_audit
from nerve_jax.reports.pictures import draw_scored
from nerve_jax.reports.report_page import render_report
from nerve_jax.reports.tables import summarise_folds
from nerve_jax.runs import folder, identity, out_of_fold
from nerve_jax.runs.log import MetricsLog
from nerve_jax.runs.out_of_fold import Decided
from nerve_jax.runs.score_table import read_scores, write_scores
from nerve_jax.scoring.calibration import (
    Reliability,
    compute_calibration_error,
    compute_reliability,
)
from nerve_jax.scoring.metrics import compute_presence
from nerve_jax.scoring.scores import Scored, score_frames
from nerve_jax.scoring.summary import compute_summary, summarise
from nerve_jax.system import environment, workers
from nerve_jax.system.files import Path, read_json, write_json, write_png, write_whole


def write_report(
    workdir: Path,
    config: dict,
    population: Population,
    *,
    rule: str,
    threshold: float,
) -> dict:
    """Decide, score and pool all finished folds; write report.json and report.html.

    Args:
      workdir: of the run.
      config: plain values of its configuration, to be shown.
      population: its data set.
      rule: how masks are decided, one of `decide.KINDS`.
      threshold: the plain one.

    Returns:
      The content of report.json.
    """
    examples = population.examples
    decided = out_of_fold.decide_folds(
        workdir, population, "", kind=rule, threshold=threshold
    )
    scored = _score(workdir, population, decided, threshold)
    audit = compute_audit(population)
    pixels = out_of_fold.measure_reliability(decided.evidence, decided.rules)
    presence = _measure_presence(scored)
    content = {
        **compute_summary(scored, fitted=rule == "fitted"),
        "decision": {
            "rule": rule,
            "tried": [row._asdict() for row in decided.tried],
        },
        **_measure_calibration(list(pixels.values()), presence),
        **_describe_folds(workdir, list(decided.predictions)),
        "torn_subjects": _find_torn(workdir, examples.frames, population.groups),
        "torn_scanners": _find_torn(workdir, examples.frames, examples.scanners),
        "one_frame_a_subject": audit["one_frame_a_subject"],
        "audit": _count_findings(audit),
        "dataset": examples.fingerprint,
        "config": config,
        "forced": identity.read_forced(workdir),
        **environment.describe(),
    }
    write_json(workdir / "report.json", content)
    page = render_report(
        f"{workdir.resolve().name}: {examples.fingerprint}",
        content,
        scored,
        audit,
        examples,
        _make_mask_of(examples, decided),
        curves=MetricsLog(workdir).read(),
        reliability=pixels,
        of_presence=presence,
    )
    write_whole(workdir / "report.html", page)
    return content


def _score(
    workdir: Path, population: Population, decided: Decided, threshold: float
) -> Scored:
    """Write scores.csv and examples.png of every fold; return all scores, as read."""
    doubtful = set(find_doubtful(population).tolist())
    num_frames = sum(map(len, decided.rules.values()))
    with workers.spread_out(num_frames, "scores frames") as spread:
        for fold, predicted in decided.predictions.items():
            directory = folder.fold_dir(workdir, fold)
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
    return read_scores(_list_tables(workdir, list(decided.predictions)))


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


def _list_tables(workdir: Path, folds: list[int]) -> list[Path]:
    return [folder.fold_dir(workdir, fold) / "scores.csv" for fold in folds]


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


def _find_torn(workdir: Path, frames: Sequence[str], names: Sequence[str]) -> list[str]:
    """Subjects, or scanners, that any finished fold both trained on and scored.

    Args:
      workdir: of the run.
      frames: ids of the data set.
      names: the subject, or the scanner, of each.
    """
    name_of = dict(zip(frames, names, strict=True))
    return sorted(
        {
            name
            for fold in folder.finished_folds(workdir)
            for name in find_torn(folder.load_split(workdir, fold), name_of)
        }
    )


def _describe_folds(workdir: Path, folds: list[int]) -> dict:
    """Scores of each finished fold, over them, and the time they took."""
    tables = _list_tables(workdir, folds)
    summaries = [read_json(path.parent / folder.SUMMARY) for path in tables]
    rows = [
        {
            "fold": fold,
            **summarise(read_scores([path])),
            "decision": read_json(path.parent / "decision.json"),
            **summary,
        }
        for fold, path, summary in zip(folds, tables, summaries, strict=True)
    ]
    train_seconds = sum(s["train_seconds"] for s in summaries)
    num_images = sum(s["num_train_steps"] * s["batch_size"] for s in summaries)
    return {
        "folds": [row["fold"] for row in rows],
        "num_folds": len(read_json(workdir / "splits.json")),
        "by_fold": rows,
        "over_folds": summarise_folds(rows),
        "train_seconds": train_seconds,
        "images_per_second": num_images / train_seconds,
        "wall_seconds": sum(s["wall_seconds"] for s in summaries),
    }


def _count_findings(audit: dict) -> dict:
    """An audit in numbers; the lists are in audit.json, by --mode=audit."""
    whole = {
        key: value
        for key, value in audit.items()
        if key not in ("presence_by_subject", "sizes", "in_other_splits")
    }
    listed = {
        key: audit.get(
            f"num_{key}", len(value)
        )  # of long lists the first ones are there
        for key, value in whole.items()
        if isinstance(value, list) and key != "shared_subjects"
    }
    counted = {f"num_{key}" for key in listed}
    return {key: value for key, value in (whole | listed).items() if key not in counted}
