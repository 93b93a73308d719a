"""Requests to stop: by SIGTERM, as schedulers do before they take a machine away; by
SIGINT, as Ctrl-C does; by SIGHUP, as a terminal does that is closed; by SIGUSR1, as Slurm
can do before time is up.

They end a command by an exception, so that locks are let go of. While a training listens,
the first one only asks it to stop, so that it can save first. What a signal is ignored
for, as `nohup` does with SIGHUP, stays ignored.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from nerve_jax.system.errors import Interrupted, StoppedError
from nerve_jax.system.files import Path

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# A closed terminal's shell sends SIGHUP too, and Slurm SIGTERM after SIGUSR1.
REPEATED = (signal.SIGHUP, signal.SIGUSR1)
RETRY_SECONDS = 0.02


class Stop:
    """Whether a signal has asked the run to stop.

    Attributes:
      signal: which one; None as long as the run may go on.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


def raise_on_signals() -> None:
    """From now on signals raise `Interrupted` in the main thread; a second one ends it.

    One that comes amid a destructor or a callback of the garbage collector, where Python
    drops exceptions, is sent again.
    """
    report = sys.unraisablehook

    def retry(dropped) -> None:
        if not isinstance(dropped.exc_value, Interrupted):
            report(dropped)
            return
        _raise_at_next()
        again = (os.getpid(), dropped.exc_value.number)
        threading.Timer(RETRY_SECONDS, os.kill, again).start()

    sys.unraisablehook = retry
    _raise_at_next()


def _raise_at_next() -> None:
    def end(number, frame) -> None:
        del frame
        for other in filter(_is_heeded, SIGNALS):
            ends = other not in REPEATED
            signal.signal(other, signal.SIG_DFL if ends else _ignore)
        raise Interrupted(signal.Signals(number))

    for number in filter(_is_heeded, SIGNALS):
        signal.signal(number, end)


def _is_heeded(number: signal.Signals) -> bool:
    return signal.getsignal(number) != signal.SIG_IGN


def _ignore(number, frame) -> None:
    """Nothing; unlike SIG_IGN it is not handed on to commands that this one starts."""


@contextlib.contextmanager
def listen() -> Iterator[Stop]:
    """Note signals, for as long as the context lasts, instead of ending by them.

    After the first, a second SIGTERM or SIGINT ends the command as before.
    """
    stop = Stop()
    before = {n: signal.getsignal(n) for n in SIGNALS if _is_heeded(n)}

    def let_go(numbers) -> None:
        for number in numbers:
            signal.signal(number, before[number])

    def note(number, frame) -> None:
        del frame
        if not stop:
            stop.signal = signal.Signals(number)
            let_go(before.keys() - REPEATED)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        let_go(before)


def wait_for(function: Callable[[], None]) -> None:
    """Run a function that does not look at signals, such as compiling, in another thread.

    The main thread waits, so a signal interrupts it at once; the other is then left.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def describe(stop: Stop, step: int, saved: list[Path]) -> StoppedError:
    """What to end a stopped run with: 128 and the number of the signal.

    Args:
      stop: of `listen`.
      step: steps taken and saved.
      saved: the folder of checkpoints of each fold.
    """
    number = stop.signal or signal.SIGTERM  # another process may have got it
    folders = ", ".join(map(str, saved))
    done = (
        f"after step {step}, which is saved in {folders}; the same command goes on from there"
        if step
        else f"before the first step; nothing is saved in {folders}, the same command "
        "starts there from the beginning"
    )
    return StoppedError(f"stopped by {number.name} {done}", 128 + number)
