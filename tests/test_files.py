import json
import subprocess
import sys
import time

import numpy as np
from PIL import Image

from nerve_jax import files


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
import itertools, pathlib, sys
from nerve_jax import files
for number in itertools.count():
    content = {"number": number, "filling": "x" * 100_000}
    files.write_json(pathlib.Path(sys.argv[1]), content)
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "scores.json"
    for delay in (0.1, 0.11, 0.12):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
            while not path.exists():
                assert writer.poll() is None
                time.sleep(0.01)
            time.sleep(delay)
            writer.kill()
        assert len(json.loads(path.read_text())["filling"]) == 100_000
