"""Folds of a run: checked and dealt, then trained; shared by --mode=train and pretrain."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.data.duplicates import shared_subjects
from nerve_jax.data.listing import count_of, list_some
from nerve_jax.data.population import Population
from nerve_jax.data.splits import (
    Splits,
    create_splits,
    leave_scanners_out,
    load_or_create_splits,
)
from nerve_jax.runs import folder, identity
from nerve_jax.runs.config import to_plain
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices, locks, processes, signals
from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, read_json
from nerve_jax.system.processes import StopPoint
from nerve_jax.training.engine import Engine
from nerve_jax.training.loop import Steps, train_folds
from nerve_jax.training.progress import RunLog
from nerve_jax.training.task import Task


@dataclasses.dataclass(frozen=True)
class Training:
    """What the folds of a run are trained with.

    Attributes:
      config: of the run.
      workdir: its folder.
      population: its data set.
      task: what is learnt.
      engine: trains it.
      started: `time.perf_counter()` from which wall seconds count.
    """

    config: ConfigDict
    workdir: Path
    population: Population
    task: Task
    engine: Engine
    started: float


def check_start(config: ConfigDict, workdir: Path) -> Mesh:
    """Check what can be checked before frames are loaded; return the mesh to train on.

    Raises:
      InputError: a configuration or folder that does not fit.
    """
    processes.share(lambda: folder.check_folder(workdir))
    mesh = devices.create_mesh(config.folds_together)
    setup.check_config(config, mesh)
    return mesh


def prepare(
    training: Training,
    dealt: Bool[np.ndarray, " frames"],
    *,
    force: bool,
    task: str = folder.SEGMENTATION,
    change_split: Callable[[dict], dict] = lambda split: split,
) -> list[Fold]:
    """Check that the folder fits, write what describes the run; return its folds.

    Args:
      training: of the run.
      dealt: whether each frame is dealt into folds.
      force: go on with another configuration, data set or code than before.
      task: see `identity.check_run`.
      change_split: gives the frames of a fold from those dealt to it.

    Returns:
      Those that `config.folds` names, all given frames of which are trained on.

    Raises:
      InputError: the folder holds a run that this one does not go on from, or another's
        files under the names of a run.
    """
    config, workdir = training.config, training.workdir
    examples, groups = training.population.examples, training.population.groups
    plain = to_plain(config)

    def write() -> Splits:
        check_dealt(config, workdir)
        folder.check_folder(workdir)
        notes = identity.check_run(workdir, plain, examples, task=task, force=force)
        folder.claim(workdir, task)
        dealt_splits = _split(training, np.flatnonzero(dealt))
        splits = [change_split(split) for split in dealt_splits]
        folder.check_splits(workdir, splits)
        identity.save_run(workdir, plain, examples, groups, task=task, notes=notes)
        for number in config.folds:
            folder.save_split(workdir, number, splits[number])
        return splits

    splits = processes.share(write)
    return [_make_fold(training, number, splits[number]) for number in config.folds]


def _make_fold(training: Training, number: int, split: dict[str, list[str]]) -> Fold:
    positions = training.population.examples.positions
    train, val = positions(split["train"]), positions(split["val"])
    directory = folder.fold_dir(training.workdir, number)
    return Fold(number, directory, train, train, val)


def train_all(training: Training, folds: Sequence[Fold]) -> None:
    """Train folds that are not finished, so many at a time as train together.

    Args:
      training: of the run.
      folds: a multiple of `config.folds_together`.

    Raises:
      RunError: training could not go on.
      StoppedError: a signal asked to stop; what was trained is saved.
    """
    together, workdir = training.config.folds_together, training.workdir
    steps = _choose_steps(training)
    for first in range(0, len(folds), together):
        chosen = folds[first : first + together]
        finished = processes.share(lambda: folder.finished_folds(workdir))
        if {fold.number for fold in chosen} <= set(finished):
            continue
        with _noting_saved(chosen), _hold_locks(chosen):
            _train_together(training, chosen, steps)
        training = dataclasses.replace(training, started=time.perf_counter())


def _choose_steps(training: Training) -> Steps:
    """Those of the configuration, in whole calls; says so where that changes them."""
    config, calls = training.config, training.engine.steps_per_call
    asked = Steps(config.num_train_steps, config.eval_every_steps)
    steps = asked.in_whole_calls(calls)
    if steps != asked and asked.eval_every < asked.total:
        say(
            f"eval_every_steps={asked.eval_every} is no multiple of the {calls} steps that "
            f"one call takes: folds are evaluated and saved every {steps.eval_every} steps"
        )
    return steps


def _train_together(training: Training, folds: Sequence[Fold], steps: Steps) -> None:
    """Train folds that train together to their end."""
    config, task, engine = training.config, training.task, training.engine
    signals.wait_for(lambda: engine.compile(*steps))
    log = RunLog(
        training.workdir,
        [fold.number for fold in folds],
        num_train_steps=steps.total,
        batch_size=config.batch_size,
        measure=task.measure,
        started=training.started,
    )
    with log, signals.listen() as stop:
        step = train_folds(
            engine, engine.feed, task, folds, log, steps=steps, stop=StopPoint(stop)
        )
        # Also where these folds are finished, for others may be to come.
        if step < steps.total or processes.agree(bool(stop)):
            saved = [fold.checkpoints for fold in folds]
            raise signals.describe(stop, step, saved)


@contextlib.contextmanager
def _noting_saved(folds: Sequence[Fold]) -> Iterator[None]:
    """Note in an error of the system, or of a signal that ends at once, what is saved."""
    try:
        yield
    except OSError as error:
        if saved := _list_saved(folds):
            error.add_note(
                f"Saved: {saved}; when that is mended, the same command goes on from there"
            )
        raise
    except KeyboardInterrupt as error:
        numbers = ", ".join(str(fold.number) for fold in folds)
        saved = _list_saved(folds)
        error.add_note(
            f"saved: {saved}; the same command goes on from there"
            if saved
            else f"no step of fold {numbers} is saved, the same command starts there from "
            "the beginning"
        )
        raise


def _list_saved(folds: Sequence[Fold]) -> str:
    """The checkpoints of folds; "" where there are none, or no disk to ask."""
    with contextlib.suppress(OSError):
        paths = (path for fold in folds for path in fold.checkpoints.glob("*"))
        return ", ".join(str(path) for path in paths if path.name.isdecimal())
    return ""


@contextlib.contextmanager
def _hold_locks(folds: Sequence[Fold]) -> Iterator[None]:
    """Keep other runs from the folds; process 0 holds the locks for all."""
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            for fold in folds:
                stack.enter_context(locks.hold(fold.lock))

        processes.share(hold)
        yield


def _split(training: Training, dealt: Int[np.ndarray, " dealt"]) -> Splits:
    """Read or create splits.json; subjects that share a view count as one."""
    config, workdir = training.config, training.workdir
    examples, groups = training.population.examples, training.population.groups
    for shared in shared_subjects(examples.subjects, groups):
        shown = ", ".join(shared[:6]) + ", …" * (len(shared) > 6)
        say(f"subjects that share frames are kept together in the folds: {shown}")
    path = workdir / "splits.json"
    found, by_scanner = path.exists(), config.split_by == "scanner"
    columns = (examples.frames, groups, examples.scanners)
    frames, people, scanners = ([names[i] for i in dealt] for names in columns)

    def create() -> Splits:
        count, presence = config.num_folds, examples.presence[dealt]
        if by_scanner:
            return leave_scanners_out(frames, people, scanners, num_folds=count)
        return create_splits(
            frames, people, presence, num_folds=count, seed=config.seed
        )

    apart = {"subject": people} | ({"scanner": scanners} if by_scanner else {})
    splits = load_or_create_splits(path, frames, apart, create)
    if found and len(splits) != config.num_folds:
        say(f"{path} has {len(splits)} folds and is honoured, whatever num_folds says")
    if by_scanner:
        say(*describe_scanners(splits, dict(zip(frames, scanners, strict=True))))
    return splits


def describe_scanners(splits: Splits, scanner_of: Mapping[str, str]) -> list[str]:
    """Which scanners each fold scores, a line for each of the first 20 folds.

    Args:
      splits: the folds.
      scanner_of: the scanner of each frame.
    """
    return [
        f"fold {number} scores scanner "
        f"{list_some(sorted({scanner_of[frame] for frame in split['val']}))} "
        f"({count_of(len(split['val']), 'frame')}) and trains on "
        f"{count_of(len(split['train']), 'frame')}"
        for number, split in enumerate(splits[:20])
    ]


def check_dealt(config: ConfigDict, workdir: Path) -> None:
    """Raise `InputError` for a fold that is not dealt, or will not be: see `_split`."""
    path = workdir / "splits.json"
    count = len(read_json(path)) if path.exists() else config.num_folds
    if max(config.folds) >= count:
        raise InputError(f"folds={config.folds}: there are folds 0 to {count - 1}")
