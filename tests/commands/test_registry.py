import re
import subprocess
import sys
from pathlib import Path

import pytest

import main
from configs import unet
from nerve_jax.commands.registry import COMMANDS, check_flags, note_flag, open_fields
from nerve_jax.commands.request import Request
from nerve_jax.runs.differences import flatten
from nerve_jax.system.errors import InputError

REPO = Path(__file__).parents[2]


def request_for(mode, **fields):
    return Request(mode, **fields)


@pytest.mark.parametrize("mode", COMMANDS)
def test_help_lists_what_a_mode_uses_and_nothing_else(mode):
    text = main.show_help(["main.py", f"--mode={mode}", "--help"])
    command = COMMANDS[mode]
    listed = set(re.findall(r"(?m)^  --(\w+)", text))
    assert listed == set(command.flags)
    assert command.summary in text
    assert ("--config.FIELD=VALUE" in text) == ("config" in command.flags)
    assert all(f"--{name}=" in text.splitlines()[0] for name in command.needs)


def test_help_without_a_mode_lists_the_modes():
    text = main.show_help(["main.py", "--help"])
    assert all(mode in text and c.summary in text for mode, c in COMMANDS.items())


@pytest.mark.parametrize("mode", COMMANDS)
def test_a_mode_needs_only_flags_that_it_takes_and_main_defines(mode):
    command = COMMANDS[mode]
    assert set(command.needs) <= set(command.flags)
    assert set(command.flags) <= {"config", *main.FLAGS}
    # Several processes can be named only where they can work together.
    assert ("coordinator" in command.flags) == command.together


@pytest.mark.parametrize("mode", COMMANDS)
def test_a_flag_of_another_mode_is_refused(mode):
    command = COMMANDS[mode]
    for name in set(main.FLAGS) - {"mode", *command.flags}:
        with pytest.raises(InputError, match=f"--mode={mode} does not take --{name}"):
            check_flags(request_for(mode), command, {"mode", name})


@pytest.mark.parametrize("mode", COMMANDS)
def test_what_is_missing_is_named(mode):
    command = COMMANDS[mode]
    whole = {
        "config": unet.get_config(),
        "workdir": "w",
        "workdirs": ("a", "b"),
        "input": "i",
        "output": "o",
        "target": "t",
    }
    check_flags(request_for(mode, **whole), command, set())
    for name in command.needs:
        some = {key: value for key, value in whole.items() if key != name}
        with pytest.raises(InputError, match=f"needs .*--{name}"):
            check_flags(request_for(mode, **some), command, set())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("unet", "configs/unet.py"),
        ("configs/unet.py", "configs/unet.py"),
        ("nowhere", "nowhere"),
        ("runs/a/best_config.py", "runs/a/best_config.py"),
    ],
)
def test_a_configuration_is_a_file_or_the_name_of_a_shipped_one(value, found):
    assert main.find_config(value).endswith(found)


def test_a_file_of_ones_own_goes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unet").write_text("")
    assert main.find_config("unet") == "unet"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("--config=a --config.folds=(0,) --config.folds=(1,)", "--config=a --config.folds=(1,)"),
        ("--config=a --config.folds (0,) --config.folds=(1,)", "--config=a --config.folds=(1,)"),
        ("--config=a -config.seed=1 --config.seed -1", "--config=a --config.seed=-1"),
        ("--config.seed=1 --config=a --config=b", "--config=b --config.seed=1"),
        (
            "--config=a --config.data.clean_train --noconfig.data.clean_train",
            "--config=a --noconfig.data.clean_train",
        ),
        (
            "--config=a --config.data.clean_train --force",
            "--config=a --config.data.clean_train --force",
        ),
    ],
)  # fmt: skip
def test_what_is_given_again_replaces_what_was_given(words, kept):
    argv = main._keep_last(main._join_pairs(["main.py", *words.split()]))
    assert argv[0] == "main.py"
    assert argv[1:] == kept.split()


BROKEN = {
    "raise KeyError('x')": "line 3: KeyError: 'x'",
    "raise TypeError('x')": "line 3: TypeError: x",
    "raise ValueError('x')": "line 3: ValueError: x",
    "open('/nowhere/x')": "line 3: FileNotFoundError: ",
    "c = unet.get_config(); c.seed = 'x'": "line 3: TypeError: .*'seed'",
    "return unet.get_config().sed": "line 3: AttributeError: .*sed",
    "return 1 +": "line 3: SyntaxError",
    "return dict(seed=1)": "must return a ConfigDict of ml_collections, not dict",
    "pass": "must return a ConfigDict of ml_collections, not NoneType",
    "c = unet.get_config(); c.folds = (0.5,); return c": r"folds=\(0.5,\) must be a tuple",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_configuration_that_does_not_load_is_named_with_its_line(tmp_path, line):
    path = tmp_path / "mine.py"
    path.write_text(f"from configs import unet\ndef get_config():\n    {line}\n")
    said = run_main(f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert re.search(rf"{path}\b[\s\S]*{BROKEN[line]}", said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--config=runs/a/config.json", "is a Python file .* name it with --workdir"),
        ("--config=nowhere", "No such file; those that come with the code are accurate"),
        ("--config.seed=1", "--config.seed: .* name one too, --config=unet"),
        ("--mode=evaluate --config.decision.threshold=2", "name one too, --config=unet"),
        ("--config=unet --config.seed=99999999999", "seed=99999999999 must be at least 0"),
        ("--config=unet --config.folds=(0,) --config.folds=(0.5,)", r"folds=\(0.5,\) must"),
        ("--config=unet --config.data_dir=x", "did you mean data.records_dir"),
        (
            "--mode=evaluate --config=unet --config.decision.threshold=nan",
            "decision.threshold=nan must be at least 0 and at most 1",
        ),
    ],
)  # fmt: skip
def test_a_flag_that_does_not_fit_is_named_with_its_mend(tmp_path, words, message):
    said = run_main(*words.split(), f"--workdir={tmp_path / 'run'}")
    assert re.search(message, said.replace("\n", " "))
    assert not (tmp_path / "run").exists()


def run_main(*words):
    """What a refused command says."""
    command = [sys.executable, "main.py", *words]
    done = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_name_may_stand_after_a_space():
    argv = [
        "main.py",
        "--config",
        "unet",
        "--mode",
        "plan",
        "--force",
        "--config.seed=1",
    ]
    assert main._join_pairs(argv) == [
        *("main.py", "--config=unet", "--mode=plan", "--force", "--config.seed=1")
    ]


@pytest.mark.parametrize(
    ("file", "flags"),
    [
        ("w/fold_0/lock", ["--workdir=w"]),
        ("/data/records/a", ["--config.data.records_dir=/data/records"]),
        ("out/masks/a.png", ["--output=out"]),
        ("outer/a.png", []),
        (None, []),
    ],
)
def test_an_error_of_the_system_names_the_flag_of_its_folder(file, flags):
    config = unet.get_config()
    config.data.records_dir = "/data/records"
    request = request_for("predict", config=config, workdir="w", output="out")
    error = OSError(28, "No space left on device", file)
    note_flag(error, request)
    notes = [f"The folder is that of {flag}" for flag in flags]
    assert getattr(error, "__notes__", []) == notes


PATH_FIELDS = ("data.records_dir", "data.manual_dir", "start.workdir")


def test_fields_that_are_paths_become_absolute_however_they_were_set(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    config = unet.get_config()
    config.data.manual_dir, config.start.workdir = "~/data", "runs/a"
    overrides = {"data.manual_dir": "~/data", "seed": 3}
    opened = open_fields(request_for("train", config=config, overrides=overrides))
    assert opened.config.data.manual_dir == str(tmp_path / "home" / "data")
    assert opened.config.start.workdir == str(tmp_path / "runs" / "a")
    assert opened.config.data.records_dir == ""
    assert opened.overrides == {
        "data.manual_dir": str(tmp_path / "home/data"),
        "seed": 3,
    }
    again = open_fields(opened)  # the same command from elsewhere is the same run
    assert flatten(again.config.to_dict()) == flatten(opened.config.to_dict())


def test_every_field_with_the_name_of_a_folder_is_among_the_paths():
    names = flatten(unet.get_config().to_dict())
    folders = [n for n in names if n.endswith(("_dir", "workdir", "_path", "_file"))]
    assert sorted(folders) == sorted(PATH_FIELDS)


@pytest.mark.parametrize("name", PATH_FIELDS)
def test_a_field_that_is_no_path_is_named(name):
    config = unet.get_config()
    config.update_from_flattened_dict({name: "a\nb"})
    with pytest.raises(InputError, match=f"--config.{name}=a"):
        open_fields(request_for("train", config=config))


def test_flags_that_are_paths_are_opened_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    request = request_for(
        "predict", workdir="~/w", workdirs=("~/a,1", "~/b"), input="~/i", output="~/o"
    )
    assert request.folder == request.local_folder == tmp_path / "w"
    assert request.folders == (tmp_path / "a,1", tmp_path / "b")
    assert request.input_folder == tmp_path / "i"
    assert request.output_folder == tmp_path / "o"
    with pytest.raises(InputError, match="^--workdir=.*pattern"):
        _ = request_for("train", workdir="a[1]").folder
    with pytest.raises(InputError, match="^--output=gs://b"):
        _ = request_for("predict", output="gs://b").output_folder


def test_a_configuration_is_found_from_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main.find_config("~/mine.py") == str(tmp_path / "mine.py")
    assert main.find_config("unet").endswith("configs/unet.py")
