import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax import checkpoints
from nerve_jax.errors import RunError


def tree(value):
    return {"ema_params": {"w": jnp.full(3, value)}, "step": jnp.int32(value)}


def save_all(directory, dices):
    with checkpoints.open_checkpoints(directory) as checkpointer:
        for step, dice in enumerate(dices, start=1):
            checkpoints.save(
                checkpointer,
                step,
                tree(float(step)),
                dice=dice,
                seconds={"train": step / 2},
            )
        checkpointer.wait()
        return checkpoints.best_step(checkpointer)


def test_latest_and_best_are_kept(tmp_path):
    assert save_all(tmp_path / "c", [0.1, 0.9, 0.5, 0.3]) == (2, 0.9)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "4"]


def test_latest_comes_back_with_its_seconds(tmp_path):
    save_all(tmp_path / "c", [0.1, 0.9, 0.5])
    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        state, seconds = checkpoints.restore_latest(checkpointer, tree(0.0))
    np.testing.assert_array_equal(state["ema_params"]["w"], 3.0)
    assert int(state["step"]) == 3
    assert seconds == {"train": 1.5}


def test_none_yet(tmp_path):
    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        assert checkpoints.restore_latest(checkpointer, tree(0.0)) is None


def test_what_a_killed_save_left_does_not_matter(tmp_path):
    save_all(tmp_path / "c", [0.5, 0.4])
    (tmp_path / "c" / "3.orbax-checkpoint-tmp").mkdir()
    assert float(load(tmp_path / "c")["w"][0]) == 2.0
    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        state, _ = checkpoints.restore_latest(checkpointer, tree(0.0))
        assert int(state["step"]) == 2


def load(directory, shape=(3,), name="w"):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = {name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)}
    return checkpoints.load_average(directory, shapes)


def test_the_average_alone_can_be_loaded(tmp_path):
    save_all(tmp_path / "c", [0.5, 0.4, 0.1])
    np.testing.assert_array_equal(load(tmp_path / "c")["w"], 3.0)


@pytest.mark.parametrize("options", [{"shape": (4,)}, {"name": "other"}])
def test_parameters_of_another_model_are_refused(tmp_path, options):
    save_all(tmp_path / "c", [0.5])
    with pytest.raises(RunError, match="c/1 cannot be loaded"):
        load(tmp_path / "c", **options)


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(RunError, match="no checkpoint there"):
        load(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    save_all(tmp_path / "c", [0.5])
    (tmp_path / "c" / "1" / "state" / "manifest.ocdbt").write_bytes(b"")
    for path in (tmp_path / "c" / "1" / "state" / "d").iterdir():
        path.unlink()
    with (
        checkpoints.open_checkpoints(tmp_path / "c") as checkpointer,
        pytest.raises(RunError, match=r"c/1 cannot be loaded[\s\S]*Delete"),
    ):
        checkpoints.restore_latest(checkpointer, tree(0.0))
