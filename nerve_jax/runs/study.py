"""A study of trials in a database: opening it, and whose turn it is."""

import contextlib
import hashlib
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.trial import Trial, TrialState

from nerve_jax.runs.differences import PLACES, find_differences, show_differences
from nerve_jax.runs.identity import find_harmless
from nerve_jax.system import environment, locks
from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError, RunError, first_line, raise_if_any

# What may differ when a study goes on.
FREE = (*PLACES, "tuning.num_trials", "tuning.storage")
OPENING_ATTEMPTS, OPENING_SECONDS = 4, 0.5  # of a database
UNPRUNED_TRIALS = 4  # before any is held against the median of the others


def open_study(storage: str, workdir: Path) -> optuna.Study:
    """Open or create the study of a folder.

    Raises:
      InputError: a database that cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Quoted, for Optuna takes braces in a URL, and SQLAlchemy a % or ?, for its own.
    url = storage or f"sqlite:///{quote(str((workdir / 'study.db').resolve()))}"
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
        f"tuning.storage={_hide_password(url)}: no study there ({first_line(problem)}). Name a "
        "database that can be reached, such as postgresql+psycopg://USER@HOST/NAME (with "
        'psycopg installed), or "" for a file in the folder'
    ) from problem


@contextlib.contextmanager
def naming_database(storage: str) -> Iterator[None]:
    """Say in a line where the database has gone."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise RunError(
            f"tuning.storage={_hide_password(storage) or 'study.db'}: "
            f"{first_line(error)}. What was trained is kept: when the database is back, "
            "the same command goes on"
        ) from error


def _hide_password(url: str) -> str:
    """The URL of a database without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def check_study(
    study: optuna.Study, config: dict, fingerprint: str, workdir: Path
) -> None:
    """Note what a new study is of; of one that goes on, check it.

    Args:
      study: of `open_study`.
      config: plain values of its configuration.
      fingerprint: of its data set.
      workdir: its folder.

    Raises:
      InputError: it is of another configuration, data set, folds or code.
    """
    own_splits = workdir / "splits.json"
    now = config | {
        "fingerprint": fingerprint,
        "code": environment.describe_code(),
        "splits.json": _digest(own_splits) if own_splits.exists() else "",
        "tuning": config["tuning"] | {"storage": ""},  # it may hold a password
    }
    with locks.hold(workdir / "study.lock", wait=True):
        if "of" not in study.user_attrs:
            study.set_user_attr("of", now)
    found = find_differences(study.user_attrs["of"], now, FREE)
    code = {name: values for name, values in found.items() if name.startswith("code.")}
    noted = {name: code[name] for name in find_harmless(code)}
    if noted:
        say(f"trials differ in rounding: {'; '.join(show_differences(noted))}")
    changing = {name: found[name] for name in found if name not in noted}
    raise_if_any(
        show_differences(changing),
        f"the study {study.study_name} is of another configuration, data set or code",
        "Name another folder (--workdir) or set these back.",
    )


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()


def trial_dir(workdir: Path, number: int) -> Path:
    """Folder of a trial."""
    return workdir / "trials" / f"trial_{number:04d}"


@contextlib.contextmanager
def take_trial(
    study: optuna.Study, workdir: Path, *, num_trials: int, storage: str
) -> Iterator[Trial | None]:
    """Hold a trial that was stopped, else a new one; None when there are `num_trials`.

    With a `storage` that other machines share, a stopped trial is held only by the one
    that has its folder.
    """
    with contextlib.ExitStack() as stack:
        with locks.hold(workdir / "study.lock", wait=True):
            trial = _choose_trial(study, workdir, num_trials, storage)
            if trial is not None:
                directory = trial_dir(workdir, trial.number)
                directory.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locks.hold(directory / "lock"))
        yield trial


def _choose_trial(
    study: optuna.Study, workdir: Path, num_trials: int, storage: str
) -> Trial | None:
    # Who holds a trial records its end first: so locks are looked at before states.
    held = {
        path.parent for path in workdir.glob("trials/*/lock") if locks.is_held(path)
    }
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        directory = trial_dir(workdir, frozen.number)
        own = directory.exists() or not storage
        if own and directory not in held:
            return Trial(study, frozen._trial_id)
    enough = len(study.get_trials(deepcopy=False)) >= num_trials
    return None if enough else study.ask()


def find_median(trial: Trial, reached: int) -> float | None:
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


def check_done(study: optuna.Study) -> None:
    """Say which trials are still being trained; raise `RunError` where none is complete."""
    trials = study.get_trials(deepcopy=False)
    running = [str(t.number) for t in trials if t.state == TrialState.RUNNING]
    if running:
        say(
            f"trials {', '.join(running)} are begun and not ended: by others who are at "
            "it, or who stopped; minutes after the last sign of theirs the same command "
            "goes on with what was begun in this folder"
        )
    elif not any(t.state == TrialState.COMPLETE for t in trials):
        raise RunError(
            f"none of {len(trials)} trials of {study.study_name} was trained to its end; "
            "study.html says why. Raise --config.tuning.num_trials once that is mended"
        )
