"""--mode=train: folds -> out-of-fold predictions -> one report."""

import time
import warnings
from collections.abc import Sequence

from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.folds import Training, check_start, prepare, train_all
from nerve_jax.commands.request import Request
from nerve_jax.data.examples import Examples
from nerve_jax.data.plausible import find_implausible
from nerve_jax.data.population import (
    Population,
    check_labelled,
    find_people,
    leave_out_doubtful,
)
from nerve_jax.reports.report import make_unscored, write_report
from nerve_jax.reports.tables import print_scores
from nerve_jax.runs.config import set_fields, to_plain
from nerve_jax.runs.folder import Fold, finished_folds
from nerve_jax.system import locks, processes
from nerve_jax.system.console import is_first, say
from nerve_jax.system.files import Path

# A report travels: it does not show where on the machine the data lie.
UNSHOWN = {"data.records_dir": "", "data.manual_dir": ""}


def run(request: Request) -> None:
    """Run the command."""
    config = request.config
    setup.prepare_devices(config, config.folds_together, connected=request.connected)
    cross_validate(config, request.folder, force=request.force)


def cross_validate(config: ConfigDict, workdir: Path, *, force: bool = False) -> dict:
    """Train the folds that `config.folds` names, score them, and report on all finished.

    Folds that are finished already are not trained again; one that was interrupted goes
    on from its newest checkpoint. Of several processes (see `processes`) process 0
    writes what is not a checkpoint.

    Args:
      config: of the run.
      workdir: its folder; other runs may train other folds in it at the same time.
      force: go on with another configuration, data set or code than before.

    Returns:
      The content of report.json.

    Raises:
      InputError: a configuration, data set or folder that does not fit.
      RunError: training could not go on.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    started = time.perf_counter()
    mesh = check_start(config, workdir)
    setup.check_mixing(config, mesh)
    examples = processes.take_turns(lambda: setup.load_frames(config, "train"))
    population = find_people(examples)
    check_labelled(examples)
    warn_implausible(examples)
    task = setup.create_segmentation(config, population)
    engine = setup.create_engine(
        config, mesh, task.loss, setup.create_feed_of(config, mesh, examples)
    )
    training = Training(config, workdir, population, task, engine, started)
    return train_and_report(training, force=force)


def warn_implausible(examples: Examples) -> None:
    """Warn, in process 0, of what is hard to believe of a data set as a whole."""
    if is_first():
        for text in find_implausible(examples):
            warnings.warn(text, stacklevel=2)


def train_and_report(training: Training, *, force: bool = False) -> dict:
    """What `cross_validate` does once frames are loaded and the engine is created.

    Args:
      training: segmentation, of a data set that is labelled, at least in part.
      force: see `cross_validate`.
    """
    config, workdir = training.config, training.workdir
    population = training.population
    examples = population.examples
    folds = prepare(training, examples.structures_labelled.any(1), force=force)
    check_scored(workdir, examples, folds)
    if config.data.clean_train:
        folds = [_leave_out_doubtful(fold, population) for fold in folds]
    train_all(training, folds)
    content = processes.share(lambda: _report(workdir, config, population))
    title = f"{workdir}: {examples.fingerprint}, {content['num_frames']} frames"
    print_scores(content, title=title, folds=content["by_fold"])
    say(
        f"wrote {workdir / 'report.html'}, report.json and, in fold_k/, scores.csv with "
        "one row per frame"
    )
    return content


def check_scored(workdir: Path, examples: Examples, folds: Sequence[Fold]) -> None:
    """Raise `InputError` where a report would have no frame of the first structure.

    That of a run with finished folds, which may have one, is left to `write_report`.
    """
    labelled = any(examples.labelled[fold.val].any() for fold in folds)
    if not labelled and not processes.share(lambda: finished_folds(workdir)):
        raise make_unscored(workdir, examples.structures)


def _report(workdir: Path, config: ConfigDict, population: Population) -> dict:
    """Write the report, one run at a time: others may train other folds in the folder."""
    with locks.hold(workdir / "report.lock", wait=True):
        return write_report(
            workdir,
            to_plain(set_fields(config, UNSHOWN)),
            population,
            rule=config.decision.rule,
            threshold=config.decision.threshold,
        )


def _leave_out_doubtful(fold: Fold, population: Population) -> Fold:
    train = leave_out_doubtful(fold.given, population)
    say(
        f"clean_train: {len(fold.given) - len(train)} frames whose label others of the "
        "same view contradict are not trained on"
    )
    return fold._replace(train=train)
