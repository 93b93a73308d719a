"""Packages that not everybody needs, by the extra of the project that installs them."""

import importlib
from types import ModuleType

from nerve_jax.system.errors import InputError


class MissingExtraError(InputError):
    """A package is not installed that an extra of the project brings."""

    def __init__(self, extra: str, what: str):
        """Say so.

        Args:
          extra: of pyproject.toml.
          what: needs it, in words: "DICOM files".
        """
        super().__init__(
            f'{what} need the extra {extra}: pip install "nerve_jax[{extra}]", or in a '
            f'clone pip install ".[{extra}]"'
        )


def require(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an extra.

    Args:
      module: its dotted name.
      extra: of pyproject.toml, which installs it.
      what: needs it, in words: "DICOM files".

    Raises:
      MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(extra, what) from error
