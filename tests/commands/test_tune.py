import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import optuna
import pytest
from ml_collections import ConfigDict
from optuna.trial import TrialState

from nerve_jax.commands import tune
from nerve_jax.runs import study as trials
from nerve_jax.runs.folder import Fold
from nerve_jax.system.errors import DivergedError, InputError, RunError, StoppedError
from tests.samples import bright_boxes

SPACE = {
    "optimizer": {
        "learning_rate": ("log", 1e-4, 1e-2),
        "weight_decay": ("log", 1e-3, 0.3),
    },
    "loss": {"presence_weight": ("linear", 0.05, 0.5)},
    "augment": {"gamma_fraction": ("linear", 0.1, 0.5)},
}

NO_ENGINE = object.__new__(tune.Engine)  # for trainings that are made up


@pytest.fixture
def tune_config(small_config):
    """Return `create(**fields) -> config` of a study of seconds."""

    def create(**fields):
        config = small_config(**{"tuning.num_trials": 3} | fields)
        config.tuning.space = ConfigDict(SPACE)
        return config

    return create


@pytest.fixture
def no_engine(monkeypatch):
    """Create no engine: the test's own `train_and_report` trains nothing."""
    monkeypatch.setattr(tune.setup, "create_engine", lambda *_: NO_ENGINE)


def judge(trial, config):
    """The task of a trial, whose scores are made up."""
    return tune.PrunedSegmentation(
        apply=len,
        examples=bright_boxes(),
        sections={},
        threshold=0.5,
        begin=lambda fold, params: params,
        trial=trial,
        folds=tuple(config.folds),
        num_train_steps=config.num_train_steps,
    )


def load(path):
    spec = importlib.util.spec_from_file_location("best", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def trials_of(workdir):
    return tune.open_study("", workdir).trials


@pytest.mark.slow
def test_a_study_is_trained_scored_shown_and_its_best_is_a_configuration(
    tune_config, tmp_path
):
    """Two trials that differ in scalars compile one step."""
    compiled = []

    def count(name, seconds, fun_name="", **details):
        if name.endswith("backend_compile_duration") and "step_own" in str(fun_name):
            compiled.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(count)
    workdir = tmp_path / "study"
    config = tune_config(**{"tuning.num_trials": 2}, folds=(0, 1))
    tune.tune(config, workdir)
    assert len(compiled) == 1
    tune.tune(config, workdir)  # has enough
    trials = trials_of(workdir)
    assert len(trials) == 2
    assert len({trial.params["optimizer.learning_rate"] for trial in trials}) == 2
    for trial in trials:
        folder = workdir / "trials" / f"trial_{trial.number:04d}"
        report = json.loads((folder / "report.json").read_text())
        assert trial.value == report["dice"]
        assert report["folds"] == [0, 1]
        for name, value in trial.params.items():
            where, _, leaf = name.rpartition(".")
            assert report["config"][where][leaf] == value
        assert set(trial.intermediate_values) == {2, 4, 6, 8}
    best = max(trials, key=lambda trial: trial.value)
    found = load(workdir / "best_config.py")
    assert found.optimizer.learning_rate == best.params["optimizer.learning_rate"]
    assert found.augment.gamma_fraction == best.params["augment.gamma_fraction"]
    assert not found.tuning.space.to_dict()
    page = (workdir / "study.html").read_text()
    assert "2 trials complete" in page
    assert 'href="trials/trial_0000/report.html"' in page
    with pytest.raises(InputError, match="learning_rate.*before.*now"):
        changed = tune_config(folds=(0, 1), **{"optimizer.learning_rate": 0.5})
        tune.tune(changed, workdir)


def test_a_study_of_folds_that_are_not_dealt_leaves_nothing(tune_config, tmp_path):
    with pytest.raises(InputError, match="there are folds 0 to 1"):
        tune.tune(tune_config(folds=(0, 2)), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("place", "refused"), [(0, True), (1, True), (2, False)])
def test_a_study_goes_on_with_patches_of_packages(
    no_engine, tune_config, tmp_path, monkeypatch, place, refused
):
    monkeypatch.setattr(tune, "train_and_report", lambda *_, **__: {"dice": 0.5})
    monkeypatch.setattr(tune.study_page, "write_page", lambda *_: None)
    tune.tune(tune_config(**{"tuning.num_trials": 1}), tmp_path)
    before = trials.environment.describe_code()
    now = ".".join([*before["jax"].split(".")[:place], "99"])
    code = before | {"jax": now}
    monkeypatch.setattr(trials.environment, "describe_code", lambda: code)
    if refused:
        with pytest.raises(InputError, match="code.jax: "):
            tune.tune(tune_config(**{"tuning.num_trials": 2}), tmp_path)
    else:
        tune.tune(tune_config(**{"tuning.num_trials": 2}), tmp_path)
        assert len(trials_of(tmp_path)) == 2


def test_the_same_seed_tries_the_same_values_however_often_it_was_stopped(
    no_engine, tune_config, tmp_path, monkeypatch
):
    def train(training):
        rate = training.config.optimizer.learning_rate
        return {"dice": 1 - 100 * abs(rate - 3e-3)}

    monkeypatch.setattr(tune, "train_and_report", train)
    monkeypatch.setattr(tune.study_page, "write_page", lambda *_: None)

    def values(name, *counts, seed=0):
        for count in counts:
            tune.tune(
                tune_config(**{"tuning.num_trials": count}, seed=seed), tmp_path / name
            )
        return [trial.params for trial in trials_of(tmp_path / name)]

    whole = values("whole", 14)
    assert values("pieces", 3, 9, 14) == whole
    assert values("other", 14, seed=1) != whole


def test_what_the_first_trial_is_refused_for_ends_the_study_and_can_be_mended(
    no_engine, tune_config, tmp_path, monkeypatch
):
    with pytest.raises(InputError, match="there are folds 0 to 1"):
        tune.tune(tune_config(folds=(0, 7)), tmp_path / "study")
    monkeypatch.setattr(tune, "train_and_report", lambda *_, **__: {"dice": 0.5})
    tune.tune(tune_config(folds=(0,), **{"tuning.num_trials": 1}), tmp_path / "study")
    assert [t.state for t in trials_of(tmp_path / "study")] == [TrialState.COMPLETE]


def test_a_study_of_which_nothing_came_is_an_error(
    no_engine, tune_config, tmp_path, monkeypatch
):
    def train(*_, **__):
        raise DivergedError("step 1: loss nan")

    monkeypatch.setattr(tune, "train_and_report", train)
    with pytest.raises(RunError, match="none of 2 trials of study"):
        tune.tune(tune_config(**{"tuning.num_trials": 2}), tmp_path / "study")
    assert "2 failed" in (tmp_path / "study" / "study.html").read_text()


def test_a_study_is_of_the_same_folds_throughout(
    no_engine, tune_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(tune, "train_and_report", lambda *_, **__: {"dice": 0.5})
    config = tune_config(**{"tuning.num_trials": 1}, folds=(0, 1))
    tune.tune(config, tmp_path / "study")
    with pytest.raises(InputError, match="folds_together: 1 before, 2 now"):
        tune.tune(tune_config(folds=(0, 1), folds_together=2), tmp_path / "study")
    (tmp_path / "study" / "splits.json").write_text("[{}, {}]")
    with pytest.raises(InputError, match=r"splits.json:  before, \w+ now"):
        tune.tune(config, tmp_path / "study")


@pytest.mark.parametrize("name", ["a{1,2}", "%41", "#a", "a b", "ä'\"", "a:b@c"])
def test_a_study_is_found_again_whatever_its_folder_is_called(tmp_path, name):
    (tmp_path / name).mkdir()
    tune.open_study("", tmp_path / name).ask()
    assert len(tune.open_study("", tmp_path / name).trials) == 1
    assert (tmp_path / name / "study.db").exists()


def test_trials_that_others_are_at_are_named(tune_config, tmp_path, capsys):
    study = tune.open_study("", tmp_path)
    study.tell(study.ask(), 0.5)
    study.ask()
    tune.check_done(study)
    assert "trials 1 are begun and not ended" in capsys.readouterr().out


def test_a_trial_that_is_behind_is_given_up_and_one_that_diverges_is_noted(
    no_engine, tune_config, tmp_path, monkeypatch, capsys
):
    config = tune_config(**{"tuning.num_trials": 7}, folds=(0,))
    begun = []

    def train(training):
        number = len(begun)
        begun.append(number)
        fold = Fold(0, training.workdir, *[np.arange(2)] * 3)
        for step in (2, 4):
            training.task.score(len, fold, step, {})
        if number in (1, 6):
            kind = tune.DivergedError if number == 1 else tune.InputError
            raise kind(f"no: {number}")
        return {"dice": 0.9 - 0.1 * number}

    def score(self, predict, fold, step, params):
        return {"dice": 0.9 - 0.1 * ((len(begun) - 1) % 6)}

    monkeypatch.setattr(tune.Segmentation, "score", score)
    monkeypatch.setattr(tune, "train_and_report", train)
    tune.tune(config, tmp_path / "study")
    states = [trial.state for trial in trials_of(tmp_path / "study")]
    whole, failed, pruned = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
    assert states == [whole, failed, whole, whole, whole, pruned, failed]
    page = (tmp_path / "study" / "study.html").read_text()
    assert "4 trials complete, 1 pruned, 2 failed" in page
    assert "pruned at step 2: below 0.6500, the median of the others" in page
    assert "failed at step 4: InputError: no: 6" in page
    pages = [
        path.read_text() if (path := folder / "report.html").exists() else ""
        for folder in sorted((tmp_path / "study" / "trials").iterdir())
    ]
    assert [bool(page) for page in pages] == [s is not whole for s in states]
    assert "Pruned at step 2, Dice 0.4000: below 0.6500, the median" in pages[5]
    assert "Failed at step 4, Dice 0.9000: InputError: no: 6." in pages[6]
    assert 'href="trials/trial_0005/report.html"' in page
    for page in (pages[1], pages[5]):
        assert "<td>optimizer.learning_rate</td>" in page
        assert 'alt="validation Dice where it stood"' in page
    assert "trial 1 failed: no: 1" in capsys.readouterr().out


def test_a_stopped_trial_goes_on_and_is_not_tried_twice(
    no_engine, tune_config, tmp_path, monkeypatch
):
    config = tune_config(**{"tuning.num_trials": 2}, folds=(0,))
    seen = []

    def train(training):
        rate = training.config.optimizer.learning_rate
        seen.append((training.workdir.name, rate))
        if len(seen) == 1:
            raise StoppedError("stopped by SIGTERM", 143)
        return {"dice": 0.5}

    monkeypatch.setattr(tune, "train_and_report", train)
    with pytest.raises(StoppedError):
        tune.tune(config, tmp_path / "study")
    tune.tune(config, tmp_path / "study")
    assert [name for name, _ in seen] == ["trial_0000", "trial_0000", "trial_0001"]
    assert seen[0] == seen[1]
    assert all(t.state == TrialState.COMPLETE for t in trials_of(tmp_path / "study"))


def test_a_trial_is_behind_by_where_it_stands_not_by_what_it_once_had(
    tune_config, tmp_path
):
    """The mean of folds falls where another fold begins, for good ones as for bad."""
    study = tune.open_study("", tmp_path)
    for offset in (0.0, 0.01, 0.02, 0.03):
        other = study.ask()
        for step, value in {4: 0.8, 6: 0.6, 9: 0.6}.items():
            other.report(value + offset, step)
        study.tell(other, 0.8)
    trial = study.ask()
    config = tune_config(folds=(0,), num_train_steps=9)

    def score(trial, values):
        for step, value in values.items():
            tune.report_score(judge(trial, config), 0, step, value)

    score(trial, {4: 0.9, 6: 0.7, 8: 0.1, 9: 0.1})  # none stood at 8; 9 is its end
    with pytest.raises(optuna.TrialPruned):
        score(study.ask(), {4: 0.9, 6: 0.55})


def test_who_works_in_one_folder_takes_trials_of_its_own(tmp_path):
    study = tune.open_study("", tmp_path)
    with (
        tune.take_trial(study, tmp_path, num_trials=2, storage="") as first,
        tune.take_trial(study, tmp_path, num_trials=2, storage="") as second,
        tune.take_trial(study, tmp_path, num_trials=2, storage="") as third,
    ):
        assert (first.number, second.number, third) == (0, 1, None)
        study.tell(first, 0.5)
    with tune.take_trial(study, tmp_path, num_trials=2, storage="") as again:
        assert again.number == 1  # its holder ended without recording anything


def test_the_password_of_a_database_is_not_shown():
    url = "postgresql+psycopg://me:secret@host:5432/name"
    assert trials._hide_password(url) == "postgresql+psycopg://me:***@host:5432/name"
    assert trials._hide_password("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_a_trial_of_several_folds_reports_their_mean_so_far(tune_config, tmp_path):
    study = tune.open_study("", tmp_path)
    trial = study.ask()
    config = tune_config(folds=(1, 0), num_train_steps=4)
    tune.report_score(judge(trial, config), 1, 2, 0.2)
    tune.report_score(judge(trial, config), 1, 4, 0.4)
    # Another process goes on with it: what the first fold scored is in the study.
    again = optuna.trial.Trial(study, trial._trial_id)
    tune.report_score(judge(again, config), 0, 2, 0.8)
    (frozen,) = study.trials
    assert frozen.intermediate_values == pytest.approx({2: 0.2, 4: 0.4, 6: 0.6})


def test_a_configuration_without_a_search_is_refused(small_config, tmp_path):
    with pytest.raises(InputError, match="it names no field"):
        tune.tune(small_config(), tmp_path / "study")


def test_a_database_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="tuning.storage=sqlite:////no/such/study.db"):
        tune.open_study("sqlite:////no/such/study.db", tmp_path)


def test_the_page_of_a_study_draws_what_there_is(tmp_path):
    study = tune.open_study("", tmp_path)
    of = {"fingerprint": "set-1", "folds": [0], "num_train_steps": 4}
    study.set_user_attr("of", of)
    tune.study_page.write_page(study, tmp_path)
    assert "No trial is complete yet" in (tmp_path / "study.html").read_text()
    for value in (0.1, 0.5, 0.3, 0.4, 0.2):
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("loss", ["a", "b"])
        study.tell(trial, value)
    tune.study_page.write_page(study, tmp_path)
    page = (tmp_path / "study.html").read_text()
    for alt in ("Dice of each trial", "importance of each field", "parallel coord"):
        assert f'alt="{alt}' in page
    rows = [page.index(f"<b>{value:.4f}</b>") for value in (0.5, 0.4, 0.3, 0.2, 0.1)]
    assert rows[1:] == sorted(rows[1:])  # best first


@pytest.fixture
def postgres(tmp_path):
    """The URL of a PostgreSQL database, where its server and psycopg are installed."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or os.getuid() != 0:
        pytest.skip("needs PostgreSQL's server, and root to start it as its user")
    folder = Path(tempfile.mkdtemp())
    shutil.chown(folder, "postgres")

    def run(*words):
        # In that user's own name, for the server refuses to be root's.
        command = [str(found[-1].with_name(words[0])), "-D", str(folder / "db")]
        subprocess.run(
            ["runuser", "-u", "postgres", "--", *command, *words[1:]],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    run("initdb", "-A", "trust")
    port = 55_432
    run("pg_ctl", "-w", "-o", f"-p {port} -k {folder}", "start")
    yield f"postgresql+psycopg://postgres@localhost:{port}/postgres"
    run("pg_ctl", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_two_machines_share_a_study_by_a_database(tune_config, tmp_path, postgres):
    """Each in a folder of its own, at the same time; together they do all trials."""
    config = tune_config(
        **{"tuning.num_trials": 4, "tuning.storage": postgres}, folds=(0,)
    )
    (tmp_path / "config.json").write_text(config.to_json())
    script = (
        "import json, pathlib, sys; from absl import flags; flags.FLAGS(['x']);"
        "from nerve_jax.commands import tune;"
        "from nerve_jax.runs.config import to_tuples;"
        "from ml_collections import ConfigDict;"
        "plain = json.loads(pathlib.Path(sys.argv[1]).read_text());"
        "config = ConfigDict(to_tuples(plain));"
        "tune.tune(config, pathlib.Path(sys.argv[2]))"
    )
    machines = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "config.json", folder / "study"],
            stdout=subprocess.DEVNULL,
        )
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert [machine.wait(400) for machine in machines] == [0, 0]
    study = tune.open_study(postgres, tmp_path / "study")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4
    done = [
        {path.name for path in (tmp_path / name / "study" / "trials").iterdir()}
        for name in "ab"
    ]
    assert not done[0] & done[1]
    assert done[0] | done[1] == {f"trial_{number:04d}" for number in range(4)}
    best = [load(tmp_path / n / "study" / "best_config.py") for n in "ab"]
    assert best[0].optimizer == best[1].optimizer


def test_no_password_is_left_in_a_trial_or_the_best_configuration(
    no_engine, tune_config, tmp_path, monkeypatch
):
    url = f"sqlite:///{tmp_path / 'shared.db'}?password=secret"
    seen = []

    def train(training):
        seen.append(training.config.to_json())
        return {"dice": 0.5}

    monkeypatch.setattr(tune, "train_and_report", train)
    config = tune_config(**{"tuning.num_trials": 1, "tuning.storage": url})
    tune.tune(config, tmp_path / "study")
    seen.append((tmp_path / "study" / "best_config.py").read_text())
    assert len(seen) == 2
    assert not any("secret" in text for text in seen)
