"""What a command prints: by the first of its processes alone."""

from jax._src import distributed  # public calls would start the devices
from rich.console import Console


def is_first() -> bool:
    """Whether this is process 0, which prints and writes; true of a process alone."""
    return distributed.global_state.process_id == 0


def say(*lines: str) -> None:
    """Print lines at once, in process 0; the other processes of a run stay silent."""
    if is_first():
        print(*lines, sep="\n", flush=True)


def create_console() -> Console:
    """A rich console for tables and bars: of standard output, silent beyond process 0."""
    return Console(quiet=not is_first())
