"""Packages that not everybody needs, by the extra of the project that installs them."""

import importlib
from types import ModuleType

from nerve_jax.system.errors import InputError


def require(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an extra.

    Args:
      module: its dotted name.
      extra: of pyproject.toml, which installs it.
      what: needs it, in words: "DICOM files".

    Raises:
      InputError: it is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(explain_missing(extra, what)) from error


def explain_missing(extra: str, what: str) -> str:
    """What to say where the package of an extra is missing."""
    return f"{what} need the extra {extra}: pip install 'nerve_jax[{extra}]'"
