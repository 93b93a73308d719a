import os
import signal
import sys
import threading
import time

import jax
import pytest

from nerve_jax.system import errors, locks, signals


@pytest.fixture(autouse=True)
def keep_handlers():
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_first_signal_asks_and_the_second_would_end(number):
    before = signal.getsignal(number)
    with signals.listen() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number
        if number in signals.REPEATED:
            os.kill(os.getpid(), number)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(number) == before
    error = signals.describe(stop, 40, [])
    assert error.exit_code == 128 + number
    assert "after step 40, which is saved" in str(error)
    assert "before the first step; nothing is saved" in str(
        signals.describe(stop, 0, [])
    )


def test_without_a_signal_all_handlers_come_back():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with signals.listen() as stop:
        assert [signal.getsignal(n) for n in signals.SIGNALS] != before
    assert not stop
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_ends_what_does_not_listen_and_locks_are_let_go_of(number, tmp_path):
    signals.raise_on_signals()
    with (
        pytest.raises(errors.Interrupted) as caught,
        locks.hold(tmp_path / "lock"),
    ):
        os.kill(os.getpid(), number)
    assert errors.explain(caught.value) == 128 + number
    assert not (tmp_path / "lock").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # a second one ends it
    os.kill(os.getpid(), signal.SIGHUP)  # which a closed terminal sends twice


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_nohup_ignores_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    signals.raise_on_signals()
    os.kill(os.getpid(), number)
    with signals.listen() as stop:
        os.kill(os.getpid(), number)
    assert not stop
    assert signal.getsignal(number) == signal.SIG_IGN


class Dropped:
    """Drops exceptions that come while it goes, as any destructor does."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)


def test_a_signal_amid_a_destructor_is_not_lost():
    signals.raise_on_signals()

    def go_on():
        gone = Dropped()
        del gone
        for _ in range(500):
            time.sleep(0.01)

    with pytest.raises(errors.Interrupted):
        go_on()


def test_a_signal_does_not_wait_for_a_program_to_compile():
    signals.raise_on_signals()
    over = threading.Event()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(errors.Interrupted):
        signals.wait_for(lambda: over.wait(60))
    assert not over.is_set()
    over.set()


def test_what_is_waited_for_may_fail():
    done = []
    signals.wait_for(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        signals.wait_for(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.InputError("no such frame"), 2, "error: no such frame"),
        (errors.RunError("loss nan"), 1, "error: loss nan"),
        (errors.StoppedError("stopped", 143), 143, "stopped"),
        (OSError(28, "No space left on device", "a.png"), 1, "on device: 'a.png'\n"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
            1,
            "error: a device has too little memory",
        ),
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
        (errors.Interrupted(signal.SIGHUP), 129, "stopped by SIGHUP"),
        (errors.Interrupted(signal.SIGUSR1), 138, "stopped by SIGUSR1"),
        (ZeroDivisionError("x"), 1, "Traceback"),
    ],
)
def test_how_a_command_ends(error, code, said, capsys):
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        assert errors.explain(caught) == code
    printed = capsys.readouterr().err
    assert said in printed
    assert ("Traceback" in printed) == isinstance(error, ZeroDivisionError)


def test_notes_on_a_signal_say_what_is_kept(capsys):
    error = errors.Interrupted(signal.SIGTERM)
    error.add_note("no step is saved")
    assert errors.explain(error) == 143
    assert capsys.readouterr().err == "stopped by SIGTERM; no step is saved\n"


def test_notes_on_an_error_of_the_system_are_said(capsys):
    error = OSError(28, "No space left on device", "a.png")
    error.add_note("The folder is that of --workdir=runs/a")
    errors.explain(error)
    said = capsys.readouterr().err
    assert said.endswith("'a.png'. The folder is that of --workdir=runs/a\n")
