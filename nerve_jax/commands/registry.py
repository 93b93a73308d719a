"""Every --mode by name: what it needs, what it takes, and what it runs."""

import dataclasses
import os
import pathlib

from nerve_jax.commands import (
    audit,
    compare,
    evaluate,
    importing,
    plan,
    predict,
    pretrain,
    train,
)
from nerve_jax.commands.request import Command, Request
from nerve_jax.runs.config import PATHS, check_fields, open_paths, set_fields
from nerve_jax.runs.differences import flatten
from nerve_jax.system import processes
from nerve_jax.system.errors import InputError

PROCESSES = ("coordinator", "num_processes", "process_id")


def _tune(request: Request) -> None:
    from nerve_jax.commands import tune  # Optuna takes a second that others are spared

    tune.run(request)


def _compile(request: Request) -> None:
    from nerve_jax.commands import compile  # sets what JAX runs on

    compile.run(request)


COMMANDS = {
    "train": Command(
        "Train folds, score them out of fold, and report on all that are finished.",
        ("config", "workdir", "force", *PROCESSES),
        ("config",),
        train.run,
        together=True,
    ),
    "pretrain": Command(
        "Learn from frames without masks, for --config.start.workdir of a training.",
        ("config", "workdir", "force", *PROCESSES),
        ("config",),
        pretrain.run,
        together=True,
    ),
    "tune": Command(
        "Search the fields that config.tuning.space names, by cross-validation.",
        ("config", "workdir"),
        ("config",),
        _tune,
    ),
    "plan": Command(
        "Measure a data set and write a configuration for it, with reasons.",
        ("config", "workdir"),
        ("config",),
        plan.run,
    ),
    "compile": Command(
        "Compile for an accelerator that is not here, and say what it would need.",
        ("config", "workdir", "target"),
        ("config", "target"),
        _compile,
    ),
    "evaluate": Command(
        "Score a trained run on labelled frames that it has not seen.",
        ("config", "workdir", "split", *PROCESSES),
        ("workdir",),
        evaluate.run,
        together=True,
    ),
    "import": Command(
        "Make a data set of a scanner's exports, without names, or of others' labels.",
        ("input", "output", "keep_marked", "labels"),
        ("input", "output"),
        importing.run,
    ),
    "predict": Command(
        "Segment a folder of frames with a trained run.",
        ("config", "workdir", "input", "output", "submission"),
        ("workdir", "input", "output"),
        predict.run,
    ),
    "compare": Command(
        "Hold the out-of-fold scores of two runs against each other.",
        ("workdirs", "workdir"),
        ("workdirs", "workdir"),
        compare.run,
    ),
    "audit": Command(
        "Find what is odd about a data set: duplicates, contradictions, outliers.",
        ("config", "workdir", "split"),
        ("config",),
        audit.run,
    ),
}


def run(request: Request, given: set[str]) -> None:
    """Run a command.

    Args:
      request: the command line.
      given: names of the flags that were on it.

    Raises:
      InputError: a flag is missing or does not fit, a field is unknown or has a value
        that it cannot have.
      RunError: the command could not be finished.
    """
    if request.mode not in COMMANDS:
        raise InputError(f"--mode={request.mode} is not one of: {', '.join(COMMANDS)}")
    command = COMMANDS[request.mode]
    check_flags(request, command, given)
    if request.config is not None:
        config = check_fields(request.config, request.config_file)
        request = open_fields(dataclasses.replace(request, config=config))
    connected = command.together and processes.connect(
        request.coordinator, request.num_processes, request.process_id
    )
    try:
        command.run(dataclasses.replace(request, connected=connected))
    except OSError as error:
        note_flag(error, request)
        raise


def note_flag(error: OSError, request: Request) -> None:
    """Note in an error of the system the flag or field that its file comes from, if any."""
    data = request.config.data if request.config else None
    named = {
        "--workdir": request.workdir,
        "--input": request.input,
        "--output": request.output,
        "--config.data.records_dir": data.records_dir if data else "",
        "--config.data.manual_dir": data.manual_dir if data else "",
    }
    file = os.path.abspath(str(error.filename or ""))
    for flag, folder in named.items():
        inside = folder and pathlib.Path(file).is_relative_to(os.path.abspath(folder))
        if error.filename and inside:
            error.add_note(f"The folder is that of {flag}={folder}")


def open_fields(request: Request) -> Request:
    """The command line with absolute paths in its fields."""
    fields = open_paths(flatten(request.config.to_dict()))
    paths = {name: fields[name] for name in PATHS}
    return dataclasses.replace(
        request,
        config=set_fields(request.config, paths),
        overrides=open_paths(request.overrides),
    )


def check_flags(request: Request, command: Command, given: set[str]) -> None:
    """Raise `InputError` where flags are missing, or where there are others."""
    mode = f"--mode={request.mode}"
    needless = sorted(given - {"mode", "verbosity", *command.flags})
    if needless:
        names = ", ".join(f"--{name}" for name in needless)
        raise InputError(f"{mode} does not take {names}; see {mode} --help")
    if "config" in command.needs and request.config is None:
        raise InputError(
            f"{mode} needs a configuration: --config=configs/unet.py, or unet for short"
        )
    missing = [
        n
        for n in ("workdirs", "workdir", "input", "output", "target")
        if n in command.needs
    ]
    missing = [f"--{name}" for name in missing if not getattr(request, name)]
    if missing:
        raise InputError(f"{mode} needs {', '.join(missing)}; see {mode} --help")
