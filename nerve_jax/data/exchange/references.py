"""Which picture is meant by a path or URL from another machine."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from nerve_jax.data.listing import list_some
from nerve_jax.system.files import show

# What the content of a file raises that is not as its program writes it.
MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


def describe(error: Exception) -> str:
    """One of `MALFORMED` in words; a `ValueError` has them already."""
    if type(error) is ValueError:
        return show(str(error))
    return f"not as its program writes it ({type(error).__name__}: {show(str(error))})"


def group(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """Names by what `key` makes of each."""
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return dict(groups)


def choose(candidates: Sequence[str], reference: str) -> str:
    """The picture that a reference means, out of those whose names fit.

    Args:
      candidates: keys of `find_pictures`, one or more.
      reference: a path; the folders that it ends with decide between several.

    Raises:
      ValueError: it may mean more than one of them.
    """
    whole = f"/{reference}"
    fitting = [name for name in candidates if whole.endswith(f"/{name}")]
    for found in (candidates, fitting):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"picture {show(reference)!r} may be any of {show(list_some(candidates))}; give "
        "pictures names of their own"
    )
