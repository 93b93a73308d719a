"""Train, evaluate and use a nerve segmentation model; see README.md."""

import os
import re
import sys
import warnings
from pathlib import Path
from traceback import extract_tb

from absl import app, flags, logging
from ml_collections import config_flags

import configs
from nerve_jax.system import memory

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration: a file, or the name of one in configs/."
)
FLAGS = {
    "mode": flags.DEFINE_string("mode", "train", "Command."),
    "workdir": flags.DEFINE_string(
        "workdir", "", "The run's folder; runs/<the configuration's name> by default."
    ),
    "workdirs": flags.DEFINE_list(
        "workdirs", [], "Folders of two runs: A,B; with commas inside: '\"A,1\",B'."
    ),
    "split": flags.DEFINE_string("split", "train", "Split of the data set."),
    "input": flags.DEFINE_string(
        "input", "", "Folder of frames: pictures, DICOM, clips."
    ),
    "output": flags.DEFINE_string("output", "", "Folder of what is written."),
    "labels": flags.DEFINE_string(
        "labels",
        "",
        "Format of labels of another program, which are turned into ours "
        "or made of ours; see docs/labels.md.",
    ),
    "target": flags.DEFINE_string("target", "", "Accelerator to compile for, h100:1."),
    "submission": flags.DEFINE_bool("submission", False, "Write the Kaggle file."),
    "keep_marked": flags.DEFINE_bool(
        "keep_marked", False, "Write frames in which text remains, too."
    ),
    "force": flags.DEFINE_bool(
        "force", False, "Go on though configuration, data or code differ."
    ),
    "coordinator": flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0."),
    "num_processes": flags.DEFINE_integer(
        "num_processes", 0, "Processes of the run; 0: found out."
    ),
    "process_id": flags.DEFINE_integer(
        "process_id", -1, "Number of this process, from 0."
    ),
}

CONFIG_FLAG = re.compile("--?config=")
FIELD_FLAG = re.compile(r"--?(?:no)?config\.([\w.]+)")


def find_config(value: str) -> str:
    """The file that --config names, which may be one in configs/ without its ending."""
    value = os.path.expanduser(value)
    shipped = Path(configs.__file__).parent / f"{value}.py"
    return str(shipped) if shipped.is_file() and not Path(value).is_file() else value


def show_help(argv: list[str]) -> str:
    """What --help prints: the modes, or of one mode what it does and takes."""
    from nerve_jax.commands.registry import COMMANDS

    names = [arg.partition("=")[2] for arg in argv if re.match("--?mode=", arg)]
    if not names or names[-1] not in COMMANDS:
        modes = "\n".join(f"  {name:10}{c.summary}" for name, c in COMMANDS.items())
        return f"{__doc__}\n\n--mode=MODE, then --mode=MODE --help:\n\n{modes}"
    command = COMMANDS[names[-1]]
    texts = {name: holder.help for name, holder in _get_flags().items()}
    lines = [f"  --{name:15}{texts[name]}" for name in command.flags]
    if "config" in command.flags:
        lines.insert(1, "  --config.FIELD=VALUE  Set a field; configs/unet.py has all.")
    needed = " ".join(f"--{name}=…" for name in command.needs)
    return "\n".join([f"--mode={names[-1]} {needed}\n\n{command.summary}\n", *lines])


def _get_flags() -> dict[str, flags.Flag]:
    return {name: flags.FLAGS[name] for name in ("config", *FLAGS)}


def parse(argv: list[str]) -> list[str]:
    """Parse the command line; print help, or what is wrong with it, and leave."""
    from nerve_jax.runs.config import check_names
    from nerve_jax.system.errors import InputError, explain

    argv = _keep_last(_join_pairs(argv))
    if {"--help", "-help", "-h", "--helpshort", "--helpfull"} & set(argv):
        print(show_help(argv))
        sys.exit(0)
    argv = [
        re.sub("^(--?config=)(.+)", lambda m: m[1] + find_config(m[2]), arg)
        for arg in argv
    ]
    sys.argv = argv  # ml_collections looks there for overrides
    file = "".join(re.sub("--?config=", "", a) for a in argv if CONFIG_FLAG.match(a))
    try:
        fields = [match[1] for arg in argv if (match := FIELD_FLAG.match(arg))]
        _check_config(file, fields)
        check_names(fields)
        left = flags.FLAGS(argv)
        if left[1:]:
            raise InputError(f"what is {left[1]!r}? Flags begin with --")
        _check_loaded(file)
    except InputError as error:
        sys.exit(explain(error))
    except Exception as error:  # noqa: BLE001  # a configuration may raise anything
        text = str(error).strip()
        if not isinstance(error, flags.Error):
            text = f"{file}: cannot be loaded ({type(error).__name__}: {text})"
        sys.exit(explain(InputError(_find_line(error, file) or text)))
    return left


def _join_pairs(argv: list[str]) -> list[str]:
    """`--config unet` as `--config=unet`; likewise --mode and fields."""
    text = "\0".join(argv)
    pair = "(?<=\0)(--?(?:config[\\w.]*|mode))\0(?!-(?![\\d.]))"
    return re.sub(pair, r"\1=", text).split("\0")


def _keep_last(argv: list[str]) -> list[str]:
    """Drop a configuration or field that is given again later; --config goes first.

    Other flags replace what was given before by themselves, but ml_collections joins
    tuples.
    """
    last = {
        re.sub("^--?(no)?", "", arg).partition("=")[0]: arg
        for arg in argv
        if CONFIG_FLAG.match(arg) or FIELD_FLAG.match(arg)
    }
    others = [a for a in argv if not (CONFIG_FLAG.match(a) or FIELD_FLAG.match(a))]
    config = [last.pop("config")] if "config" in last else []
    return [*others[:1], *config, *last.values(), *others[1:]]


def _check_config(file: str, fields: list[str]) -> None:
    """Raise `InputError` for a --config that is no file of Python, or none for fields."""
    from nerve_jax.system.errors import InputError

    if fields and not file:
        raise InputError(
            f"--config.{fields[0]}: a field is set on a configuration, so name one too, "
            "--config=unet. Where --workdir names a trained run, all other fields are "
            "the run's"
        )
    if file.endswith(".json"):
        raise InputError(
            f"--config={file}: a configuration is a Python file with get_config(). To "
            "use the run in that folder, name it with --workdir and leave --config out; "
            "to train again, name the file that the run was trained with"
        )
    if file and not Path(file.partition(":")[0]).is_file():
        shipped = sorted(p.stem for p in Path(configs.__file__).parent.glob("[!_]*.py"))
        raise InputError(
            f"--config={file}: No such file; those that come with the code are "
            f"{', '.join(shipped)}"
        )


def _check_loaded(file: str) -> None:
    """Raise `InputError` where --config gave no configuration, or why it did not load."""
    from nerve_jax.system.errors import InputError

    if file and not hasattr(CONFIG.value, "to_dict"):
        raise InputError(
            f"{file}: get_config() must return a ConfigDict of ml_collections, not "
            f"{type(CONFIG.value).__name__}"
        )


def _find_line(error: BaseException, file: str) -> str:
    """What a configuration file raised, with its line; "" where it raised nothing."""
    path = Path(file.partition(":")[0]).absolute()
    found: BaseException | None = error
    while found is not None:
        places = [(f.filename, f.lineno) for f in extract_tb(found.__traceback__)]
        if isinstance(found, SyntaxError):
            places.append((found.filename or "", found.lineno))
        lines = [line for name, line in places if Path(name).absolute() == path]
        if lines:
            return f"{file}, line {lines[-1]}: {type(found).__name__}: {found}"
        found = found.__cause__ or found.__context__
    return ""


def main(argv: list[str]) -> None:
    """Do what --mode says."""
    del argv
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.FATAL)  # what libraries log, errors explains
    from nerve_jax.commands import registry
    from nerve_jax.commands.request import Request
    from nerve_jax.system import errors, processes, signals

    signals.raise_on_signals()
    warnings.showwarning = errors.show_warning
    flag = flags.FLAGS["config"]
    try:
        config = CONFIG.value
        file = config_flags.get_config_filename(flag) if config else ""
        values = {name: holder.value for name, holder in FLAGS.items()}
        named = values["workdir"] or (f"runs/{Path(file).stem}" if file else "")
        request = Request(
            config=config,
            config_file=file,
            overrides=config_flags.get_override_values(flag) if config else {},
            **values | {"workdir": named, "workdirs": tuple(values["workdirs"])},
        )
        given = {name for name, holder in _get_flags().items() if holder.present}
        registry.run(request, given)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        processes.leave(error)


def prepare_streams() -> None:
    """See `console.prepare_streams`; it comes with JAX, which reads its settings then."""
    try:
        from nerve_jax.system import console
    except ValueError as error:  # such as JAX_NUM_CPU_DEVICES=two
        print(f"error: a variable of the environment: {error}", file=sys.stderr)
        sys.exit(2)
    console.prepare_streams()


def start() -> None:
    """The console script `nerve-jax`, and `python main.py`."""
    memory.use_huge_pages()
    prepare_streams()
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    start()
