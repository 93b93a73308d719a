"""The pages of a study, and of its trials that were pruned or failed."""

from pathlib import Path

import optuna
from optuna.trial import TrialState

from nerve_jax.reports import html, plots
from nerve_jax.runs.study import trial_dir
from nerve_jax.system.files import write_whole

FEWEST_FOR_IMPORTANCE = 4  # complete trials; fewer say nothing


def write_page(study: optuna.Study, workdir: Path) -> None:
    """Write study.html: history, importances, parallel coordinates, one row per trial."""
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    ranked = sorted(complete, key=lambda trial: -trial.value)
    names = sorted({name for trial in trials for name in trial.params})
    page = html.render(
        "study.html",
        title=f"Study {study.study_name}",
        best=ranked[0] if ranked else None,
        counts={
            state.name.lower(): sum(trial.state == state for trial in trials)
            for state in TrialState
        },
        names=names,
        rows=[_describe(trial, workdir) for trial in [*ranked, *_rest(trials)]],
        plots=_draw(study, trials, complete, names),
        **_describe_study(study),
    )
    write_whole(workdir / "study.html", page)


def write_trial(
    study: optuna.Study,
    number: int,
    medians: dict[int, float | None],
    directory: Path,
) -> None:
    """Write report.html of a trial that was pruned or failed: why, and its last score.

    Args:
      study: that it is of.
      number: of the trial.
      medians: by step that it reported at, of the trials it was held against; None where
        they were too few.
      directory: of the trial.
    """
    trial = study.trials[number]
    values = trial.intermediate_values
    reached = max(values, default=None)
    kind = "Pruned" if trial.state == TrialState.PRUNED else "Failed"
    place = "" if reached is None else f" at step {reached}, Dice {values[reached]:.4f}"
    page = html.render(
        "trial.html",
        title=f"Trial {number} of {study.study_name}",
        why=f"{kind}{place}: {trial.user_attrs['problem']}.",
        params={name: show(value) for name, value in trial.params.items()},
        plot=html.plot_uri(plots.plot_standing(values, medians)) if values else None,
        **_describe_study(study),
    )
    write_whole(directory / "report.html", page)


def _describe_study(study: optuna.Study) -> dict:
    """What all of its trials share."""
    of = study.user_attrs["of"]
    return {
        "dataset": of["fingerprint"],
        "folds": of["folds"],
        "num_train_steps": of["num_train_steps"],
    }


def _rest(trials) -> list:
    """Trials that are not complete, newest first."""
    return [t for t in reversed(trials) if t.state != TrialState.COMPLETE]


def _describe(trial, workdir: Path) -> dict:
    report = trial_dir(workdir, trial.number) / "report.html"
    reached = max(trial.intermediate_values, default=None)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "last": trial.intermediate_values.get(reached),
        "reached": reached,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "params": {name: show(value) for name, value in trial.params.items()},
        "problem": trial.user_attrs.get("problem", ""),
        "report": str(report.relative_to(workdir)) if report.exists() else None,
    }


def show(value) -> str:
    """A value that was tried, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _draw(study, trials, complete, names: list[str]) -> dict[str, str]:
    """Plots by name, those that there is something to show in."""
    drawn = {}
    pruned = [t for t in trials if t.state == TrialState.PRUNED and t.value is not None]
    if complete:
        drawn["history"] = plots.plot_history(
            [(trial.number, trial.value) for trial in complete],
            [(trial.number, trial.value) for trial in pruned],
        )
    differ = len({trial.value for trial in complete}) > 1
    if differ and len(complete) >= FEWEST_FOR_IMPORTANCE:
        drawn["importances"] = plots.plot_bars(
            _find_importances(study), "share of the differences explained"
        )
        shared = [trial for trial in complete if set(names) <= trial.params.keys()]
        columns = {name: [trial.params[name] for trial in shared] for name in names}
        logs = {n for n in names if getattr(shared[0].distributions[n], "log", False)}
        drawn["parallel"] = plots.plot_parallel(
            columns, [trial.value for trial in shared], logs
        )
    return {name: html.plot_uri(svg) for name, svg in drawn.items()}


def _find_importances(study: optuna.Study) -> dict[str, float]:
    """Share of the variance of Dice that each field explains (fANOVA), largest first."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
