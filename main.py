"""Train, evaluate and use a nerve segmentation model; see README.md."""

import sys
import warnings
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from nerve_jax import memory

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.")
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Run folder; default runs/<config's stem>."
)
MODES = ["train", "evaluate", "predict", "compare", "audit"]
MODE = flags.DEFINE_enum("mode", "train", MODES, "Command.")
WORKDIRS = flags.DEFINE_list("workdirs", [], "compare: the folders of two runs, A,B.")
SPLIT = flags.DEFINE_string("split", "train", "evaluate, audit: split of the data.")
INPUT = flags.DEFINE_string("input", "", "predict: folder of frames.")
OUTPUT = flags.DEFINE_string("output", "", "predict: folder of masks and tables.")
SUBMISSION = flags.DEFINE_bool("submission", False, "predict: write the Kaggle file.")


def main(argv: list[str]) -> None:
    """Do what --mode says."""
    from nerve_jax import errors, modes

    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # Orbax tells of each file it writes
    if argv[1:]:
        raise app.UsageError(f"what is {argv[1]!r}? Flags begin with --")
    warnings.showwarning = lambda message, *_: print(
        f"warning: {message}", file=sys.stderr
    )
    flag = flags.FLAGS["config"]
    given = config_flags.get_config_filename(flag) if CONFIG.value else ""
    try:
        modes.run(
            MODE.value,
            config=CONFIG.value,
            overrides=config_flags.get_override_values(flag) if given else {},
            workdirs=[Path(folder) for folder in WORKDIRS.value],
            workdir=WORKDIR.value or (f"runs/{Path(given).stem}" if given else ""),
            split=SPLIT.value,
            input_dir=INPUT.value,
            output_dir=OUTPUT.value,
            submission=SUBMISSION.value,
        )
    except errors.InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except errors.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    memory.use_huge_pages()
    app.run(main)
