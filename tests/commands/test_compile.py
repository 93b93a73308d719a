import json

import jax
import numpy as np
import pytest

from nerve_jax.commands import compile as command
from nerve_jax.commands import setup
from nerve_jax.scoring import predictor
from nerve_jax.system import hlo, targets
from nerve_jax.system.devices import create_local_mesh, create_mesh
from nerve_jax.system.errors import InputError
from nerve_jax.system.targets import Chip, Target
from tests.samples import need_compiler

SHAPE = (40, 1, 32, 48)
SMALL = {"batch_size": 8, "steps_per_call": 3}


def give(monkeypatch, memory_bytes=1e9):
    """The CPU's simulated devices, as if they were an accelerator."""
    chip = Chip("cpu", memory_bytes, 4e9, 2e9, 1e9, 5e8, "made up")
    target = Target("made:4", chip, jax.devices())
    monkeypatch.setattr(targets, "describe", lambda name: target)
    return target


def fits_into(memory_bytes, monkeypatch, small_config):
    """Whether the prediction of one frame fits into a device of so much memory."""
    target = give(monkeypatch, memory_bytes)
    config = small_config(**SMALL)
    shape = (*SHAPE[:2], *config.data.image_size)
    *_, one = command.list_programs(config, create_mesh(), shape)
    return command.measure(one, target, "float32")["fits"]


def test_every_program_is_compiled_and_what_it_needs_is_written(
    small_config, tmp_path, monkeypatch, capsys
):
    give(monkeypatch)
    content = command.compile_for(small_config(**SMALL), tmp_path, "made:4")
    assert content == json.loads((tmp_path / "compile.json").read_text())
    rows = {row["name"]: row for row in content}
    assert list(rows) == ["train_step", "train_steps", "predict", "predict_one"]
    for row in content:
        assert row["fits"] and row["target"] == "made:4"
        assert 0 < row["argument_bytes"] <= row["peak_bytes"] < 1e9
        assert row["bound_ms_per_step"] == max(row["bounds_ms"].values()) > 0
        assert row["costliest"] and row["compile_seconds"] > 0
    step, steps, predict, one = content
    assert step["flops_per_frame"] == pytest.approx(steps["flops_per_frame"])
    assert 0.5 < step["bytes_per_frame"] / steps["bytes_per_frame"] < 2
    assert fits_into(one["peak_bytes"], monkeypatch, small_config)
    assert not fits_into(one["peak_bytes"] - 1, monkeypatch, small_config)
    (exchanged,) = steps["collectives_per_step"]
    assert exchanged["count"] == 1
    assert one["flops_per_frame"] == pytest.approx(predict["flops_per_frame"])
    assert 2 < step["flops_per_frame"] / predict["flops_per_frame"] < 3.5
    (sum_of_gradients,) = step["collectives_per_step"]
    assert (sum_of_gradients["kind"], sum_of_gradients["count"]) == ("all-reduce", 1)
    assert predict["collectives_per_step"] == []
    arithmetic = step["flops_per_frame"] * 2 / 2e9  # two frames on each device
    assert step["bounds_ms"]["arithmetic"] == pytest.approx(1e3 * arithmetic)
    assert any(row["line"].startswith("model/") for row in step["costliest"])
    said = capsys.readouterr().out
    assert "train_steps" in said and "compile.json" in said


@pytest.mark.parametrize("flips", [False, True])
def test_a_fold_is_predicted_as_it_is_while_training(small_config, monkeypatch, flips):
    """Frames at a time, and the type that comes home, as the run's predictor has them."""
    config = small_config(batch_size=8, **{"decision.test_flips": flips})
    asked, batches = [], []
    jit_predict_batch = predictor.jit_predict_batch

    def choose(batch_size, num_frames, mesh, num_processes):
        asked.append((batch_size, num_frames, mesh, num_processes))
        return 16

    def spy(apply, mesh, dtype):
        program = jit_predict_batch(apply, mesh, dtype)

        def run(params, images):
            batches.append((images.shape, dtype, mesh))
            return program(params, images)

        return run

    monkeypatch.setattr(predictor, "choose_batch_size", choose)
    monkeypatch.setattr(setup, "choose_batch_size", choose)
    *_, program, one = command.list_programs(config, create_mesh(), SHAPE)
    assert (program.name, program.frames, program.shares) == ("predict", 4, 4)
    assert (one.name, one.frames, one.shares) == ("predict_one", 1, 1)
    params = setup.create_model_of(config)[1](jax.random.key(0))
    monkeypatch.setattr(predictor, "jit_predict_batch", spy)
    predict = setup.create_predictor_of(config)
    predict([params], np.zeros((20, *SHAPE[2:]), np.uint8))
    assert asked == [(8, 20, create_local_mesh(), 1)] * 2  # 40 frames in two folds
    shape, dtype, _ = batches[0]
    assert {batch[:2] for batch in batches} == {(shape, dtype)}
    (images,) = [x for x in program.trace().jaxpr.in_avals if x.dtype == np.uint8]
    probs, presence = program.trace().jaxpr.out_avals
    assert images.shape == shape == (16, *SHAPE[2:])
    assert probs.dtype == dtype == (np.float32 if flips else np.float16)
    assert presence.dtype == np.float32


def test_what_does_not_fit_is_said_with_the_largest_batch_that_does(
    small_config, tmp_path, monkeypatch, capsys
):
    """As if each frame on a device took a quarter of its memory."""
    config = small_config(steps_per_call=1, batch_size=64)

    def measure(program, target, compute_dtype):
        peak = program.frames * target.chip.memory_bytes // 4
        fits = peak <= target.chip.memory_bytes
        return {"name": program.name, "fits": fits, "peak_bytes": peak}

    monkeypatch.setattr(command, "count_frames", lambda config: SHAPE[0])
    monkeypatch.setattr(command, "measure", measure)
    give(monkeypatch, memory_bytes=2_000_000_000)
    content = command.compile_for(config, tmp_path, "made:4")
    assert not content[0]["fits"]
    assert content[0]["largest_batch"] == 16
    said = capsys.readouterr().out
    assert "train_step does not fit: 6.00 GB more than there are" in said
    assert "the largest batch that fits, by halves: 16" in said


def test_a_refusal_for_want_of_memory_is_no_error(monkeypatch):
    class Refused:
        def lower(self):
            raise jax.errors.JaxRuntimeError("Used 20.00G of 15.75G hbm")

    program = command.Program("train_step", Refused, 1)
    found = command.measure(program, give(monkeypatch), "float32")
    assert found == {
        "name": "train_step",
        "target": "made:4",
        "fits": False,
        "peak_bytes": 20 * 2**30,
    }


def test_folds_that_train_together_exchange_nothing_but_metrics(small_config):
    config = small_config(folds_together=2, folds=(0, 1), batch_size=8)
    engine = command.create_engine(config, create_mesh(2), SHAPE)
    program = hlo.read_program(engine.trace(1).lower().compile().as_text())
    exchanged = program.list_collectives()
    (gradients,) = (row for row in exchanged if row["kind"] == "all-reduce")
    assert gradients["groups"] in ("{{0,1},{2,3}}", "[2,2]<=[4]")
    rest = [row for row in exchanged if row["kind"] != "all-reduce"]
    assert sum(row["bytes"] for row in rest) <= 64  # metrics, for every process to read


@pytest.mark.parametrize(
    ("name", "expected"), [("kaggle", 5635), ("usgra", 204), ("phantom", 12 * 3)]
)
def test_frames_are_counted_without_reading_them(
    small_config, monkeypatch, name, expected
):
    monkeypatch.setattr(setup, "load_frames", None)
    fields = {"data.phantom.num_subjects": 12, "data.phantom.frames_per_subject": 3}
    config = small_config(**{"data.name": f"ultrasound_nerve/{name}"} | fields)
    assert command.count_frames(config) == expected


def test_a_batch_that_the_devices_cannot_share_is_refused_before_compiling(
    small_config, tmp_path, monkeypatch
):
    give(monkeypatch)
    with pytest.raises(InputError, match="cannot be shared out over 4 devices"):
        command.compile_for(small_config(batch_size=6), tmp_path, "made:4")
    assert not (tmp_path / "compile.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h100:1", "v5e:2x4"])
def test_a_small_net_is_compiled_for_accelerators(small_config, tmp_path, name):
    """About a minute each, where what compiles for them is installed."""
    need_compiler(name)
    config = small_config(batch_size=8)
    content = command.compile_for(config, tmp_path, name)
    assert all(row["fits"] and row["target"] == name for row in content)
    assert content[0]["bytes_per_frame"] > 0
    exchanged = [row["kind"] for row in content[0]["collectives_per_step"]]
    assert exchanged == (["all-reduce"] if name == "v5e:2x4" else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "together", "groups"),
    [
        ("v5e:4x4", 1, "{{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}}"),
        ("v5e:4x4", 4, "{{0,1,2,3},{4,5,6,7},{8,9,10,11},{12,13,14,15}}"),
        ("v5p:2x2x2", 2, "{{0,1,2,3},{4,5,6,7}}"),
    ],
)
def test_on_several_hosts_a_fold_stays_inside_its_chips(
    small_config, name, together, groups
):
    """About a minute each."""
    need_compiler(name)
    target = targets.describe(name)
    assert len({device.process_index for device in target.devices}) > 1
    mesh = create_mesh(together, target.devices)
    config = small_config(batch_size=16, folds_together=together)
    step = next(command.list_programs(config, mesh, SHAPE))
    found = command.measure(step, target, "float32")["collectives_per_step"]
    gradients = max(found, key=lambda row: row["bytes"])
    assert (gradients["kind"], gradients["groups"]) == ("all-reduce", groups)
    rest = sum(row["bytes"] for row in found) - gradients["bytes"]
    assert rest <= 1024  # metrics, for every process to read


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_tpu_copies_no_frames_to_pick_a_batch(small_config, count):
    """Whatever one instruction moves is far less than the masks of one structure."""
    need_compiler("v5e:1x1")
    target = targets.describe("v5e:1x1")
    names = tuple(f"structure{number}" for number in range(count))
    config = small_config(batch_size=8, **{"data.structures": names})
    shape = (40_000, count, 64, 64)
    step = next(command.list_programs(config, create_mesh(1, target.devices), shape))
    (largest, *_) = command.measure(step, target, "float32")["costliest"]
    assert largest["bytes"] < 40_000 * 64 * 64 / 4
