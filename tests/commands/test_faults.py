"""Runs that are killed, stopped, starved of disk or disturbed, by the real command."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).parents[2]
SMALL = {
    "data.image_size": "(32,48)",
    "model.widths": "(8,16)",
    "batch_size": 4,
    "num_train_steps": 120,
    "eval_every_steps": 20,
    "num_folds": 3,
    "data.phantom.num_subjects": 5,
    "data.phantom.frames_per_subject": 3,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where records and compiled programs are kept from one command to the next."""
    return tmp_path_factory.mktemp("faults")


def start(
    root,
    workdir,
    *words,
    before=(),
    new_group=False,
    stream=subprocess.PIPE,
    **overrides,
):
    """Start a training command."""
    options = {"data.records_dir": root / "records"} | SMALL | overrides
    flags = [f"--config.{k}={v}" for k, v in options.items()]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(root / "cache"),
    }
    return subprocess.Popen(
        [
            *(*before, sys.executable, "main.py", "--config=configs/unet.py"),
            *(f"--workdir={workdir}", *flags, *words),
        ],
        cwd=REPO,
        env=environment,
        stdout=stream,
        stderr=stream,
        text=True,
        start_new_session=new_group,
    )


def finish(process, expect=0):
    """What a command said, without a traceback."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == expect, out + err
    assert "Traceback" not in err
    return out + err


@pytest.fixture(scope="module")
def whole(root):
    """The folder of an undisturbed run."""
    finish(start(root, root / "whole"))
    return root / "whole"


def assert_same_run(workdir, whole):
    """Final weights, predictions and the log's losses and scores, bit for bit."""
    from nerve_jax.runs import members

    ours, theirs = (members.load_members(folder)[0] for folder in (workdir, whole))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    probs = [
        np.load(folder / "fold_0" / "val_probs.npy") for folder in (workdir, whole)
    ]
    np.testing.assert_array_equal(*probs)
    logs = [
        [
            {k: v for k, v in json.loads(row).items() if "second" not in k}
            for row in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (workdir, whole)
    ]
    assert logs[0] == logs[1]


def steps_in(workdir):
    found = workdir.glob("fold_0/checkpoints/*")
    return {int(path.name) for path in found if path.name.isdecimal()}


def wait_until(process, condition):
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]
)
def test_a_stopped_run_saves_and_goes_on_bit_for_bit(root, whole, tmp_path, number):
    process = start(root, tmp_path / "w")
    wait_until(process, lambda: steps_in(tmp_path / "w"))
    process.send_signal(number)
    said = finish(process, expect=128 + number)
    assert (
        f"stopped by {number.name} after step {max(steps_in(tmp_path / 'w'))}" in said
    )
    assert not (tmp_path / "w" / "fold_0" / "lock").exists()
    finish(start(root, tmp_path / "w"))
    assert_same_run(tmp_path / "w", whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("at", ["records/**/*.lock", "w/fold_0/lock"])
def test_a_run_stopped_before_it_trains_says_so_and_leaves_no_lock(
    tmp_path, number, at
):
    """While records are prepared, and from the lock of the fold on, while it compiles."""
    many = {"data.phantom.num_subjects": 40, "data.phantom.frames_per_subject": 20}
    options = many if "records" in at else {}
    process = start(tmp_path, tmp_path / "w", **options)
    wait_until(process, lambda: list(tmp_path.glob(at)))
    process.send_signal(number)
    said = finish(process, expect=128 + number)
    assert f"stopped by {number.name}" in said
    if "fold_0" in at:
        assert "the same command starts there from the beginning" in said
    assert not list(tmp_path.rglob("*lock"))


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_saves_and_goes_on(root, whole, tmp_path):
    workdir = tmp_path / "w"
    master, terminal = os.openpty()
    process = start(root, workdir, new_group=True, stream=terminal)
    os.close(terminal)
    wait_until(process, lambda: steps_in(workdir))
    os.close(master)
    process.send_signal(signal.SIGHUP)  # as the shell does
    assert process.wait(timeout=120) == 128 + signal.SIGHUP
    assert not (workdir / "fold_0" / "lock").exists()
    finish(start(root, workdir))
    assert_same_run(workdir, whole)


@pytest.mark.slow
def test_a_run_that_streams_its_frames_stops_as_well(root, whole, tmp_path):
    """Ctrl-C goes to the workers too: to all processes of a terminal."""
    options = {"data.max_resident_gb": 0.0, "num_train_steps": 5000}
    process = start(root, tmp_path / "w", new_group=True, **options)
    wait_until(process, lambda: steps_in(tmp_path / "w"))
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process, expect=130)
    assert "stopped by SIGINT after step" in said


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker_behind(root, whole, tmp_path):
    options = {"data.max_resident_gb": 0.0, "num_train_steps": 5000}
    process = start(root, tmp_path / "w", new_group=True, **options)
    wait_until(process, lambda: steps_in(tmp_path / "w"))
    process.kill()
    process.communicate()  # returns once nobody holds its output open
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)


@pytest.mark.slow
def test_twenty_kills_cost_nothing(root, whole, tmp_path):
    """Ten at random moments, ten while a checkpoint is being written."""
    workdir, draw = tmp_path / "w", random.Random(0)
    options = {"num_train_steps": 2000}
    finish(start(root, tmp_path / "undisturbed", **options))
    in_a_save = 0
    for kill in range(20):
        process = start(root, workdir, **options)
        before = max(steps_in(workdir), default=0)
        wait_until(process, lambda: max(steps_in(workdir), default=0) > before)  # noqa: B023
        if kill % 2:
            wait_until(
                process, lambda: any(workdir.glob("fold_0/checkpoints/*.orbax*"))
            )
        else:
            time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.communicate()
        in_a_save += any(workdir.glob("fold_0/checkpoints/*.orbax*"))
    assert in_a_save >= 5
    assert max(steps_in(workdir)) < 2000
    finish(start(root, workdir, **options))
    assert_same_run(workdir, tmp_path / "undisturbed")


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(root, whole, tmp_path):
    workdir = tmp_path / "w"
    shutil.copytree(whole, workdir)
    (workdir / "fold_0" / "summary.json").unlink()
    for path in (workdir / "fold_0" / "checkpoints" / "120").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = finish(start(root, workdir))
    assert "damaged, so the newest whole checkpoint is used" in said
    assert "checkpoints/120: " in said
    assert "going on from step 100" in said
    assert_same_run(workdir, whole)


def test_a_fold_in_use_is_refused(root, whole, tmp_path):
    from nerve_jax.system import locks

    shutil.copytree(whole, tmp_path / "w")
    (tmp_path / "w" / "fold_0" / "summary.json").unlink()
    with locks.hold(tmp_path / "w" / "fold_0" / "lock"):
        said = finish(start(root, tmp_path / "w"), expect=2)
    assert f"process {os.getpid()} on " in said
    assert "is at work here" in said


@pytest.mark.slow
def test_two_runs_may_train_two_folds_of_one_folder(root, whole, tmp_path):
    workdir = tmp_path / "w"
    first = start(root, workdir, num_train_steps=5000)
    wait_until(first, lambda: steps_in(workdir))
    said = finish(start(root, workdir, num_train_steps=5000), expect=2)
    assert f"process {first.pid} on " in said
    assert "is at work here" in said
    other = start(root, workdir, num_train_steps=5000, folds="(1,)")
    wait_until(other, lambda: any(workdir.glob("fold_1/checkpoints/[0-9]*")))
    for process in (first, other):
        process.terminate()
        finish(process, expect=143)
    log = (workdir / "metrics.jsonl").read_text().splitlines()
    folds = {json.loads(row)["fold"] for row in log}
    assert folds == {0, 1}


NO_FILE_OF_40_KB = ("bash", "-c", "trap '' XFSZ; ulimit -f 40; exec \"$@\"", "bash")


@pytest.mark.slow
def test_a_full_disk_is_told_of_and_costs_nothing(root, whole, tmp_path):
    workdir = tmp_path / "w"
    finish(start(root, workdir, before=NO_FILE_OF_40_KB), expect=1)
    assert not (workdir / "report.json").exists()
    finish(start(root, workdir))
    assert_same_run(workdir, whole)


def test_a_disk_too_full_for_the_records_is_told_of(root, tmp_path):
    said = finish(
        start(
            root,
            tmp_path / "w",
            before=NO_FILE_OF_40_KB,
            **{"data.records_dir": tmp_path / "r"},
        ),
        expect=1,
    )
    assert "the records could not be written" in said
    assert not list((tmp_path / "r").rglob("dataset_info.json"))


def test_a_place_that_cannot_be_written_is_named(root):
    said = finish(start(root, Path("/proc/nerve_jax_run")), expect=2)
    assert "--workdir=/proc/nerve_jax_run: cannot be written" in said
    assert "goes on" not in said  # nothing was saved


@pytest.mark.slow
def test_another_configuration_needs_force(root, whole, tmp_path):
    workdir = tmp_path / "w"
    shutil.copytree(whole, workdir)
    said = finish(
        start(root, workdir, "--force", **{"optimizer.learning_rate": 1e-4}), expect=2
    )
    assert "its folds [0] are finished" in said
    (workdir / "fold_0" / "summary.json").unlink()
    said = finish(start(root, workdir, **{"optimizer.learning_rate": 1e-4}), expect=2)
    assert "optimizer.learning_rate: 0.002 before, 0.0001 now" in said
    assert "--force" in said
    said = finish(start(root, workdir, "--force", **{"optimizer.learning_rate": 1e-4}))
    assert "--force: going on though these differ: optimizer.learning_rate" in said
    report = json.loads((workdir / "report.json").read_text())
    assert report["forced"] == [["optimizer.learning_rate: 0.002 before, 0.0001 now"]]
