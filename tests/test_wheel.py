"""The wheel: what it ships, and that its console script works without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import pytest

REPO = Path(__file__).parents[1]
TINY = {
    "data.phantom.num_subjects": 4,
    "data.phantom.frames_per_subject": 4,
    "data.image_size": "(32,48)",
    "model.widths": "(8,16)",
    "batch_size": 4,
    "num_train_steps": 2,
    "eval_every_steps": 2,
    "num_folds": 2,
}
# Run whenever the interpreter of the new environment starts: notes that, and which of the
# project's modules it had at its end.
NOTE = """import atexit, json, os, sys

def note(*what):
    with open(os.environ["NOTES"], "a") as file:
        print(json.dumps(what), file=file)

def note_end():
    ours = [m for name, m in sys.modules.items() if name.split(".")[0] in OURS]
    note("end", [module.__file__ for module in ours])

OURS = "main", "configs", "nerve_jax"
if "NOTES" in os.environ:
    note("start", os.environ.get("GLIBC_TUNABLES"), sys.orig_argv)
    atexit.register(note_end)
"""


def check_run(*words, **options) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def list_sources() -> list[str]:
    """Files of the checkout, by their paths in it, but for those that git ignores."""
    if not (REPO / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git checkout: which files are sources is not known")
    words = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = check_run(*words, cwd=REPO).split("\0")
    return [name for name in names if name and (REPO / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that nothing is left behind in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in list_sources():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPO / name, target)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    if has_setuptools():
        pip.append("--no-build-isolation")
    done = subprocess.run(
        [*pip, str(folder / "source")], capture_output=True, text=True, check=False
    )
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip cannot get setuptools, which builds the wheel")
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("*.whl")
    return path


def has_setuptools() -> bool:
    """Whether setuptools is installed here, and new enough for pyproject.toml."""
    needed = tomllib.loads((REPO / "pyproject.toml").read_text())["build-system"]
    [least] = (r.removeprefix("setuptools>=") for r in needed["requires"])
    try:
        return int(version("setuptools").split(".")[0]) >= int(least)
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A virtual environment with the wheel, and the packages of this one beside it.

    A path that a .pth file names is searched for packages, but .pth files that lie there
    are not read: an editable install of the checkout is not seen.
    """
    folder = tmp_path_factory.mktemp("environment")
    check_run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    check_run(*pip, "--no-deps", "--no-index", wheel)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(check_run(python, "-c", query).strip())
    here = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "beside.pth").write_text("\n".join(sorted(here)))
    (packages / "sitecustomize.py").write_text(NOTE)
    return folder


@pytest.fixture
def run(environment, tmp_path):
    """Return `run(*words) -> (stdout, notes)` of nerve-jax, in another folder."""
    dropped = ("PYTHONPATH", "XLA_FLAGS", "GLIBC_TUNABLES")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    programs = jax.config.jax_compilation_cache_dir or str(tmp_path / "programs")
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": programs,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # two steps: compiling is what takes long
    }
    script = environment / "bin" / "nerve-jax"

    def run(*words) -> tuple[str, list]:
        notes = tmp_path / "notes.jsonl"
        notes.unlink(missing_ok=True)
        variables = kept | settings | {"NOTES": str(notes)}
        said = check_run(script, *words, cwd=tmp_path, env=variables)
        return said, [json.loads(line) for line in notes.read_text().splitlines()]

    return run


def test_the_wheel_ships_packages_configurations_and_what_they_read(wheel):
    sources = {Path(name) for name in list_sources()}
    packages = {p for p in sources if p.parts[0] in ("nerve_jax", "configs")}
    modules = {p for p in packages if p.suffix == ".py"}
    texts = {p for p in packages if p.parent.name == "ultrasound_nerve"} - modules
    templates = {p for p in packages if p.suffix == ".html"}
    assert {p.name for p in texts} == {"TAGS.txt", "README.md", "CITATIONS.bib"}
    assert len(templates) > 4
    with zipfile.ZipFile(wheel) as archive:
        shipped = {Path(name) for name in archive.namelist()}
        [entry_points] = [p for p in shipped if p.name == "entry_points.txt"]
        assert "nerve-jax = main:start" in archive.read(str(entry_points)).decode()
    code = {p for p in shipped if not p.parts[0].endswith(".dist-info")}
    assert code == modules | texts | templates | {Path("main.py")}
    folders = {p.parent for p in modules}
    assert {folder / "__init__.py" for folder in folders} <= shipped


def test_the_console_script_explains_itself(run):
    said, notes = run("--help")
    assert "--mode=MODE" in said
    starts = [note[1:] for note in notes if note[0] == "start"]
    if has_huge_pages():  # the script starts itself again, once, with its arguments
        assert [setting for setting, _ in starts] == [None, "glibc.malloc.hugetlb=1"]
        assert starts[0][1][1:] == starts[1][1][1:]
    said, _ = run("--mode=train", "--help")
    assert "--config.FIELD=VALUE" in said


def has_huge_pages() -> bool:
    """Whether the C library is one that `use_huge_pages` starts programs again with."""
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return False
    numbers = os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")
    return tuple(map(int, numbers[:2])) >= (2, 35)


@pytest.mark.slow
def test_the_console_script_trains_with_a_shipped_configuration(
    run, environment, tmp_path
):
    _, notes = run(
        "--config=unet",
        f"--config.data.records_dir={tmp_path / 'records'}",
        f"--workdir={tmp_path / 'run'}",
        *(f"--config.{name}={value}" for name, value in TINY.items()),
    )
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["config"]["data"]["image_size"] == [32, 48]
    assert report["num_frames"] == 8
    assert (tmp_path / "run" / "report.html").exists()
    [files] = [note[1] for note in notes if note[0] == "end"]
    assert {"main.py", "unet.py", "train.py"} <= {Path(file).name for file in files}
    assert all(Path(file).is_relative_to(environment) for file in files)
