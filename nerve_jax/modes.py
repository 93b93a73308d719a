"""What each --mode needs, and what it runs."""

import pathlib

from ml_collections import ConfigDict

from nerve_jax import (
    audit,
    compare,
    cross_validation,
    evaluate,
    inference,
    parallel,
    planning,
    pretraining,
    processes,
)
from nerve_jax.errors import InputError
from nerve_jax.files import is_remote, open_path
from nerve_jax.loading import load_examples_from
from nerve_jax.workdirs import load_config

NEED_CONFIG = ("train", "pretrain", "tune", "plan", "audit")
# What several processes can do together.
SHARED_MODES = ("train", "pretrain", "evaluate")


def run(
    mode: str,
    *,
    config: ConfigDict | None,
    overrides: dict,
    workdirs: list[str],
    workdir: str,
    split: str,
    input_dir: str,
    output_dir: str,
    submission: bool,
    force: bool,
    coordinator: str,
    num_processes: int,
    process_id: int,
) -> None:
    """Run one command of `main.py`; `overrides` are the fields given by --config.name=.

    Raises:
      InputError: a flag is missing or does not fit.
      RunError: the command could not be finished.
    """
    connected = mode in SHARED_MODES and processes.connect(
        coordinator, num_processes, process_id
    )
    if mode not in SHARED_MODES and (coordinator or num_processes > 1):
        raise InputError(f"--mode={mode} runs in one process")
    if mode == "compare":
        if len(workdirs) != 2 or not workdir:
            raise InputError("comparing needs --workdirs=A,B and --workdir=FOLDER")
        compare.compare(*map(open_path, workdirs), open_path(workdir))
        return
    if not workdir:
        raise InputError("name a configuration (--config=configs/unet.py) or --workdir")
    folder = open_path(workdir)
    if mode in NEED_CONFIG and config is None:
        raise InputError(
            f"--mode={mode} needs a configuration: --config=configs/unet.py"
        )
    if mode == "audit":
        audit.audit(load_examples_from(config, split), folder)
        return
    if mode == "train":
        _prepare_devices(config, config.folds_together, connected=connected)
        cross_validation.cross_validate(config, folder, force=force)
        return
    if mode == "pretrain":
        _prepare_devices(config, config.folds_together, connected=connected)
        pretraining.pretrain(config, folder, force=force)
        return
    if mode == "tune":
        from nerve_jax import tuning  # Optuna takes a second that others are spared

        if is_remote(workdir):
            raise InputError(f"--workdir={workdir}: a study's folder must be on a disk")
        _prepare_devices(config, config.folds_together, connected=connected)
        tuning.tune(config, pathlib.Path(workdir))
        return
    if mode == "plan":
        planning.plan(config, folder)
        return
    trained = load_config(folder)
    _prepare_devices(trained, connected=connected)
    if mode == "evaluate":
        other = config is not None and config.dataset != trained.dataset
        if other and "dataset" not in overrides:
            print(
                f"{folder} has its own data set, {trained.dataset}: that one is scored"
            )
        evaluate.evaluate(folder, overrides, split)
        return
    if not input_dir or not output_dir:
        raise InputError("predicting needs --input=FOLDER and --output=FOLDER")
    inference.predict(
        folder,
        overrides,
        pathlib.Path(input_dir),
        pathlib.Path(output_dir),
        submission=submission,
    )


def _prepare_devices(
    config: ConfigDict, folds_together: int = 1, *, connected: bool
) -> None:
    if not connected:
        parallel.use_cpu_cores(
            config.batch_size, config.accumulate_steps, folds_together
        )
    parallel.keep_compiled_programs()
