import json
import multiprocessing
import os
import signal
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


def _write_for_ever(path):
    number = 0
    while True:
        files.write_json(path, {"number": number, "filling": "x" * 100_000})
        number += 1


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "scores.json"
    for delay in (0.3, 0.31, 0.32):
        writer = multiprocessing.get_context("fork").Process(
            target=_write_for_ever, args=(path,)
        )
        writer.start()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert len(json.loads(path.read_text())["filling"]) == 100_000
