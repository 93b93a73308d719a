"""The shape of the code: who imports whom, who prints, what the loop is given."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nerve_jax.training.engine import Engine
from nerve_jax.training.loop import train_folds
from nerve_jax.training.task import Task

REPO = Path(__file__).parents[1]
PACKAGES = REPO / "nerve_jax"
RANKS = {
    "system": 0,
    "data": 1,
    "model": 1,
    "scoring": 2,
    "runs": 3,
    "training": 4,
    "reports": 4,
    "commands": 5,
}
MODULES = sorted(path.relative_to(PACKAGES) for path in PACKAGES.glob("*/**/*.py"))
SEE_CONFIG = {"commands", "runs/config.py"}
ARRAYS = ("scoring", "model", "data/resize.py", "data/examples.py", "data/batches.py")
FORBIDDEN = ("tensorflow_datasets", "nerve_jax.system.locks", "nerve_jax.data.records")


def list_imports(path):
    """Dotted names that a file imports, at its top or within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_to_a_lower_package_or_stay_in_ones_own(module):
    own = module.parts[0]
    for name in list_imports(PACKAGES / module):
        first, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if first == "nerve_jax":
            assert other == own or RANKS[other] < RANKS[own], name
        if first == "ml_collections":
            assert SEE_CONFIG & {own, str(module)}, name


@pytest.mark.parametrize("package", sorted(RANKS))
def test_a_package_says_in_a_paragraph_what_it_is_for(package):
    tree = ast.parse((PACKAGES / package / "__init__.py").read_text())
    words = ast.get_docstring(tree).split()
    assert 20 < len(words) < 140
    assert len(tree.body) == 1


def test_every_package_has_a_rank():
    assert {path.name for path in PACKAGES.iterdir() if path.is_dir()} - {
        "__pycache__"
    } == set(RANKS)


def reach(name, seen):
    """Every module of the project that a module imports, directly or not."""
    path = REPO / (name.replace(".", "/") + ".py")
    for found in list_imports(path) if path.exists() else ():
        for candidate in (found, found.rpartition(".")[0]):
            if candidate not in seen:
                seen.add(candidate)
                reach(candidate, seen)
    return seen


@pytest.mark.parametrize(
    "module", [m for m in MODULES if str(m).startswith(ARRAYS)], ids=str
)
def test_what_computes_on_arrays_needs_no_records_locks_or_builders(module):
    name = "nerve_jax." + ".".join(module.with_suffix("").parts)
    found = reach(name, set())
    assert not [one for one in found if one.startswith(FORBIDDEN)]


# Where each process speaks for itself: of its own end.
MAY_PRINT = {"system/console.py", "system/errors.py", "system/processes.py"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_one_function_prints_and_standard_output_is_left_alone(module):
    text = (PACKAGES / module).read_text()
    calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
    printed = [n for n in calls if getattr(n.func, "id", "") == "print"]
    assert not printed or str(module) in MAY_PRINT
    if str(module) != "system/console.py":
        assert "sys.stdout" not in text.replace("sys.stdout.flush()", "")


def test_the_loop_is_given_few_things_and_no_functions():
    parameters = inspect.signature(train_folds).parameters
    assert len(parameters) <= 7
    assert not any(p.annotation is Callable for p in parameters.values())
    for name in ("init", "step", "split", "join", "rejoin"):
        assert callable(getattr(Engine, name))
    assert {"loss", "begin", "score", "export"} <= set(vars(Task))


ODD = re.compile(
    r"\b(anew|told|said|gives? up|an? (?:row|fold|frame) an? (?:row|fold|frame|step|run))\b"
)
TEXTS = [
    *PACKAGES.rglob("*.py"),
    *PACKAGES.rglob("*.html"),
    *(REPO / "configs").glob("*.py"),
    *(REPO / "docs").glob("*.md"),
    *(REPO / name for name in ("README.md", "SECURITY.md", "main.py")),
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(REPO)))
def test_texts_are_in_plain_english(path):
    found = [m[0] for m in ODD.finditer(path.read_text())]
    assert not found
