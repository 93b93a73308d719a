"""All finished folds of a run in one report: report.json, and report.html for people."""

from collections.abc import Sequence

from nerve_jax.data.population import Population
from nerve_jax.data.splits import find_torn
from nerve_jax.reports.audit import compute_audit
from nerve_jax.reports.report_page import render_report
from nerve_jax.reports.structure import report_structure
from nerve_jax.runs import folder, identity
from nerve_jax.runs.log import MetricsLog
from nerve_jax.system import environment
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, read_json, write_json, write_whole


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
      The content of report.json: that of the first structure, `by_structure` of each that
      any scored frame is labelled for, and `readers` of each that several have outlined.

    Raises:
      InputError: no scored frame is labelled for the first structure.
    """
    examples = population.examples
    found = {
        name: report_structure(
            workdir, population, name, rule=rule, threshold=threshold
        )
        for name in examples.structures
    }
    reported = {name: one for name, one in found.items() if one is not None}
    first = examples.structures[0]
    if first not in reported:
        raise make_unscored(workdir, examples.structures)
    audit = compute_audit(population)
    content = {
        **reported[first].content,
        "by_structure": {name: one.content for name, one in reported.items()},
        "readers": {name: one.readers for name, one in reported.items() if one.readers},
        **_describe_folds(workdir, reported[first].content["by_fold"]),
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
        reported,
        audit,
        curves=MetricsLog(workdir).read(),
    )
    write_whole(workdir / "report.html", page)
    return content


def make_unscored(workdir: Path, structures: Sequence[str]) -> InputError:
    """The error of a run that scores no frame of its first structure."""
    return InputError(
        f"{workdir}: no scored frame is labelled for {structures[0]}, the first of "
        f"data.structures={tuple(structures)}: train other folds too, or name one first "
        "that is"
    )


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


def _describe_folds(workdir: Path, rows: Sequence[dict]) -> dict:
    """The rows of all finished folds, and the time that they took."""
    summaries = [
        read_json(folder.fold_dir(workdir, row["fold"]) / folder.SUMMARY)
        for row in rows
    ]
    train_seconds = sum(s["train_seconds"] for s in summaries)
    num_images = sum(s["num_train_steps"] * s["batch_size"] for s in summaries)
    return {
        "folds": [row["fold"] for row in rows],
        "num_folds": len(read_json(workdir / "splits.json")),
        "by_fold": [row | own for row, own in zip(rows, summaries, strict=True)],
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
