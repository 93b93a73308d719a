import importlib.util
import json

import numpy as np
import pytest

from configs import unet
from nerve_jax.commands import plan, setup
from nerve_jax.data import measuring
from nerve_jax.system.errors import InputError

CPU = {"kind": "cpu", "platform": "cpu", "count": 4, "memory_bytes": 24 * 10**9}
GPU = {"kind": "a GPU", "platform": "gpu", "count": 1, "memory_bytes": 80 * 10**9}


def of_kaggle(**changes):
    def spread(value):
        return {"low": value, "median": value, "high": value}

    # Like those of the Kaggle competition.
    kaggle = {
        "structure": "nerve",
        "num_frames": 5635,
        "num_labelled": 5635,
        "num_people": 45,
        "height_px": spread(420.0),
        "width_px": spread(580.0),
        "spacing_mm": None,
        "mean_grey": spread(99.0),
        "saturated_share": 0.0,
        "presence": 0.412,
        "nerve_px": spread(6976.0),
        "nerve_share": {"low": 0.019, "median": 0.029, "high": 0.042},
    }
    return kaggle | changes


def choose(measured, device):
    """Values and reasons."""
    choices = plan.choose(measured, device, unet.get_config()).items()
    return {n: c.value for n, c in choices}, {n: c.why for n, c in choices}


def test_what_is_measured_is_what_was_drawn(small_config):
    examples = setup.load_frames(small_config(), "train")
    found = measuring.measure(examples)
    assert (found["num_frames"], found["num_labelled"]) == (12, 12)
    assert found["num_people"] == 4
    assert found["presence"] == pytest.approx(8 / 12)  # a subject's first has none
    assert found["height_px"] == {"low": 40, "median": 40, "high": 40}
    areas = [examples.truth(int(i)).sum() for i in np.flatnonzero(examples.presence)]
    assert found["nerve_px"]["median"] == np.median(areas)
    assert found["nerve_share"]["median"] == pytest.approx(np.median(areas) / 40 / 56)
    assert found["spacing_mm"] is None


def test_small_nerves_stay_visible():
    for device, least in ((CPU, 200), (GPU, 1000)):
        for share in (0.005, 0.01, 0.02):
            nerve = {"low": share, "median": share, "high": share}
            chosen, why = choose(of_kaggle(nerve_share=nerve), device)
            height, width = chosen["data.image_size"]
            assert height / width == pytest.approx(420 / 580, rel=0.1)
            assert height % 16 == width % 16 == 0
            kept = share * height * width
            assert kept > 0.85 * least or "more would" in why["data.image_size"]


def test_frames_are_never_made_larger_than_they_are():
    tiny = {"low": 0.0005, "median": 0.0005, "high": 0.0005}
    small = {"height_px": {"median": 200.0}, "width_px": {"median": 280.0}}
    chosen, why = choose(of_kaggle(nerve_share=tiny, **small), GPU)
    assert np.prod(chosen["data.image_size"]) <= 200 * 280 * 1.05
    assert "larger than the frames" in why["data.image_size"]


def test_the_optimizer_follows_batch_and_length():
    chosen, why = choose(of_kaggle(), GPU)
    batch, steps = chosen["batch_size"], chosen["num_train_steps"]
    assert chosen["optimizer.learning_rate"] == pytest.approx(2e-3 * (batch / 8) ** 0.5)
    forgets = chosen["optimizer.learning_rate"] * chosen["optimizer.weight_decay"]
    assert forgets * steps == pytest.approx(1, rel=0.01)
    kept = chosen["optimizer.ema_decay"] ** steps  # of the first weights, at the end
    assert kept == pytest.approx(0.99**500, rel=0.05)
    assert "batch 8" in why["optimizer.learning_rate"]


def test_the_memory_decides_the_batch():
    sizes = [
        choose(of_kaggle(), GPU | {"memory_bytes": gb * 10**9})[0] for gb in (1, 4, 80)
    ]
    batches = [chosen["batch_size"] for chosen in sizes]
    assert batches == sorted(batches)
    assert batches[0] < batches[-1] == 32
    seen = [chosen["batch_size"] * chosen["num_train_steps"] for chosen in sizes]
    assert max(seen) < 1.02 * min(seen)  # the same frames, in other batches


def test_devices_share_out_the_batch_evenly():
    for count in (1, 3, 6, 8, 64):
        chosen, _ = choose(of_kaggle(), GPU | {"count": count})
        assert chosen["batch_size"] % count == 0


def test_few_people_get_few_folds_and_few_frames_are_seen_often():
    chosen, _ = choose(of_kaggle(num_people=3, num_labelled=60), CPU)
    assert chosen["num_folds"] == 3
    assert chosen["batch_size"] * chosen["num_train_steps"] >= 16_000


def test_where_every_frame_shows_a_nerve_none_is_asked_for():
    assert not choose(of_kaggle(presence=1.0), CPU)[0]["model.presence_head"]
    assert choose(of_kaggle(), CPU)[0]["model.presence_head"]


def test_the_plan_is_a_configuration_with_its_reasons(small_config, tmp_path, capsys):
    content = plan.plan(small_config(seed=5), tmp_path / "plan")
    path = tmp_path / "plan" / "planned_config.py"
    spec = importlib.util.spec_from_file_location("planned", path)
    planned = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planned)
    config = planned.get_config()
    assert config.seed == 5  # what is not chosen is kept
    assert set(config.keys()) == set(small_config().keys())
    for name, value in content["chosen"].items():
        kept = config[name]
        assert (list(kept) if isinstance(kept, tuple) else kept) == value
        assert content["why"][name] in planned.__doc__
    assert json.loads((tmp_path / "plan" / "plan.json").read_text()) == content
    said = capsys.readouterr().out
    assert "12 frames of 4 people" in said
    assert str(path) in said


def test_of_one_person_there_is_no_plan(write_folder, blob_frames, small_config):
    folder = write_folder(blob_frames(1, 4), name="one")
    examples = setup.load_frames(
        small_config(**{"data.manual_dir": str(folder)}), "train"
    )
    with pytest.raises(InputError, match="all labelled frames are of one person"):
        measuring.measure(examples)


def test_without_a_nerve_there_is_no_plan(write_folder, small_config, tmp_path):
    grey = np.full((40, 56), 90, np.uint8)
    frames = {f"s{i}_0": (grey + np.uint8(i), 0 * grey) for i in range(3)}
    folder = write_folder(frames, name="empty")
    with pytest.raises(InputError, match="no frame shows nerve"):
        plan.plan(small_config(**{"data.manual_dir": str(folder)}), tmp_path / "plan")
    assert not (tmp_path / "plan").exists()
