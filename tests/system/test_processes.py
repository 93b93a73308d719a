"""Several processes: what one does alone here, and real ones on this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nerve_jax.commands.evaluate import evaluate
from nerve_jax.system import files, processes
from nerve_jax.system.errors import InputError

REPO = Path(__file__).parents[2]
# What the library of collectives prints, whose threads may cut into each other's lines.
GLOO = re.compile(
    r"\[Gloo\] Rank | is connected to | peer ranks\. "
    r"|Expected number of connected peer ranks is : |\d+\n?"
)
SMALL = {
    "data.image_size": "(32,48)",
    "model.widths": "(8,16)",
    "batch_size": 8,
    "num_train_steps": 6,
    "eval_every_steps": 2,
    "num_folds": 3,
    "data.phantom.num_subjects": 5,
    "data.phantom.frames_per_subject": 3,
}


def test_one_process_alone_does_everything_itself():
    assert processes.is_first()
    assert processes.share(lambda: {"a": (1, 2)}) == {"a": (1, 2)}
    assert processes.take_turns(lambda: 5) == 5
    rows = processes.share_out(lambda rows: (rows, 2 * rows), 5)
    np.testing.assert_array_equal(rows[1], 2 * np.arange(5))
    assert list(processes.spread(lambda x, y: {"sum": x + y}, [1, 2], (5, 7))) == [
        {"sum": 6},
        {"sum": 9},
    ]
    assert processes.StopPoint([1]).reached()
    assert not processes.StopPoint([]).reached()
    with pytest.raises(SystemExit) as caught:
        processes.leave(InputError("no such fold"))
    assert caught.value.code == 2


def test_each_process_works_on_its_rows_alone_and_gets_all_exactly(monkeypatch):
    """The second of two; of three rows the last is worked on again."""
    worked, sent = [], []

    def work(item, weight):
        worked.append(item)
        return {"b": item / 3, "a": np.int64(weight) << 40, "c": np.array([item, 0.1])}

    def gather(rows, tiled):
        assert rows.dtype == np.uint8  # all else may be narrowed
        sent.append(rows)
        return np.concatenate([rows, rows])

    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes.jax, "process_index", lambda: 1)
    monkeypatch.setattr(processes.multihost_utils, "process_allgather", gather)
    found = processes.spread(work, [0, 1, 2], [7, 8, 9])
    assert worked == [2, 2]
    assert len(found) == 3
    assert len(sent) == 3
    for row in found:
        assert list(row) == ["b", "a", "c"]
        assert (row["b"], row["a"]) == (2 / 3, 9 << 40)
        np.testing.assert_array_equal(row["c"], [2, 0.1])


@pytest.mark.parametrize(
    "given",
    [
        ("localhost:1", 0, -1),
        ("", 2, 0),
        ("localhost:1", 2, -1),
        ("localhost:1", 2, 2),
        ("localhost", 2, 1),
    ],
)
def test_flags_that_do_not_go_together_are_refused(given):
    with pytest.raises(InputError, match="--coordinator"):
        processes.connect(*given)


SCHEDULERS = {
    "SLURM_STEP_NUM_TASKS": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "JOB_COMPLETION_INDEX": "0",
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_are_found_and_one_process_can_be_asked_for(name, monkeypatch):
    initialized = []
    monkeypatch.setattr(
        processes.jax.distributed,
        "initialize",
        lambda **given: initialized.append(given),
    )
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for other in SCHEDULERS:
        monkeypatch.delenv(other, raising=False)
    assert not processes.connect()
    assert not initialized
    monkeypatch.setenv(name, SCHEDULERS[name])
    if name == "JOB_COMPLETION_INDEX":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert not processes.connect("", 1, -1)
    assert not initialized
    processes.connect()
    assert initialized == [{"heartbeat_timeout_seconds": processes.HEARTBEAT_SECONDS}]


def start(workdir, records, *words, count=2, devices=2, **overrides):
    """Start a command in some processes, each of its own simulated devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = [f"--config.{k}={v}" for k, v in (SMALL | overrides).items()]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_COMPILATION_CACHE_DIR": str(records.parent / "cache"),
    }
    words = [
        *(sys.executable, "main.py", "--config=configs/unet.py"),
        *(
            f"--workdir={workdir}",
            f"--config.data.records_dir={records}",
            *flags,
            *words,
        ),
    ]
    among = [f"--coordinator=localhost:{port}", f"--num_processes={count}"]
    return [
        subprocess.Popen(
            [*words, *among, f"--process_id={number}"] if count > 1 else words,
            cwd=REPO,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def finish(started, timeout=300):
    """Exit codes and what was said, by process."""
    said = [process.communicate(timeout=timeout) for process in started]
    return [process.returncode for process in started], said


def rows_of(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def weights_of(workdir):
    from nerve_jax.runs import members

    return members.load_members(workdir)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process with four devices: (its folder, the records)."""
    root = tmp_path_factory.mktemp("processes")
    codes, said = finish(start(root / "alone", root / "records", count=1, devices=4))
    assert codes == [0], said
    return root / "alone", root / "records"


def assert_same_run(one, other, atol=1e-5):
    """Losses and scores of the log and the final weights."""
    for ours, theirs in zip(rows_of(one), rows_of(other), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=atol)
        assert ours["dice"] == pytest.approx(theirs["dice"], abs=100 * atol)
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    for fold, params in one.items():
        for name, value in params.items():
            np.testing.assert_allclose(value, other[fold][name], rtol=0, atol=atol)


@pytest.mark.slow
def test_two_processes_of_two_devices_train_as_one_of_four(alone, tmp_path):
    whole, records = alone
    workdir = tmp_path / "two"
    codes, said = finish(start(workdir, records))
    assert codes == [0, 0], said
    assert re.search(r"runs on 4 x CPU \(.*\), 2 processes\n", said[0][0])
    assert GLOO.sub("", said[1][0]).strip() == ""  # the first speaks for both
    assert_same_run(workdir, whole)
    reports = [json.loads((w / "report.json").read_text()) for w in (workdir, whole)]
    assert reports[0]["dice"] == pytest.approx(reports[1]["dice"], abs=1e-3)
    assert reports[0]["num_frames"] == reports[1]["num_frames"]
    others = {"data.phantom.num_subjects": 3, "data.phantom.seed": 5}
    codes, said = finish(start(workdir, records, "--mode=evaluate", **others))
    assert codes == [0, 0], said
    found = read_evaluation(workdir)
    assert found[0]["num_frames"] == 9
    evaluate(workdir, others | {"data.records_dir": str(records)}, "train")
    for ours, theirs in zip(found, read_evaluation(workdir), strict=True):
        assert list(ours) == list(theirs)
        for name, value in ours.items():
            if name in MEASURED:
                assert value == pytest.approx(theirs[name], abs=1e-3, nan_ok=True)


MEASURED = ("dice", "flip_gain", "ensemble_gain", "hd95_px", "assd_px", "presence_prob")


def read_evaluation(workdir):
    """What evaluation.json holds, and the rows of evaluation.csv."""
    return [
        json.loads((workdir / "evaluation.json").read_text()),
        *(
            {name: as_number(text) for name, text in row.items()}
            for row in files.read_table(workdir / "evaluation.csv")
        ),
    ]


def as_number(text):
    try:
        return float(text or "nan")
    except ValueError:
        return text


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_all_with_its_word(alone, tmp_path):
    _, records = alone
    codes, said = finish(start(tmp_path / "w", records, num_folds=99))
    assert codes == [2, 1], said
    assert "num_folds=99" in said[0][1]
    assert "Traceback" not in said[0][1] + said[1][1]


def wait_for(pattern, workdir, started):
    deadline = time.monotonic() + 240
    while not list(workdir.glob(pattern)):
        assert all(process.poll() is None for process in started)
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_when_told_to_stop_both_save_and_go_on(alone, tmp_path):
    _, records = alone
    longer = {"num_train_steps": 300, "eval_every_steps": 30}
    codes, said = finish(start(tmp_path / "whole", records, **longer))
    assert codes == [0, 0], said
    workdir = tmp_path / "stopped"
    started = start(workdir, records, **longer)
    wait_for("fold_0/checkpoints/30", workdir, started)
    started[1].send_signal(signal.SIGTERM)
    codes, said = finish(started)
    assert codes == [143, 143], said
    assert "stopped by SIGTERM after step" in said[0][1]
    codes, said = finish(start(workdir, records, **longer))
    assert codes == [0, 0], said
    assert_same_run(workdir, tmp_path / "whole", atol=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("dying", [0, 1])
def test_if_one_process_dies_the_other_ends_within_a_minute(alone, tmp_path, dying):
    _, records = alone
    workdir = tmp_path / "died"
    options = {"num_train_steps": 60, "eval_every_steps": 2}
    started = start(workdir, records, **options)
    wait_for("fold_0/checkpoints/[24]", workdir, started)
    started[dying].kill()
    died = time.monotonic()
    codes, said = finish(started, timeout=120)
    assert time.monotonic() - died < 60
    assert codes[dying] == -signal.SIGKILL
    assert codes[1 - dying] != 0
    told = said[1 - dying][1]
    names_it = r"tasks are unhealthy.*:\n1\n" if dying else "leader"
    assert re.search(names_it, told), told
    codes, said = finish(start(workdir, records, **options))
    assert codes == [0, 0], said
    assert "going on from step" in said[0][0]
    assert [row["step"] for row in rows_of(workdir)] == list(range(2, 62, 2))
