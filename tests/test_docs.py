"""README.md, docs/ and the docstrings of configs/ against the code and docs/results.csv."""

import ast
import csv
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from configs import unet
from nerve_jax.commands.registry import COMMANDS, check_flags
from nerve_jax.commands.request import Request
from nerve_jax.runs.differences import flatten

REPO = Path(__file__).parents[1]
README = REPO / "README.md"
DOCS = sorted((REPO / "docs").glob("*.md"))
CONFIGS = sorted(
    path for path in (REPO / "configs").glob("*.py") if path.stat().st_size
)
PAGES = [README, REPO / "SECURITY.md", *DOCS]
QUOTING = [README, REPO / "docs/results.md", REPO / "docs/decision.md", *CONFIGS]
FIELDS = flatten(unet.get_config().to_dict()).keys() - {"tuning.space"}
SECTIONS = {name.rpartition(".")[0] for name in FIELDS} - {""}
MAX_README_LINES = 170

NUMBER = r"([+-]?\d\.\d{3,4})(?!\d)"
INTERVAL = rf"\[{NUMBER},\s+{NUMBER}\]"
FIGURE = re.compile(rf"(?<![\w.+-]){NUMBER}(?:\*\*)?(?:\s+{INTERVAL})?")
TOP_LEVEL = "(?:benchmarks|configs|docs|launch|nerve_jax|tests)"
NAMED_PATH = re.compile(rf"(?<![\w/.-])({TOP_LEVEL}/[\w/.-]*)(?:::(\w+)(…?))?")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def read(path: Path) -> str:
    """The text of a page, or the docstring of a configuration."""
    text = path.read_text()
    return (ast.get_docstring(ast.parse(text)) or "") if path.suffix == ".py" else text


def test_the_readme_is_one_page():
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


# Paths.


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_named_paths_exist(page):
    text = read(page)
    links = [link.partition("#")[0] for link in LINK.findall(text)]
    local = [link for link in links if link and "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
    for path, function, cut in NAMED_PATH.findall(text):
        assert (REPO / path.rstrip(".")).exists(), path
        if function:
            end = r"\w*" if cut else ""
            found = re.search(
                rf"^def {function}{end}\(", (REPO / path).read_text(), re.MULTILINE
            )
            assert found, f"{path}::{function}"


def test_the_readme_links_each_document_once():
    links = Counter(LINK.findall(README.read_text()))
    assert [name(page) for page in DOCS if links[name(page)] != 1] == []


# Figures.


def read_results() -> list[dict[str, str]]:
    with (REPO / "docs/results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def find_figures(text: str) -> Counter:
    """Scores with their intervals, "" without one; a plus sign does not count."""
    assert len(re.findall(INTERVAL, text)) == sum(
        bool(found[1]) for found in FIGURE.findall(text)
    ), "an interval without a score"
    return Counter(
        (score.lstrip("+"), f"[{low}, {high}]".replace("+", "") if low else "")
        for score, low, high in FIGURE.findall(text)
    )


@pytest.mark.parametrize("path", QUOTING, ids=name)
def test_figures_are_those_of_the_results(path):
    rows = [row for row in read_results() if name(path) in row["quoted_in"].split()]
    expected = Counter((row["score"], row["interval"]) for row in rows)
    assert find_figures(read(path)) == expected


def test_results_name_pages_that_quote_them():
    quoted = {page for row in read_results() for page in row["quoted_in"].split()}
    assert quoted <= set(map(name, QUOTING))
    assert all(row["quoted_in"] for row in read_results())


def test_rows_of_the_readme_have_date_commit_and_command_of_the_results():
    section = README.read_text().partition("## Results")[2].partition("| exit code")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(lines) == 5
    results = [
        row for row in read_results() if name(README) in row["quoted_in"].split()
    ]
    seen = 0
    for line in lines:
        _, data, command, scored, nothing, when, _ = map(str.strip, line.split("|"))
        for figure in [*find_figures(scored), *find_figures(nothing)]:
            source = (data, command.strip("`"), *when.split(", "))
            seen += figure + source in {
                (
                    *(row["score"], row["interval"], row["data"]),
                    *(row["command"], row["date"], row["commit"]),
                )
                for row in results
            }
    assert seen == len(results)


def test_a_figure_that_is_changed_on_either_side_is_noticed():
    """Whatever digit changes, what is found and what is expected are not equal."""
    text, figures = README.read_text(), find_figures(README.read_text())
    changed = 0
    for match in re.finditer(NUMBER, text):
        other = (
            text[: match.end() - 1] + str(9 - int(match[1][-1])) + text[match.end() :]
        )
        changed += find_figures(other) != figures
    assert changed == sum(3 if interval else 1 for _, interval in figures.elements())


# Commands and fields.


def find_commands(text: str) -> list[list[str]]:
    """Words of every command line that begins with `python main.py` or `nerve-jax`."""
    text = re.sub(r" *\\\n\s*", " ", text)
    spans = [m[2] for m in re.finditer(r"(`+)(.+?)\1", text)]
    blocks = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    lines = [part.strip() for span in [*spans, *blocks] for part in span.split("&&")]
    begun = re.compile(r"(?:(?:\S*/)?python main\.py|nerve-jax) (--.*)")
    found = filter(None, map(begun.fullmatch, lines))
    return [shlex.split(match[1], comments=True) for match in found]


LINES = [
    pytest.param(words, id=f"{name(page)}: {' '.join(words)}")
    for page in [README, *DOCS, *CONFIGS]
    for words in find_commands(read(page))
]


def test_command_lines_are_found():
    assert len(find_commands(README.read_text())) >= len(COMMANDS)
    modes = {word for words in find_commands(README.read_text()) for word in words}
    assert {f"--mode={mode}" for mode in COMMANDS if mode != "train"} <= modes


@pytest.mark.parametrize("words", LINES)
def test_commands_are_taken(words):
    flags = {}
    for word in words:
        flag, _, value = word.removeprefix("--").partition("=")
        flags[flag] = value
    mode = flags.get("mode", "train")
    if mode == "MODE":  # a placeholder
        return
    fields = {flag for flag in flags if flag.startswith("config.")}
    assert {field.removeprefix("config.") for field in fields} <= FIELDS
    assert "config" in flags or not fields, "--config.X= needs --config="
    config = flags.get("config", "")
    if config and not config.startswith("runs/"):
        shipped = REPO / "configs" / f"{config}.py"
        assert shipped.exists() or (REPO / config).exists(), config
    request = Request(
        mode,
        config=unet.get_config() if config else None,
        workdir=flags.get("workdir", "") or (config and "runs/x"),
        workdirs=tuple(flags.get("workdirs", "").split(",")),
        input=flags.get("input", ""),
        output=flags.get("output", ""),
        target=flags.get("target", ""),
    )
    check_flags(request, COMMANDS[mode], flags.keys() - fields)


@pytest.mark.parametrize("page", [*PAGES, *CONFIGS], ids=name)
def test_fields_that_are_named_exist(page):
    text = read(page)
    flags = re.findall(r"--config\.([\w.]*\w)", text)
    sections = "|".join(sorted(SECTIONS, key=len, reverse=True)).replace(".", r"\.")
    alone = re.findall(rf"`((?:{sections})\.(?!py\b|json\b)[a-z_]\w*)[=`]", text)
    known = FIELDS | SECTIONS | {"tuning.space", "SECTION.FIELD", "FIELD"}
    assert [field for field in [*flags, *alone] if field not in known] == []


# The tree.


def list_modules() -> set[str]:
    package = REPO / "nerve_jax"
    paths = (path.relative_to(package) for path in package.rglob("*.py"))
    return {path.as_posix() for path in paths if path.name != "__init__.py"}


def test_the_code_map_has_every_module_and_no_other():
    items = re.findall(
        r"^- `([\w/]+\.py)`:", (REPO / "docs/code.md").read_text(), re.MULTILINE
    )
    assert sorted(items) == sorted(list_modules())


def test_the_tree_of_the_readme_has_every_module_and_no_other():
    block = README.read_text().partition("    nerve_jax/\n")[2]
    block = re.split(r"^ {4}\w", block, maxsplit=1, flags=re.MULTILINE)[0]
    found, package = [], ""
    for line in block.splitlines():
        match = re.match(r" {6}([\w/]+)/ +(.*)", line)
        package, rest = match.groups() if match else (package, line)
        found += [f"{package}/{module}.py" for module in re.findall(r"\w+", rest)]
    assert sorted(found) == sorted(list_modules())
