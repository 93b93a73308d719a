"""Requests to stop: by SIGTERM, as schedulers do before they take a machine away, or
by SIGINT, as Ctrl-C does.

While a run listens, the first signal only asks it to stop, so that it can save first; a
second one ends it at once.
"""

import contextlib
import signal
from collections.abc import Iterator

from nerve_jax.system.errors import StoppedError
from nerve_jax.system.files import Path

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether a signal has asked the run to stop.

    Attributes:
      signal: which one; None as long as the run may go on.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def listen() -> Iterator[Stop]:
    """Note signals, for as long as the context lasts, instead of ending by them."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def let_go() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number, frame) -> None:
        del frame
        stop.signal = signal.Signals(number)
        let_go()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        let_go()


def describe(stop: Stop, step: int, saved: list[Path]) -> StoppedError:
    """What to end a stopped run with: 128 and the number of the signal."""
    number = stop.signal or signal.SIGTERM  # another process may have got it
    folders = ", ".join(map(str, saved))
    done = f"after step {step}, which is saved in {folders}" if step else "at the start"
    return StoppedError(
        f"stopped by {number.name} {done}; the same command goes on from there",
        128 + number,
    )
