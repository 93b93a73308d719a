import os
import signal

import jax
import pytest

from nerve_jax.system import errors, signals


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_first_signal_asks_and_the_second_would_end(number):
    before = signal.getsignal(number)
    with signals.listen() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number
        assert signal.getsignal(number) == before
    error = signals.describe(stop, 40, [])
    assert error.exit_code == 128 + number
    assert "step 40" in str(error)


def test_without_a_signal_all_handlers_come_back():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with signals.listen() as stop:
        assert [signal.getsignal(n) for n in signals.SIGNALS] != before
    assert not stop
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.InputError("no such frame"), 2, "error: no such frame"),
        (errors.RunError("loss nan"), 1, "error: loss nan"),
        (errors.StoppedError("stopped", 143), 143, "stopped"),
        (OSError(28, "No space left on device", "a.png"), 1, "the same command"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
            1,
            "error: a device has too little memory",
        ),
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
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
