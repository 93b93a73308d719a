import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from nerve_jax.system import console, errors


@pytest.fixture(params=[0, 1])
def process(request, monkeypatch):
    monkeypatch.setattr(console.distributed.global_state, "process_id", request.param)
    return request.param


def test_only_process_0_prints(process, capsys):
    console.say("one", "two")
    errors.show_warning(UserWarning("careful"))
    console.create_console().print("a table")
    said = capsys.readouterr()
    assert console.is_first() == (process == 0)
    if process:
        assert said.out == said.err == ""
    else:
        assert said.out == "one\ntwo\na table\n"
        assert said.err == "warning: careful\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_is_shown_in_a_terminal_alone(terminal, monkeypatch):
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=terminal)
    monkeypatch.setattr(console, "create_console", lambda: screen)
    assert list(console.track(iter("abc"), "scoring", 3)) == ["a", "b", "c"]
    assert ("scoring" in shown.getvalue()) == terminal


BEGIN = "from nerve_jax.system import console; console.prepare_streams(); "


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_is_spelt_out(encoding):
    text = "a … ┏━┓ \udce9"
    program = f"console.say({text!r}); import sys; print({text!r}, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = text.encode(encoding, "backslashreplace") + b"\n"
    assert done.stdout == done.stderr == shown


def test_work_goes_on_when_nobody_reads_any_more(tmp_path):
    """As after `| head -1`, or when a terminal is closed: its lines are lost, no more."""
    reading, writing = os.pipe()
    os.close(reading)
    program = BEGIN + (
        "[console.say('a line') for _ in range(3)]; "
        "console.create_console().print('a table'); "
        f"open({str(tmp_path / 'saved')!r}, 'w').close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "saved").exists()
