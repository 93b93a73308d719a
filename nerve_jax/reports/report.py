"""All finished folds of a run in one report: report.json, and report.html for people."""

import numpy as np

from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population
from nerve_jax.data.splits import find_torn
from nerve_jax.reports.audit import compute_audit
from nerve_jax.reports.pictures import draw_scored
from nerve_jax.reports.report_page import render_report
from nerve_jax.reports.tables import summarise_folds
from nerve_jax.runs import folder, identity, out_of_fold
from nerve_jax.runs.log import MetricsLog
from nerve_jax.runs.score_table import read_scores
from nerve_jax.scoring.calibration import compute_calibration_error, compute_reliability
from nerve_jax.scoring.decide import any_fitted
from nerve_jax.scoring.metrics import compute_presence
from nerve_jax.scoring.summary import compute_summary, summarise
from nerve_jax.system import environment
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
      rule: how masks are decided, a key of `decide.RULES`.
      threshold: the plain one.

    Returns:
      The content of report.json.
    """
    examples, pairs, groups = population
    predictions = out_of_fold.load_predictions(workdir, examples)
    evidence = out_of_fold.gather_evidence(
        examples.masks, examples.presence, predictions
    )
    rules = out_of_fold.fit_rules(
        workdir,
        groups,
        predictions,
        evidence,
        kind=rule,
        threshold=threshold,
    )
    audit = compute_audit(examples, pairs)
    by_fold = out_of_fold.score_folds(
        workdir,
        examples,
        predictions,
        rules,
        threshold=threshold,
        groups=groups,
        doubtful=set(examples.positions(audit["contradicting_empty"]).tolist()),
    )
    for fold, scored in by_fold.items():
        per_frame = [rules[fold]] * len(scored.frames)
        sheet = draw_scored(examples, predictions[fold], per_frame, scored)
        write_png(folder.fold_dir(workdir, fold) / "examples.png", sheet)
    reliability = out_of_fold.measure_reliability(evidence, rules)
    tables = [folder.fold_dir(workdir, f) / "scores.csv" for f in predictions]
    scored = read_scores(tables)
    of_presence = compute_reliability(
        scored.presence_probs,
        compute_presence(scored.counts).astype(float),
        np.ones(len(scored.counts)),
    )
    errors = [compute_calibration_error(curve) for curve in reliability.values()]
    content = {
        **compute_summary(scored, fitted=any_fitted(rules.values())),
        "calibration_error": errors[-1],  # by temperature, where one was fitted
        "calibration_error_before": errors[0],
        "presence_calibration_error": compute_calibration_error(of_presence),
        **_describe_folds(workdir, tables),
        "torn_subjects": _find_torn(workdir, examples, groups, list(predictions)),
        "one_frame_a_subject": audit["one_frame_a_subject"],
        "audit": _count_findings(audit),
        "dataset": examples.fingerprint,
        "config": config,
        "forced": identity.read_forced(workdir),
        **environment.describe(),
    }
    write_json(workdir / "report.json", content)
    where = {
        frame: (fold, row)
        for fold, predicted in predictions.items()
        for row, frame in enumerate(examples.frames[i] for i in predicted.positions)
    }

    def mask_of(frame: str):
        fold, row = where[frame]
        return predictions[fold].decide(examples, row, rules[fold])

    page = render_report(
        f"{workdir.resolve().name}: {examples.fingerprint}",
        content,
        scored,
        audit,
        examples,
        mask_of,
        curves=MetricsLog(workdir).read(),
        reliability=reliability,
        of_presence=of_presence,
    )
    write_whole(workdir / "report.html", page)
    return content


def _find_torn(
    workdir: Path, examples: Examples, groups: list[str], folds: list[int]
) -> list[str]:
    """Subjects that any of the folds both trained on and scored."""
    group_of = dict(zip(examples.frames, groups, strict=True))
    return sorted(
        {
            subject
            for fold in folds
            for subject in find_torn(folder.load_split(workdir, fold), group_of)
        }
    )


def _describe_folds(workdir: Path, tables: list[Path]) -> dict:
    """Scores of each finished fold, over them, and the time they took."""
    summaries = [read_json(path.parent / "summary.json") for path in tables]
    rows = [
        {
            "fold": int(path.parent.name.removeprefix("fold_")),
            **summarise(read_scores([path])),
            "decision": read_json(path.parent / "decision.json"),
            **summary,
        }
        for path, summary in zip(tables, summaries, strict=True)
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
    return {
        key: len(value)
        if isinstance(value, list) and key != "shared_subjects"
        else value
        for key, value in audit.items()
        if key not in ("presence_by_subject", "sizes")
    }
