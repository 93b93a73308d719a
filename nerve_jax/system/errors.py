"""Errors whose message is the whole answer a user needs, and how a command ends."""

import signal
import sys
import traceback
from collections.abc import Sequence
from numbers import Real

import jax

from nerve_jax.system.console import is_first

LINES_LISTED = 18  # lines of one error, beside its heading and its mend


class InputError(ValueError):
    """Something the user gave is wrong; the message says what, where and the mend.

    `main.py` prints it without a traceback and exits with 2.
    """


class RunError(RuntimeError):
    """A run could not go on; the message says where it stands and how to go on.

    `main.py` prints it without a traceback and exits with 1.
    """


class DivergedError(RunError):
    """Losses or weights are no longer finite."""


def raise_if_any(problems: Sequence[str], heading: str, mend: str) -> None:
    """Raise one `InputError` with all problems, or return if there is none.

    The heading gains their number. A problem of several lines is several: see
    `list_problems`.
    """
    if lines := _split(problems):
        counted = f"{len(lines)} problem{'s' * (len(lines) != 1)}"
        raise InputError(f"{heading} ({counted}):\n{list_problems(lines)}\n{mend}")


def list_problems(problems: Sequence[str]) -> str:
    """Problems as lines of a list, `LINES_LISTED` at most.

    Where there are more, those that say the same of several files or lines ("FILE: what
    is wrong") become one, and those that still do not fit are counted.
    """
    lines = _split(problems)
    if len(lines) > LINES_LISTED:
        lines = sum_up(lines)
    if more := len(lines[LINES_LISTED:]):
        lines[LINES_LISTED - 1 :] = [f"and {more + 1} more"]
    return "\n".join(f"  - {line}" for line in lines)


def _split(problems: Sequence[str]) -> list[str]:
    lines = [line for problem in problems for line in problem.split("\n")]
    return [line.removeprefix("  - ") for line in lines]


def sum_up(lines: Sequence[str]) -> list[str]:
    """One line per different text behind the first ": ", the most frequent first."""
    starts: dict[str, list[str]] = {}
    for line in lines:
        start, colon, text = line.partition(": ")
        starts.setdefault(colon + text or line, []).append(start if colon else "")
    ordered = sorted(starts.items(), key=lambda item: -len(item[1]))
    return [
        f"{first}{f' and {len(more)} more' * bool(more)}{text}"
        for text, (first, *more) in ordered
    ]


def check_at_least(least: int, **values: Real) -> None:
    """Raise `InputError` for the first value, given by name, that is below `least`."""
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name}={value} must be at least {least}")


class StoppedError(Exception):
    """A signal stopped a run, which has saved its state.

    `main.py` prints it and exits with `exit_code`, 128 and the signal's number.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(KeyboardInterrupt):  # no error, as KeyboardInterrupt
    """A signal ends a command where it stands; see `signals.raise_on_signals`.

    Libraries let a KeyboardInterrupt through where they would handle an Exception.
    """

    def __init__(self, number: signal.Signals):
        super().__init__(number.name)
        self.number = number


class ElsewhereError(Exception):
    """Process 0 could not go on, and has printed why."""


def first_line(error: BaseException) -> str:
    """Kind and first line of another library's error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had too little memory."""
    from_device = isinstance(error, jax.errors.JaxRuntimeError)
    return from_device and "RESOURCE_EXHAUSTED" in str(error)


def show_warning(message: Warning | str, *_) -> None:
    """Print a warning on one line, without the code that gave it, in process 0."""
    if is_first():
        print(f"warning: {message}", file=sys.stderr)


def explain(error: BaseException) -> int:
    """Print why a command ends, and return its exit code.

    What a user or a disk can cause is printed as one message; only a fault of the
    program is printed with its traceback. Each process explains its own end.
    """
    if isinstance(error, StoppedError):
        print(error, file=sys.stderr)
        return error.exit_code
    if isinstance(error, ElsewhereError):
        return 1
    if isinstance(error, KeyboardInterrupt):
        known = isinstance(error, Interrupted)
        number = error.number if known else signal.SIGINT
        notes = getattr(error, "__notes__", None) or ["what was finished is kept"]
        print(f"stopped by {number.name}", *notes, sep="; ", file=sys.stderr)
        return 128 + number
    if is_out_of_memory(error):
        print(
            f"error: a device has too little memory ({first_line(error)}). Lower "
            "--config.batch_size or --config.data.image_size, raise "
            "--config.accumulate_steps, or lower --config.data.max_resident_gb to "
            "stream the frames",
            file=sys.stderr,
        )
        return 1
    if not isinstance(error, InputError | RunError | OSError):
        traceback.print_exception(error)
        return 1
    print(
        f"error: {error}", *getattr(error, "__notes__", []), sep=". ", file=sys.stderr
    )
    return 2 if isinstance(error, InputError) else 1
