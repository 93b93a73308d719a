"""Hyperparameters by cross-validation: the command `--mode=tune`.

A study of Optuna asks for trials; each trains the chosen folds in a folder of its own
and is worth its out-of-fold Dice. Trials that differ in `scalars.SCALARS` alone run
through one compiled program.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optuna
from ml_collections import ConfigDict
from optuna.trial import Trial, TrialState

from nerve_jax import parallel, study_page
from nerve_jax.config_files import flatten, write_config
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
    first_line,
    is_out_of_memory,
)
from nerve_jax.fold_training import Fold, Task
from nerve_jax.loading import load_examples_from
from nerve_jax.models import Params
from nerve_jax.programs import Programs, create_programs
from nerve_jax.scalars import describe_program
from nerve_jax.segmentation import make_objective
from nerve_jax.space import check_space, suggest
from nerve_jax.study import (
    check_done,
    check_study,
    find_median,
    naming_database,
    open_study,
    take_trial,
    trial_dir,
)

TUNING_FIELDS = ("num_trials", "storage", "space")


class Search(NamedTuple):
    """What the trials of a study share.

    Attributes:
      config: of a training, whose fields the trials change.
      space: ranges of these fields, by dotted name.
      workdir: of the study.
      data: that all train on.
      get_programs: a trial's configuration -> its programs, those of the last if it can.
    """

    config: ConfigDict
    space: dict[str, tuple]
    workdir: Path
    data: Data
    get_programs: Callable[[ConfigDict], Programs]


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
      RunError: training could not go on, or no trial was whole. One that diverges, needs
        too much memory or whose values do not fit together is only noted as failed; but
        what the first trial is refused for is taken to be wrong with them all.
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
    check_study(study, config, data.examples.fingerprint, workdir)
    newest: dict[str, Programs] = {}  # one, for each holds the frames on the devices

    def get_programs(config: ConfigDict) -> Programs:
        check_config(config, mesh)
        check_mixing(config, mesh)
        key = describe_program(config)
        if key not in newest:
            newest.clear()
            newest[key] = create_programs(config, mesh, data.examples, make_objective)
        return newest[key]

    search = Search(plain, space, workdir, data, get_programs)
    with naming_database(config.storage):
        while _do_next(study, search, config):
            pass
        check_done(study)


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
    space = flatten(plain.space.to_dict())
    with plain.unlocked():
        for name in TUNING_FIELDS:
            del plain[name]
    return plain, space


def _do_next(study: optuna.Study, search: Search, config: ConfigDict) -> bool:
    """Run the next trial and write what the study has come to; False when it is over."""
    with take_trial(study, search.workdir, config) as trial:
        if trial is not None:
            _run_trial(study, trial, search)
        write_study(study, search)
    return trial is not None


def _run_trial(study: optuna.Study, trial: Trial, search: Search) -> None:
    """Train one trial and tell the study what it is worth."""
    # A sampler of its own, so that what is tried follows from the trials before alone.
    entropy = [search.config.seed, trial.number]
    seed = np.random.SeedSequence(entropy).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
    config = set_fields(search.config, suggest(trial, search.space))
    shown = ", ".join(f"{n}={study_page.show(v)}" for n, v in trial.params.items())
    print(f"trial {trial.number}: {shown}", flush=True)
    directory = trial_dir(search.workdir, trial.number)
    if (search.workdir / "splits.json").exists():
        shutil.copy(search.workdir / "splits.json", directory)
    with _telling_failure(study, trial):
        content = train_and_report(
            config,
            directory,
            search.data,
            search.get_programs(config),
            time.perf_counter(),
            change_task=lambda task: _prune_by(trial, config, task),
        )
        study.tell(trial, content["dice"])
        return
    values = study.trials[trial.number].intermediate_values
    medians = {step: find_median(trial, step) for step in values}
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
        if isinstance(error, InputError) and len(study.trials) == 1:
            # Most likely wrong in all of them; once mended, the study begins anew.
            optuna.delete_study(study_name=study.study_name, storage=study._storage)
            raise
        print(f"trial {trial.number} failed: {error}")
        trial.set_user_attr("problem", first_line(error))
        study.tell(trial, state=TrialState.FAIL)


def _prune_by(trial: Trial, config: ConfigDict, task: Task) -> Task:
    """The task that reports each validation score and gives up a trial that is behind.

    What is reported is the mean over the folds scored so far. Steps count on from fold to
    fold, also where these ride together.
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
        median = find_median(trial, reached)
        if reached < last and median is not None and value < median:
            problem = f"below {median:.4f}, the median of the others"
            trial.set_user_attr("problem", problem)
            raise optuna.TrialPruned
        return scores

    return task._replace(score=score)


def set_fields(config: ConfigDict, values: dict) -> ConfigDict:
    """A copy of a configuration with fields, by dotted name, set anew."""
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(values)
    return changed


def write_study(study: optuna.Study, search: Search) -> None:
    """Write study.html and, once a trial is whole, best_config.py."""
    study_page.write_page(study, search.workdir)
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return
    best = max(done, key=lambda trial: trial.value)
    values = suggest(optuna.trial.FixedTrial(best.params), search.space)
    write_config(
        search.workdir / "best_config.py",
        set_fields(search.config, values),
        f"Trial {best.number} of {len(study.trials)} of the study {study.study_name}: "
        f"out-of-fold Dice {best.value:.4f},\nthe best of those tried and so chosen by "
        "the folds that it is scored on.",
    )
