"""What a command prints: by the first of its processes alone."""

import io
import os
import sys
from collections.abc import Iterable

from jax._src import distributed  # public calls would start the devices
from rich import progress
from rich.console import Console


class _LastingFile(io.FileIO):
    """A file that stays writable where nobody reads it: after `| head`, or a hangup."""

    def write(self, content) -> int:
        try:
            return super().write(content) or 0
        except OSError:
            return len(content)


def prepare_streams() -> None:
    """Let standard output and error take any character, and outlive their readers.

    A character that the terminal cannot show is spelt out with a backslash. Training
    goes on, and saves, when the terminal or the pager that it prints to is closed.
    """
    sys.stdout = _prepare(sys.stdout, 1)
    sys.stderr = _prepare(sys.stderr, 2)


def _prepare(stream, number: int) -> io.TextIOWrapper:
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_LastingFile(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
        write_through=stream.write_through,
    )


def is_first() -> bool:
    """Whether this is process 0, which prints and writes; true of a process alone."""
    return distributed.global_state.process_id == 0


def say(*lines: str) -> None:
    """Print lines at once, in process 0; the other processes of a run stay silent."""
    if lines and is_first():
        print(*lines, sep="\n", flush=True)


def create_console() -> Console:
    """A rich console for tables and bars: of standard output, silent beyond process 0.

    It prints text as it is: [brackets] and :colons: of a path are no markup.
    """
    return Console(quiet=not is_first(), markup=False, emoji=False)


def track(items: Iterable, label: str, total: int) -> Iterable:
    """Show how many of `total` items have been taken: a bar, and in a terminal alone."""
    console = create_console()
    return progress.track(
        items,
        label,
        total=total,
        transient=True,
        console=console,
        disable=not console.is_terminal,
    )
