"""Files around the code agree with it and with one another."""

import ast
import functools
import operator
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from configs import unet

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
PYTHONS = ["3.11", "3.12", "3.13"]


def read(name: str) -> str:
    return (REPO / name).read_text()


def list_steps(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_citation_names_this_software():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["name"]
    assert citation["version"] == PROJECT["version"]
    assert citation["message"]
    assert citation["authors"]
    assert citation["abstract"].count(".") == 2
    assert ("license" in citation) == (REPO / "LICENSE").exists()


def test_ci_runs_what_the_readme_names_on_every_python():
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert "make test" in list_steps(jobs["test"])
    assert "make lint" in list_steps(jobs["lint"])
    assert "make test" in read("README.md")
    for job in jobs.values():
        assert job["timeout-minutes"] <= 60
        [setup] = [
            step["with"]
            for step in job["steps"]
            if step.get("uses", "").startswith("actions/setup-python@")
        ]
        assert setup["cache"] == "pip"
        assert all((REPO / p).exists() for p in setup["cache-dependency-path"].split())


def test_hooks_have_the_ruff_of_the_project():
    [pin] = [
        r.partition("==")[2]
        for r in PROJECT["optional-dependencies"]["dev"]
        if r.startswith("ruff==")
    ]
    [hooks] = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert hooks["rev"] == f"v{pin}"
    assert [hook["id"] for hook in hooks["hooks"]] == ["ruff-check", "ruff-format"]


def test_the_image_runs_the_console_script_as_another_user_than_root():
    text = read("Dockerfile")
    [entry] = re.findall(r'^ENTRYPOINT \["(.+)"\]$', text, re.MULTILINE)
    assert entry in PROJECT["scripts"]
    [user] = re.findall(r"^USER (\d+)$", text, re.MULTILINE)
    assert int(user) > 0
    assert set(re.findall(r"python:(\S+)-slim", text)) <= set(PYTHONS)
    extras = set(re.findall(r"EXTRA=(\w+)", text))
    assert extras
    assert extras <= set(PROJECT["optional-dependencies"])


def test_the_image_is_given_what_it_copies_and_nothing_else():
    copies = re.findall(r"^COPY (?!--)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    copied = {name for names in copies for name in names.split()}
    assert all((REPO / name).exists() for name in copied)
    lines = read(".dockerignore").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def find_paths(text: str) -> set[str]:
    """Paths in a page: what its links and its words in backticks name."""
    path = r"`([\w.-]+/[\w./-]*|[\w.-]+\.(?:py|md|toml|yaml|txt))`"
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    return {*links, *re.findall(path, text)}


def test_paths_that_contributing_names_exist():
    paths = find_paths(read("CONTRIBUTING.md"))
    assert "nerve_jax/model/unet.py" in paths
    assert [path for path in sorted(paths) if not (REPO / path).exists()] == []
    packages = {f"nerve_jax/{p.parent.name}/" for p in REPO.glob("nerve_jax/*/*.py")}
    assert {path for path in paths if re.fullmatch(r"nerve_jax/\w+/", path)} == packages


@pytest.mark.parametrize(
    "what", ["A model option", "A loss", "A data source", "A score"]
)
def test_names_that_contributing_tells_to_extend_are_in_the_files_named(what):
    [entry] = [e for e in read("CONTRIBUTING.md").split("\n- ") if what in e[:30]]
    named = [REPO / path for path in find_paths(entry) if path.endswith(".py")]
    code = "\n".join(path.read_text() for path in named)
    names = set(re.findall(r"`((?:config\.)?\w+(?:\.name)?)`", entry))
    assert names
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code)] == []


def test_the_changelog_maps_old_fields_to_fields_of_the_reference():
    rows = re.findall(
        r"^\| `([\w.]+)` \| `([\w.]+)` \|$", read("CHANGELOG.md"), re.MULTILINE
    )
    config = unet.get_config()
    assert len(rows) > 30
    for old, new in rows:
        section, _, field = new.rpartition(".")
        fields = functools.reduce(operator.getitem, section.split("."), config)
        assert field in fields
        assert old not in config or old == section  # `loss` is a section now


BENCHMARKS = sorted((REPO / "benchmarks").glob("*.py"))


def list_imports(path: Path) -> set[str]:
    """Top names of all modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_an_installed_project_is_all_that_a_benchmark_needs(path):
    """Beside its own folder, where Python looks first, and packages."""
    beside = {other.stem for other in BENCHMARKS}
    in_the_project = {p.name for p in REPO.iterdir() if (p / "__init__.py").exists()}
    in_the_project |= {p.stem for p in REPO.glob("*.py")} | {"tests", "benchmarks"}
    own = (list_imports(path) - beside) & in_the_project
    assert own <= {"nerve_jax", "configs", "main"}  # what pyproject.toml installs
    assert "PYTHONPATH" not in path.read_text()


def test_the_benchmarks_environment_has_the_project_installed():
    recipe = read("Makefile").partition(".venv-bench/.installed: ")[2]
    recipe = recipe.partition("\n\n")[0]
    assert ".venv-bench/bin/pip install -q --no-deps -e ." in recipe
    for name in ("Makefile", "benchmarks/README.md", "docs/few_labels.md"):
        assert "PYTHONPATH" not in read(name)
    tools = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    assert tools["py-modules"] == ["main"]
    assert {"nerve_jax*", "configs*"} <= set(tools["packages"]["find"]["include"])
