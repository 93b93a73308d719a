"""Train, evaluate and use a nerve segmentation model; see README.md."""

import warnings
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from nerve_jax import memory

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.")
WORKDIR = flags.DEFINE_string("workdir", "", "Run folder; or runs/<config's stem>.")
MODES = [
    *("train", "pretrain", "tune", "plan"),
    *("evaluate", "predict", "compare", "audit"),
]
MODE = flags.DEFINE_enum("mode", "train", MODES, "Command.")
WORKDIRS = flags.DEFINE_list("workdirs", [], "compare: the folders of two runs, A,B.")
SPLIT = flags.DEFINE_string("split", "train", "evaluate, audit: split of the data.")
INPUT = flags.DEFINE_string("input", "", "predict: folder of frames.")
OUTPUT = flags.DEFINE_string("output", "", "predict: folder of masks and tables.")
SUBMISSION = flags.DEFINE_bool("submission", False, "predict: write the Kaggle file.")
FORCE = flags.DEFINE_bool(
    "force", False, "train, pretrain: though config, data or code differ."
)
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", 0, "Of a run; 0: found out.")
PROCESS_ID = flags.DEFINE_integer("process_id", -1, "Of this one, from 0.")


def main(argv: list[str]) -> None:
    """Do what --mode says."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.FATAL)  # what libraries tell of, errors says
    from nerve_jax import errors, modes, processes

    if argv[1:]:
        raise app.UsageError(f"what is {argv[1]!r}? Flags begin with --")
    warnings.showwarning = errors.show_warning
    flag = flags.FLAGS["config"]
    given = config_flags.get_config_filename(flag) if CONFIG.value else ""
    try:
        modes.run(
            MODE.value,
            config=CONFIG.value,
            overrides=config_flags.get_override_values(flag) if given else {},
            workdirs=WORKDIRS.value,
            workdir=WORKDIR.value or (f"runs/{Path(given).stem}" if given else ""),
            split=SPLIT.value,
            input_dir=INPUT.value,
            output_dir=OUTPUT.value,
            submission=SUBMISSION.value,
            force=FORCE.value,
            coordinator=COORDINATOR.value,
            num_processes=NUM_PROCESSES.value,
            process_id=PROCESS_ID.value,
        )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        processes.leave(error)


if __name__ == "__main__":
    memory.use_huge_pages()
    app.run(main)
