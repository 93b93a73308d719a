"""--mode=tune: hyperparameters by cross-validation.

A study of Optuna asks for trials; each trains the chosen folds in a folder of its own
and is worth its out-of-fold Dice. Trials that differ in scalars alone (see
`training.scalars`) run through one compiled program.
"""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optuna
from jax.sharding import Mesh
from ml_collections import ConfigDict
from optuna.trial import Trial, TrialState

from nerve_jax.commands import setup
from nerve_jax.commands.folds import Training, check_dealt
from nerve_jax.commands.request import Request
from nerve_jax.commands.space import check_space, suggest
from nerve_jax.commands.train import train_and_report
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population, check_labelled, find_people
from nerve_jax.model.unet import Params
from nerve_jax.reports import study as study_page
from nerve_jax.runs.config import set_fields, to_plain, to_tuples, write_config
from nerve_jax.runs.differences import flatten
from nerve_jax.runs.folder import Fold
from nerve_jax.runs.study import (
    check_done,
    check_study,
    find_median,
    naming_database,
    open_study,
    take_trial,
    trial_dir,
)
from nerve_jax.system import clusters, devices
from nerve_jax.system.claims import check_folder, claim
from nerve_jax.system.console import say
from nerve_jax.system.errors import (
    DivergedError,
    InputError,
    first_line,
    is_out_of_memory,
)
from nerve_jax.training.engine import Engine
from nerve_jax.training.scalars import describe_program, read_scalars
from nerve_jax.training.segmentation import Segmentation

FILES = ("study.db*", "study.html", "study.lock", "best_config.py", "trials")


class Search(NamedTuple):
    """What the trials of a study share.

    Attributes:
      config: of a training, whose fields the trials change; names neither a database,
        whose URL may hold a password, nor ranges.
      space: ranges of these fields, by dotted name.
      workdir: of the study.
      population: the data set that all train on.
      get_engine: (a trial's configuration, its task) -> its engine, with the programs of
        the trial before where it can.
    """

    config: ConfigDict
    space: dict[str, tuple]
    workdir: Path
    population: Population
    get_engine: Callable[[ConfigDict, Segmentation], Engine]


def run(request: Request) -> None:
    """Run the command."""
    clusters.check_alone("tune", apart=True)
    workdir = request.local_folder
    setup.prepare_devices(request.config, request.config.folds_together)
    tune(request.config, workdir)


def tune(config: ConfigDict, workdir: Path) -> None:
    """Train trials until there are `tuning.num_trials`; write the best as a config.

    The same command goes on with a study, and with a trial that was stopped. Several
    may work on one study: on one machine in one folder, on many with a storage that all
    reach; so many more trials than asked for may then be begun.

    Args:
      config: that of a training; its section "tuning" says how many trials, the URL of a
        database or "" for SQLite in the folder, and the ranges of fields (see `space`).
      workdir: its folder, whose name is the study's. Gets trials/, study.html and
        best_config.py.

    Raises:
      InputError: a configuration or data set that does not fit, or is not the study's.
      RunError: training could not go on, or no trial was complete. One that diverges, needs
        too much memory or whose values do not fit together is only noted as failed; but
        what the first trial is refused for is taken to be wrong with them all.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    check_folder(workdir, FILES, flag="--workdir")
    tuning = config.tuning
    space = flatten(to_tuples(tuning.space.to_dict()))
    check_space(space, config)
    mesh = devices.create_mesh(config.folds_together)
    _check(config, mesh)
    examples = setup.load_frames(config, "train")
    check_labelled(examples)
    check_dealt(config, workdir)
    claim(workdir, "tune", FILES, flag="--workdir")
    study = open_study(tuning.storage, workdir)
    check_study(study, to_plain(config), examples.fingerprint, workdir)
    plain = set_fields(config, {"tuning.storage": ""})
    plain.tuning.space = ConfigDict()
    get_engine = _make_get_engine(mesh, examples)
    search = Search(plain, space, workdir, find_people(examples), get_engine)
    with naming_database(tuning.storage):
        while _do_next(study, search, tuning.storage):
            pass
        check_done(study)
        if any(trial.state == TrialState.COMPLETE for trial in study.trials):
            best = study.best_trial
            say(
                f"trial {best.number} is the best of {len(study.trials)}, Dice "
                f"{best.value:.4f}; wrote {workdir / 'study.html'} and best_config.py"
            )


def _make_get_engine(
    mesh: Mesh, examples: Examples
) -> Callable[[ConfigDict, Segmentation], Engine]:
    """Return `get_engine` of `Search`."""
    newest: dict[str, Engine] = {}  # one, for each holds the frames on the devices

    def get_engine(config: ConfigDict, task: Segmentation) -> Engine:
        _check(config, mesh)
        key = describe_program(config.to_dict())
        if key not in newest:
            newest.clear()
            newest[key] = setup.create_engine(
                config, mesh, task.loss, setup.create_feed_of(config, mesh, examples)
            )
        return newest[key].with_scalars(read_scalars(config.to_dict()))

    return get_engine


def _check(config: ConfigDict, mesh) -> None:
    setup.check_config(config, mesh)
    setup.check_mixing(config, mesh)


def _do_next(study: optuna.Study, search: Search, storage: str) -> bool:
    """Run the next trial and write what the study has come to; False when it is over."""
    num_trials = search.config.tuning.num_trials
    with take_trial(
        study, search.workdir, num_trials=num_trials, storage=storage
    ) as trial:
        if trial is not None:
            _run_trial(study, trial, search)
        write_study(study, search)
    return trial is not None


def _run_trial(study: optuna.Study, trial: Trial, search: Search) -> None:
    """Train one trial and record in the study what it is worth."""
    # A sampler of its own, so that what is tried follows from the trials before alone.
    entropy = [search.config.seed, trial.number]
    seed = np.random.SeedSequence(entropy).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
    config = set_fields(search.config, suggest(trial, search.space))
    shown = ", ".join(f"{n}={study_page.show(v)}" for n, v in trial.params.items())
    say(f"trial {trial.number}: {shown}")
    directory = trial_dir(search.workdir, trial.number)
    if (search.workdir / "splits.json").exists():
        shutil.copy(search.workdir / "splits.json", directory)
    with _recording_failure(study, trial):
        task = prune_by(
            trial, config, setup.create_segmentation(config, search.population)
        )
        engine = search.get_engine(config, task)
        started = time.perf_counter()
        content = train_and_report(
            Training(config, directory, search.population, task, engine, started)
        )
        study.tell(trial, content["dice"])
        return
    values = study.trials[trial.number].intermediate_values
    medians = {step: find_median(trial, step) for step in values}
    study_page.write_trial(study, trial.number, medians, directory)


@contextlib.contextmanager
def _recording_failure(study: optuna.Study, trial: Trial) -> Iterator[None]:
    """Record a trial that was cut short for what it is, and go on."""
    try:
        yield
    except optuna.TrialPruned:
        say(f"trial {trial.number} is below the median of the others: pruned")
        study.tell(trial, state=TrialState.PRUNED)
    except (DivergedError, InputError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not is_out_of_memory(
            error
        ):
            raise
        if isinstance(error, InputError) and len(study.trials) == 1:
            # Most likely wrong in all of them; once mended, the study begins afresh.
            optuna.delete_study(study_name=study.study_name, storage=study._storage)
            raise
        say(f"trial {trial.number} failed: {error}")
        trial.set_user_attr("problem", first_line(error))
        study.tell(trial, state=TrialState.FAIL)


@dataclasses.dataclass(frozen=True)
class PrunedSegmentation(Segmentation):
    """Segmentation that reports each validation score, and stops a trial that is behind.

    What is reported is the mean over the folds scored so far. Steps count on from fold to
    fold, also where these train together.

    Attributes:
      trial: of the study.
      folds: numbers of all folds that the trial trains.
      num_train_steps: of each fold.
    """

    trial: Trial
    folds: tuple[int, ...]
    num_train_steps: int

    def score(self, predict: Callable, fold: Fold, step: int, params: Params):
        """See `Segmentation.score`; raises `optuna.TrialPruned`."""
        scores = super().score(predict, fold, step, params)
        report_score(self, fold.number, step, scores[self.measure])
        return scores


def prune_by(trial: Trial, config: ConfigDict, task: Segmentation) -> Segmentation:
    """The task of a trial of that configuration, from plain segmentation."""
    return PrunedSegmentation(
        **vars(task),
        trial=trial,
        folds=tuple(config.folds),
        num_train_steps=config.num_train_steps,
    )


def report_score(task: PrunedSegmentation, fold: int, step: int, dice: float) -> None:
    """Report a fold's score; raise `optuna.TrialPruned` where the trial is behind."""
    trial = task.trial
    latest = dict(trial.user_attrs.get("dice_by_fold", {})) | {str(fold): dice}
    trial.set_user_attr("dice_by_fold", latest)
    reached = task.folds.index(fold) * task.num_train_steps + step
    value = sum(latest.values()) / len(latest)
    trial.report(value, reached)
    median = find_median(trial, reached)
    unfinished = reached < task.num_train_steps * len(task.folds)
    if unfinished and median is not None and value < median:
        problem = f"below {median:.4f}, the median of the others"
        trial.set_user_attr("problem", problem)
        raise optuna.TrialPruned


def write_study(study: optuna.Study, search: Search) -> None:
    """Write study.html and, once a trial is complete, best_config.py."""
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
