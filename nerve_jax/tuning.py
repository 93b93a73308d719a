"""Hyperparameters by cross-validation: the command `--mode=tune`.

A study of Optuna asks for trials; each trains the chosen folds in a folder of its own
and is worth its out-of-fold Dice. Trials that differ in `scalars.SCALARS` alone run
through one compiled program.
"""

import contextlib
import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import optuna
from ml_collections import ConfigDict
from optuna.trial import Trial, TrialState

from nerve_jax import environment, locks, parallel, study_page, workdirs
from nerve_jax.cross_validation import (
    Data,
    check_config,
    check_labelled,
    check_mixing,
    load_data,
    train_and_report,
)
from nerve_jax.errors import (
    DivergedError,
    InputError,
    RunError,
    first_line,
    is_out_of_memory,
    raise_if_any,
)
from nerve_jax.fold_training import Fold, Task
from nerve_jax.loading import load_examples_from
from nerve_jax.models import Params
from nerve_jax.programs import Programs, create_programs
from nerve_jax.scalars import describe_program
from nerve_jax.segmentation import make_objective
from nerve_jax.space import check_space, suggest
from nerve_jax.workdirs import write_config

TUNING_FIELDS = ("num_trials", "storage", "space")
OPENING_ATTEMPTS, OPENING_SECONDS = 4, 0.5  # of a database
UNPRUNED_TRIALS = 4  # before any is held against the median of the others
GetPrograms = Callable[[ConfigDict], Programs]


def tune(config: ConfigDict, workdir: Path) -> None:
    """Train trials until the study has `config.num_trials`; write the best as a config.

    The same command goes on with a study, and with a trial that was stopped. Several
    may work on one study: on one machine in one folder, on many with a storage that all
    reach; so many more trials than asked for may then be begun.

    Args:
      config: that of a training, with `TUNING_FIELDS`: how many trials; the URL of a
        database, or "" for SQLite in the folder; the ranges of fields (see `space`).
      workdir: its folder, whose name is the study's. Gets trials/, study.html and
        best_config.py.

    Raises:
      InputError: a configuration or data set that does not fit, or is not the study's.
      RunError: training could not go on; a trial that diverges, needs too much memory or
        whose values do not fit together is only noted as failed.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    plain, space = split_config(config)
    mesh = parallel.create_mesh(plain.folds_together)
    check_space(space, plain)
    check_config(plain, mesh)
    check_mixing(plain, mesh)
    data = load_data(load_examples_from(plain, "train"))
    check_labelled(data.examples)
    workdir.mkdir(parents=True, exist_ok=True)
    study = open_study(config.storage, workdir)
    _check_study(study, config, data.examples.fingerprint)
    newest: dict[str, Programs] = {}  # one, for each holds the frames on the devices

    def get_programs(config: ConfigDict) -> Programs:
        key = describe_program(config)
        if key not in newest:
            newest.clear()
            check_config(config, mesh)
            check_mixing(config, mesh)
            newest[key] = create_programs(config, mesh, data.examples, make_objective)
        return newest[key]

    with _naming_database(config):
        while _do_next(study, plain, space, workdir, data, get_programs, config):
            pass


def split_config(config: ConfigDict) -> tuple[ConfigDict, dict[str, tuple]]:
    """The configuration of a training, and the space by dotted field name.

    Raises:
      InputError: fields of tuning are missing.
    """
    missing = [name for name in TUNING_FIELDS if name not in config]
    if missing:
        raise InputError(
            f"--mode=tune needs {', '.join(missing)} in the configuration, as "
            "configs/tune_unet.py has them"
        )
    plain = config.copy_and_resolve_references()
    space = workdirs.flatten(plain.space.to_dict())
    with plain.unlocked():
        for name in TUNING_FIELDS:
            del plain[name]
    return plain, space


def open_study(storage: str, workdir: Path) -> optuna.Study:
    """Open or create the study of a folder.

    Raises:
      InputError: a database that cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage or f"sqlite:///{(workdir / 'study.db').resolve()}"
    for _ in range(OPENING_ATTEMPTS):
        try:
            return optuna.create_study(
                study_name=workdir.resolve().name,
                storage=url,
                direction="maximize",
                load_if_exists=True,
            )
        except Exception as error:  # noqa: BLE001  # each database's driver has its own
            problem = error
        time.sleep(OPENING_SECONDS)  # another machine may just be making its tables
    raise InputError(
        f"storage={_hide_password(url)}: no study there ({first_line(problem)}). Name a "
        "database that can be reached, such as postgresql+psycopg://USER@HOST/NAME (with "
        'psycopg installed), or "" for a file in the folder'
    ) from problem


@contextlib.contextmanager
def _naming_database(config: ConfigDict) -> Iterator[None]:
    """Say in a line where the database has gone."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise RunError(
            f"storage={_hide_password(config.storage) or 'study.db'}: "
            f"{first_line(error)}. What was trained is kept: when the database is back, "
            "the same command goes on"
        ) from error


def _hide_password(url: str) -> str:
    """The URL of a database without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _check_study(study: optuna.Study, config: ConfigDict, fingerprint: str) -> None:
    """Note what a new study is of; of one that goes on, check it."""
    of = {"fingerprint": fingerprint, "code": environment.describe_code()}
    now = workdirs.to_plain(config) | of | {"storage": ""}  # it may hold a password
    before = study.user_attrs.get("of")
    if before is None:
        study.set_user_attr("of", now)
        return
    free = {*workdirs.FREE_FIELDS, "num_trials", "storage"} - {"folds"}
    raise_if_any(
        workdirs.list_differences(before, now, tuple(free)),
        f"the study {study.study_name} is of another configuration, data set or code",
        "Name another folder (--workdir) or set these back.",
    )


def _trial_dir(workdir: Path, number: int) -> Path:
    return workdir / "trials" / f"trial_{number:04d}"


@contextlib.contextmanager
def _take_trial(
    study: optuna.Study, workdir: Path, config: ConfigDict
) -> Iterator[Trial | None]:
    """Hold one that was stopped, else a new one; None when there are enough."""
    with contextlib.ExitStack() as stack:
        with locks.hold(workdir / "study.lock", wait=True):
            trial = _choose_trial(study, workdir, config)
            if trial is not None:
                directory = _trial_dir(workdir, trial.number)
                directory.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locks.hold(directory / "lock"))
        yield trial


def _choose_trial(
    study: optuna.Study, workdir: Path, config: ConfigDict
) -> Trial | None:
    # Who holds a trial tells what came of it first: so locks are looked at before states.
    held = {
        path.parent for path in workdir.glob("trials/*/lock") if locks.is_held(path)
    }
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        directory = _trial_dir(workdir, frozen.number)
        own = directory.exists() or not config.storage
        if own and directory not in held:
            return Trial(study, frozen._trial_id)
    enough = len(study.get_trials(deepcopy=False)) >= config.num_trials
    return None if enough else study.ask()


def _do_next(
    study, plain, space, workdir: Path, data: Data, get_programs, config
) -> bool:
    """Run the next trial and write what the study has come to; False when it is over."""
    with _take_trial(study, workdir, config) as trial:
        if trial is not None:
            _run_trial(study, trial, plain, space, workdir, data, get_programs)
        write_study(study, plain, space, workdir)
    return trial is not None


def _run_trial(
    study: optuna.Study,
    trial: Trial,
    plain: ConfigDict,
    space: dict[str, tuple],
    workdir: Path,
    data: Data,
    get_programs: GetPrograms,
) -> None:
    """Train one trial and tell the study what it is worth."""
    # A sampler of its own, so that what is tried follows from the trials before alone.
    seed = np.random.SeedSequence([plain.seed, trial.number]).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
    config = set_fields(plain, suggest(trial, space))
    shown = ", ".join(f"{n}={study_page.show(v)}" for n, v in trial.params.items())
    print(f"trial {trial.number}: {shown}", flush=True)
    directory = _trial_dir(workdir, trial.number)
    if (workdir / "splits.json").exists():
        shutil.copy(workdir / "splits.json", directory)
    with _telling_failure(study, trial):
        content = train_and_report(
            config,
            directory,
            data,
            get_programs(config),
            time.perf_counter(),
            change_task=lambda task: _prune_by(trial, config, task),
        )
        study.tell(trial, content["dice"])
        return
    values = study.trials[trial.number].intermediate_values
    medians = {step: _find_median(trial, step) for step in values}
    study_page.write_trial(study, trial.number, medians, directory)


@contextlib.contextmanager
def _telling_failure(study: optuna.Study, trial: Trial) -> Iterator[None]:
    """Tell the study of a trial that was cut short for what it is, and go on."""
    try:
        yield
    except optuna.TrialPruned:
        print(f"trial {trial.number} is behind the median of the others: given up")
        study.tell(trial, state=TrialState.PRUNED)
    except (DivergedError, InputError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not is_out_of_memory(
            error
        ):
            raise
        print(f"trial {trial.number} failed: {error}")
        trial.set_user_attr("problem", first_line(error))
        study.tell(trial, state=TrialState.FAIL)


def _prune_by(trial: Trial, config: ConfigDict, task: Task) -> Task:
    """The task that reports each validation score and gives up a trial that is behind.

    What is reported is the mean over the folds scored so far; they count one after
    another.
    """
    latest: dict[str, float] = dict(trial.user_attrs.get("dice_by_fold", {}))
    last = config.num_train_steps * len(config.folds)

    def score(fold: Fold, step: int, params: Params) -> dict[str, float]:
        scores = task.score(fold, step, params)
        latest[str(fold.number)] = scores[task.measure]
        trial.set_user_attr("dice_by_fold", latest)
        place = list(config.folds).index(fold.number)
        reached = place * config.num_train_steps + step
        value = sum(latest.values()) / len(latest)
        trial.report(value, reached)
        median = _find_median(trial, reached)
        if reached < last and median is not None and value < median:
            problem = f"below {median:.4f}, the median of the others"
            trial.set_user_attr("problem", problem)
            raise optuna.TrialPruned
        return scores

    return task._replace(score=score)


def _find_median(trial: Trial, reached: int) -> float | None:
    """The median of the other ended trials when they stood there; None if few did.

    Not Optuna's own median rule, which holds a trial's best value so far against it: the
    mean falls where another fold begins.
    """
    ended = trial.study.get_trials(
        deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
    )
    others = [
        other.intermediate_values[reached]
        for other in ended
        if other.number != trial.number and reached in other.intermediate_values
    ]
    return statistics.median(others) if len(others) >= UNPRUNED_TRIALS else None


def set_fields(config: ConfigDict, values: dict) -> ConfigDict:
    """A copy of a configuration with fields, by dotted name, set anew."""
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(values)
    return changed


def write_study(
    study: optuna.Study, plain: ConfigDict, space: dict[str, tuple], workdir: Path
) -> None:
    """Write study.html and, once a trial is whole, best_config.py; say so."""
    study_page.write_page(study, workdir)
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return
    best = max(done, key=lambda trial: trial.value)
    config = set_fields(plain, suggest(optuna.trial.FixedTrial(best.params), space))
    write_config(
        workdir / "best_config.py",
        config,
        f"Trial {best.number} of {len(study.trials)} of the study {study.study_name}: "
        f"out-of-fold Dice {best.value:.4f},\nthe best of those tried and so chosen by "
        "the folds that it is scored on.",
    )
