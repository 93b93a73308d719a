"""Packages of extras: imported where they are needed, and named where they are missing."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from nerve_jax.system.errors import InputError
from nerve_jax.system.extras import require

REPO = Path(__file__).parents[2]
OPTIONAL = {"pydicom", "gdcm", "jpeg_ls", "av"}


def test_a_module_that_is_there():
    assert require("json", "dicom", "tests").loads("1") == 1


def test_the_extra_of_a_module_that_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"DICOM files need the extra dicom: pip inst"):
        require("pydicom", "dicom", "DICOM files")
    with pytest.raises(InputError, match=r"nerve_jax\[clips\]"):
        require("no_such.module", "clips", "clips")


def test_extras_are_those_of_the_project():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"dicom", "dicom-all", "clips"} <= extras.keys()
    assert set(extras["dicom"]) < set(extras["dicom-all"])


def list_imports(tree):
    """Names of packages that a module imports when it is imported itself."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_no_module_imports_an_extra_by_itself():
    paths = sorted((REPO / "nerve_jax").rglob("*.py"))
    found = {path: set(list_imports(ast.parse(path.read_text()))) for path in paths}
    assert len(found) > 80
    assert not {path for path, names in found.items() if names & OPTIONAL}
