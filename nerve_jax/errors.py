"""Errors whose message is the whole answer a user needs."""


class InputError(ValueError):
    """Something the user gave is wrong; the message says what, where and the mend.

    `main.py` prints it without a traceback and exits with 2.
    """


class RunError(RuntimeError):
    """A run could not go on; the message says where it stands and how to go on.

    `main.py` prints it without a traceback and exits with 1.
    """


def raise_if_any(problems: list[str], heading: str, mend: str) -> None:
    """Raise one `InputError` that lists every problem, or return if there is none."""
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise InputError(f"{heading} ({len(problems)}):\n{listing}\n{mend}")
