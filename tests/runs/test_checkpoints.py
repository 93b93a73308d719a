import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.runs import checkpoints, damage
from nerve_jax.system import files
from nerve_jax.system.errors import RunError


def tree(value):
    step = 0 if np.isnan(value) else value
    return {"ema_params": {"w": jnp.full(3, value)}, "step": jnp.int32(step)}


def save_all(directory, dices):
    with checkpoints.open_checkpoints(directory) as checkpointer:
        for step, dice in enumerate(dices, start=1):
            checkpoints.save(
                checkpointer,
                step,
                tree(float(step)),
                score=dice,
                progress=checkpoints.Progress(train_seconds=step / 2),
            )
        checkpointer.wait()
        return checkpoints.best_step(checkpointer)


def test_latest_and_best_are_kept(tmp_path):
    assert save_all(tmp_path / "c", [0.1, 0.9, 0.5, 0.3]) == (2, 0.9)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "3", "4"]


def test_the_best_is_one_that_was_scored(tmp_path):
    best = save_all(tmp_path / "c", [0.1, 0.9, None, 0.3, None, None])
    assert best == (2, 0.9)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "5", "6"]


def test_latest_comes_back_with_its_progress(tmp_path):
    save_all(tmp_path / "c", [0.1, 0.9, 0.5])
    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        state, progress = checkpoints.restore_latest(checkpointer, tree(0.0))
    np.testing.assert_array_equal(state["ema_params"]["w"], 3.0)
    assert int(state["step"]) == 3
    assert progress == checkpoints.Progress(train_seconds=1.5)


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


# All that `files.open_path` lets through.
ODD_NAMES = (
    *("with space", "trailing ", " a", "a,b", "x]", "{1,2}", "~", "~x", "naïve-神経"),
    *("%41", "#a", "-dash", "--x", "a'b", 'a"b', "a:b", "a;b", "$HOME", "a|b", "a=b"),
    *("@x", "a&b", "!a", "a.b", "…", "x" * 200),
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_checkpoints_come_back_whatever_their_folder_is_called(tmp_path, name):
    folder = files.open_path(f"{tmp_path}/{name}/fold_0", "--workdir", plain=True)
    save_all(folder / "checkpoints", [0.5, 0.4])
    with checkpoints.open_checkpoints(folder / "checkpoints") as checkpointer:
        state, _ = checkpoints.restore_latest(checkpointer, tree(0.0))
        damage.check_saved(checkpointer, 2, state)
    assert int(state["step"]) == 2
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a[1]b", "a\\b"])  # refused where flags are read
def test_a_checkpoint_that_cannot_be_read_back_is_seen_at_once(tmp_path, name):
    with checkpoints.open_checkpoints(tmp_path / name) as checkpointer:
        progress = checkpoints.Progress()
        checkpoints.save(checkpointer, 1, tree(1.0), score=0.5, progress=progress)
        with pytest.raises(RunError, match=r"/1: the first .* does not read back"):
            damage.check_saved(checkpointer, 1, tree(1.0))


def test_a_checkpoint_that_reads_back_as_something_else_is_seen(tmp_path):
    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        progress = checkpoints.Progress()
        checkpoints.save(
            checkpointer, 1, tree(float("nan")), score=0.5, progress=progress
        )
        damage.check_saved(checkpointer, 1, tree(float("nan")))
        with pytest.raises(RunError, match="differs"):
            damage.check_saved(checkpointer, 1, tree(2.0))


SHAPES = jax.eval_shape(lambda: tree(0.0))


def set_aside(directory, shapes=SHAPES):
    problems = damage.find_damaged(directory, shapes)
    return damage.set_aside_damaged(directory, problems)


def test_a_damaged_best_one_is_named_and_the_newest_used(tmp_path):
    directory = tmp_path / "c"
    save_all(directory, [0.9, 0.5, 0.6])
    damage_of("half deleted")(directory / "1")
    (said,) = set_aside(directory)
    assert said.startswith(str(directory / "1"))
    assert sorted(p.name for p in directory.iterdir()) == ["1.damaged", "2", "3"]
    with checkpoints.open_checkpoints(directory) as checkpointer:
        state, _ = checkpoints.restore_latest(checkpointer, tree(0.0))
        assert int(state["step"]) == 3
        assert checkpoints.best_step(checkpointer) == (3, 0.6)


def damage_of(kind):
    def damage(folder):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        if kind == "half deleted":
            for path in files[: len(files) // 2]:
                path.unlink()
        elif kind == "emptied":
            shutil.rmtree(folder)
            folder.mkdir()
        else:
            for path in files:
                content = path.read_bytes()
                path.write_bytes(content[: len(content) // 2 if kind == "cut" else 0])

    return damage


@pytest.mark.parametrize("kind", ["cut", "empty", "half deleted", "emptied"])
def test_a_damaged_checkpoint_gives_way_to_the_newest_whole_one(tmp_path, kind):
    directory = tmp_path / "c"
    save_all(directory, [0.5, 0.9, 0.7, 0.6])
    damage_of(kind)(directory / "4")
    said = set_aside(directory)
    assert len(said) == 1
    assert said[0].startswith(str(directory / "4"))
    assert sorted(p.name for p in directory.iterdir()) == ["2", "3", "4.damaged"]
    assert set_aside(directory) == []
    with checkpoints.open_checkpoints(directory) as checkpointer:
        state, _ = checkpoints.restore_latest(checkpointer, tree(0.0))
        assert int(state["step"]) == 3
        checkpoints.save(
            checkpointer, 4, tree(4.0), score=0.1, progress=checkpoints.Progress()
        )
    assert float(load(directory)["w"][0]) == 4.0


def test_each_file_of_a_checkpoint_is_missed_or_not_needed(tmp_path):
    """Truncating any one: either the checkpoint still loads the same, or it is told."""
    save_all(tmp_path / "c", [0.5])
    files = [p for p in sorted((tmp_path / "c" / "1").rglob("*")) if p.is_file()]
    told = 0
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        try:
            set_aside(tmp_path / "c")
            with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
                state, _ = checkpoints.restore_latest(checkpointer, tree(0.0))
            np.testing.assert_array_equal(state["ema_params"]["w"], 1.0)
        except RunError:
            told += 1
        path.write_bytes(whole)
    assert told >= 3


def test_where_no_checkpoint_is_whole_nothing_is_renamed(tmp_path):
    save_all(tmp_path / "c", [0.5, 0.6])
    for step in ("1", "2"):
        damage_of("empty")(tmp_path / "c" / step)
    with pytest.raises(RunError, match=r"no checkpoint there[\s\S]*c/1: [\s\S]*c/2: "):
        set_aside(tmp_path / "c")
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1", "2"]


def test_checkpoints_of_another_model_are_not_called_damaged(tmp_path):
    save_all(tmp_path / "c", [0.5, 0.6])
    other = {"ema_params": {"w": jnp.zeros(4)}, "step": jnp.int32(0)}
    with pytest.raises(RunError, match="no checkpoint there can be loaded"):
        set_aside(tmp_path / "c", jax.eval_shape(lambda: other))
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1", "2"]


@pytest.fixture
def full_disk():
    """No file may grow beyond 100 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_where_the_disk_is_full_the_checkpoints_before_stay(tmp_path, full_disk):
    noise = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    too_big = {"ema_params": {"w": jnp.array(noise)}, "step": jnp.int32(0)}
    save_all(tmp_path / "c", [0.5])
    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        checkpoints.save(
            checkpointer, 2, too_big, score=0.6, progress=checkpoints.Progress()
        )
        with pytest.raises(RunError, match=r"c: a checkpoint could not be written"):
            checkpoints.wait(checkpointer)
    assert set_aside(tmp_path / "c") == []
    assert float(load(tmp_path / "c")["w"][0]) == 1.0
