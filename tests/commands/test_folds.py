import signal

import pytest

from nerve_jax.commands.train import cross_validate
from nerve_jax.runs.log import MetricsLog
from nerve_jax.system import workers
from nerve_jax.system.errors import Interrupted, explain
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


def test_an_interval_of_no_whole_calls_is_rounded_and_said_once(
    small_config, tmp_path, monkeypatch, capsys
):
    """For two folds one after another; no program for single steps is compiled."""
    compiled, trace = [], Engine.trace

    def spy(engine, count):
        compiled.append(count)
        return trace(engine, count)

    monkeypatch.setattr(Engine, "trace", spy)
    fields = {"steps_per_call": 2, "eval_every_steps": 3, "num_train_steps": 8}
    opened, spread_out = [], workers.spread_out
    monkeypatch.setattr(
        workers,
        "spread_out",
        lambda count, task: opened.append(count) or spread_out(count, task),
    )
    cross_validate(small_config(folds=(0, 1), **fields), tmp_path / "run")
    assert opened == [12]  # the report's frames of both folds at once
    assert compiled == [2]
    said = capsys.readouterr().out
    assert said.count("eval_every_steps=3 is no multiple of the 2 steps") == 1
    assert "every 4 steps" in said
    rows = MetricsLog(tmp_path / "run").read()
    assert [row["step"] for row in rows] == [4, 8] * 2
