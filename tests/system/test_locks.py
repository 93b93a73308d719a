import json
import os
import subprocess
import sys
import threading
import time

import pytest

from nerve_jax.system import files, locks
from nerve_jax.system.errors import InputError, RunError

HOLDER = """
import sys, time
from pathlib import Path
from nerve_jax.system import files, locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fold_0" / "lock"


def test_a_lock_is_there_while_held_and_gone_after(path):
    with locks.hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        locks.check(path)
        with (
            pytest.raises(InputError, match=rf"process {os.getpid()} on .* is at work"),
            locks.hold(path),
        ):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_live_process_keeps_others_out_and_a_dead_one_does_not(path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"process {holder.pid} on"), locks.hold(path):
        pass
    holder.kill()
    holder.wait()
    assert path.exists()
    with locks.hold(path):
        locks.check(path)


def test_a_number_given_anew_is_another_process(path):
    path.parent.mkdir()
    mine = locks._describe_process() | {"started": "1"}
    path.write_text(json.dumps(mine))
    with locks.hold(path):
        locks.check(path)
    assert not path.exists()


def write_elsewhere(path, seconds_ago=0.0):
    path.parent.mkdir(exist_ok=True)
    holder = {"host": "elsewhere", "pid": 1, "time": time.time() - seconds_ago}
    files.write_json(path, holder)


def test_a_lock_from_elsewhere_is_stale_after_five_minutes(path):
    write_elsewhere(path, locks.STALE_SECONDS + 1)
    with locks.hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_one_from_elsewhere_that_is_renewed_is_live(path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "WATCH_SECONDS", 0.01)
    write_elsewhere(path)
    renewing = threading.Timer(0.1, write_elsewhere, [path])
    renewing.start()
    with (
        pytest.raises(InputError, match="process 1 on elsewhere is at work here"),
        locks.hold(path),
    ):
        pass
    renewing.join()
    assert "waiting to see whether it still does" in capsys.readouterr().out


def test_one_from_a_lost_host_is_taken_over_without_being_asked(path, monkeypatch):
    monkeypatch.setattr(locks, "WATCH_SECONDS", 0.01)
    write_elsewhere(path, locks.STALE_SECONDS - 0.5)
    with locks.hold(path):
        locks.check(path)


def test_a_disk_out_of_reach_for_a_moment_costs_no_lock(path, monkeypatch):
    def fail(_):
        raise OSError("stale file handle")

    with locks.hold(path), monkeypatch.context() as patched:
        patched.setattr(locks, "_read", fail)
        locks.check(path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"time": "now"}'])
def test_what_is_no_lock_holds_nobody_off(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with locks.hold(path):
        locks.check(path)


def test_a_held_lock_is_renewed(path, monkeypatch):
    monkeypatch.setattr(locks, "RENEW_SECONDS", 0.01)
    with locks.hold(path):
        first = json.loads(path.read_text())["time"]
        deadline = time.monotonic() + 10
        while json.loads(path.read_text())["time"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_one_that_waits_gets_it_next(path):
    order = []

    def second():
        with locks.hold(path, wait=True):
            order.append("second")

    with locks.hold(path):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_run_that_lost_its_lock_says_so_and_leaves_it(path):
    other = '{"host": "elsewhere", "pid": 7, "time": 1}'
    with (
        pytest.raises(RunError, match="process 7 on elsewhere took this lock over"),
        locks.hold(path),
    ):
        path.write_text(other)
    assert path.read_text() == other


def test_a_signal_just_as_the_lock_is_made_leaves_none(tmp_path, monkeypatch):
    def create_and_stop(path, content):
        path.write_text(content)
        raise KeyboardInterrupt

    monkeypatch.setattr(locks, "create_whole", create_and_stop)
    with pytest.raises(KeyboardInterrupt), locks.hold(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []
