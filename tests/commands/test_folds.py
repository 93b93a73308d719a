import signal
from pathlib import Path

import pytest

from nerve_jax.commands.folds import describe_scanners
from nerve_jax.commands.train import cross_validate
from nerve_jax.runs.log import MetricsLog
from nerve_jax.system import workers
from nerve_jax.system.errors import InputError, Interrupted, explain
from nerve_jax.system.files import read_json, read_table
from nerve_jax.training.engine import Engine


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_amid_compiling_says_what_is_saved_and_how_to_go_on(
    small_config, tmp_path, monkeypatch, capsys, number
):
    def interrupt(*_):
        raise Interrupted(number)

    monkeypatch.setattr(Engine, "compile", interrupt)
    workdir = tmp_path / "run"

    def stop() -> str:
        with pytest.raises(Interrupted) as caught:
            cross_validate(small_config(folds=(1,)), workdir)
        assert explain(caught.value) == 128 + number
        return capsys.readouterr().err

    assert (
        f"stopped by {number.name}; no step of fold 1 is saved, the same command starts "
        "there from the beginning\n" in stop()
    )
    checkpoint = workdir / "fold_1" / "checkpoints" / "2"
    checkpoint.mkdir(parents=True)
    assert (
        f"stopped by {number.name}; saved: {checkpoint}; the same command goes on from "
        "there\n" in stop()
    )


@pytest.mark.slow
def test_an_interval_of_no_whole_calls_is_rounded_and_said_once(
    small_config, tmp_path, monkeypatch, capsys
):
    """For two folds one after another; no program for single steps is compiled.

    The folds leave a scanner out each, and the report says how each was scored.
    """
    compiled, trace = [], Engine.trace

    def spy(engine, count):
        compiled.append(count)
        return trace(engine, count)

    monkeypatch.setattr(Engine, "trace", spy)
    fields = {"steps_per_call": 2, "eval_every_steps": 3, "num_train_steps": 8}
    scanner_of = {"s0": "GE", "s1": "<b>X", "s2": "GE", "s3": "GE"}
    name_scanners(small_config(), scanner_of)
    opened, spread_out = [], workers.spread_out
    monkeypatch.setattr(
        workers,
        "spread_out",
        lambda count, task: opened.append(count) or spread_out(count, task),
    )
    config = small_config(folds=(0, 1), split_by="scanner", **fields)
    cross_validate(config, tmp_path / "run")
    assert opened == [12]  # the report's frames of both folds at once
    assert compiled == [2]
    said = capsys.readouterr().out
    assert said.count("eval_every_steps=3 is no multiple of the 2 steps") == 1
    assert "every 4 steps" in said
    rows = MetricsLog(tmp_path / "run").read()
    assert [row["step"] for row in rows] == [4, 8] * 2
    assert "fold 0 scores scanner <b>X (3 frames) and trains on 9 frames" in said
    check_scanners(tmp_path / "run", scanner_of)
    with pytest.raises(InputError, match="split_by: scanner before, subject now"):
        cross_validate(small_config(folds=(0, 1), **fields), tmp_path / "run")


def name_scanners(config, scanner_of):
    """Write the subjects.csv of a small configuration's folder."""
    folder = Path(config.data.manual_dir)
    rows = [
        f"{path.stem},{path.stem[:2]},{scanner_of[path.stem[:2]]}"
        for path in (folder / "images").iterdir()
    ]
    (folder / "subjects.csv").write_text("\n".join(["frame,subject,scanner", *rows]))


def check_scanners(workdir, scanner_of):
    """Each fold of a run has scored one scanner, and its report says so."""
    for number, name in enumerate(sorted(set(scanner_of.values()))):
        rows = read_table(workdir / f"fold_{number}" / "scores.csv")
        assert {row["scanner"] for row in rows} == {name}
        split = read_json(workdir / f"fold_{number}" / "split.json")
        assert name not in {scanner_of[frame[:2]] for frame in split["train"]}
    content = read_json(workdir / "report.json")
    counts = {k: v["num_frames"] for k, v in content["by_scanner"].items()}
    assert counts == {"<b>X": 3, "GE": 9}
    assert content["torn_scanners"] == []
    page = (workdir / "report.html").read_text()
    assert "<h2>By scanner</h2>" in page
    assert "<td>&lt;b&gt;X</td>" in page


def test_each_fold_says_which_scanner_it_scores():
    splits = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]
    assert describe_scanners(splits, {"a": "GE", "b": "X", "c": "Y"}) == [
        "fold 0 scores scanner GE (1 frame) and trains on 2 frames",
        "fold 1 scores scanner X, Y (2 frames) and trains on 1 frame",
    ]
