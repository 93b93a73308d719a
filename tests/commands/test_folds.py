import signal

import pytest

from nerve_jax.commands.train import cross_validate
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
