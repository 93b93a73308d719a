import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerve_jax.system import files
from nerve_jax.system.errors import InputError


def test_json_has_null_for_what_is_no_number(tmp_path):
    path = tmp_path / "scores.json"
    files.write_json(path, {"dice": float("nan"), "rows": (1.5, float("inf"))})
    assert json.loads(path.read_text()) == {"dice": None, "rows": [1.5, None]}


def test_tables_and_pictures_come_back(tmp_path):
    files.write_table(
        tmp_path / "t.csv", ("frame", "note"), [("a", 'x,"y"\n'), ("b", "")]
    )
    assert files.read_table(tmp_path / "t.csv") == [
        {"frame": "a", "note": 'x,"y"\n'},
        {"frame": "b", "note": ""},
    ]
    picture = np.arange(60, dtype=np.uint8).reshape(6, 10)
    files.write_png(tmp_path / "p.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "p.png")), picture)
    files.write_array(tmp_path / "a.npy", picture)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), picture)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "scores.json"
    files.write_json(path, {"dice": 1})
    try:
        files.write_json(path, {"dice": object()})
    except TypeError:
        pass
    assert json.loads(path.read_text()) == {"dice": 1}
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import itertools, sys
from pathlib import Path
import numpy as np
from nerve_jax.system import files
folder = Path(sys.argv[1])
print("ready", flush=True)
for i in itertools.count():
    size = 10 + 997 * i % 3000
    files.write_json(folder / "a.json", list(range(size)))
    files.write_table(folder / "b.csv", ("n", "end"), [(n, "x") for n in range(size)])
    files.write_array(folder / "c.npy", np.arange(size))
    files.write_png(folder / "d.png", np.zeros((size, 50), np.uint8))
    files.write_whole(folder / "e.html", "<html>" + "-" * size + "</html>")
    files.create_whole(folder / f"f{i % 50}", "<" + "-" * size + ">")
"""


def test_a_killed_writer_leaves_whole_files(tmp_path):
    """Twelve kills; what they leave beside is removed once it is old."""
    draw = random.Random(0)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as writer:
            writer.stdout.readline()
            time.sleep(draw.uniform(0.01, 0.1))
            writer.kill()
    json.loads((tmp_path / "a.json").read_text())
    assert all(row["end"] == "x" for row in files.read_table(tmp_path / "b.csv"))
    array = np.load(tmp_path / "c.npy")
    np.testing.assert_array_equal(array, np.arange(len(array)))
    Image.open(tmp_path / "d.png").load()
    assert (tmp_path / "e.html").read_text().endswith("</html>")
    for path in tmp_path.glob("f*"):
        assert path.read_text().endswith(">")
    files.remove_leftovers(tmp_path)
    for path in tmp_path.glob(".*.partial"):
        os.utime(path, (0, 0))
    files.remove_leftovers(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_path_is_absolute_and_a_tilde_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for text, path in {
        "runs/a": tmp_path / "runs" / "a",
        "~/runs/a": tmp_path / "home" / "runs" / "a",
        "~": tmp_path / "home",
        "./~": tmp_path / "~",
        "a~b": tmp_path / "a~b",
        "/x/y": Path("/x/y"),
        ".": tmp_path,
    }.items():
        assert files.open_path(text, "--workdir") == path
    assert str(files.open_path("gs://b/~/a", "--workdir")) == "gs://b/~/a"


@pytest.mark.parametrize(
    "text", ["", "~nobody-of-that-name/a", "a\nb", "a\tb", "a\x1b[31m", "a\udc80"]
)
def test_what_is_no_path_is_refused_by_flag(text):
    with pytest.raises(InputError, match="^--input"):
        files.open_path(text, "--input")


@pytest.mark.parametrize("text", ["a[1]", "[", "a*", "a?b", "a\\b", "a[1]/b"])
def test_patterns_are_refused_only_where_a_library_takes_them(text):
    assert files.open_path(text, "--input").is_absolute()
    with pytest.raises(InputError, match="^--workdir=.*pattern"):
        files.open_path(text, "--workdir", plain=True)


def test_what_must_be_on_a_disk_is_in_no_bucket():
    with pytest.raises(InputError, match="^--output=gs://b: must be on a disk"):
        files.open_local("gs://b", "--output")
