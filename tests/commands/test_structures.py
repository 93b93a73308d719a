"""A run of two structures, from training to what other commands make of it."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from nerve_jax.commands.compare import compare
from nerve_jax.commands.predict import predict
from nerve_jax.commands.train import cross_validate
from nerve_jax.system.errors import InputError
from tests.samples import texture

SIZE = (40, 56)


def draw(folder, stem, seed):
    """A bright disc, the nerve, beside a dark one, the vessel, in tissue."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    top, left = np.random.default_rng(seed).integers((12, 12), (28, 20))
    nerve = np.hypot(y - top, x - left) < 8
    vessel = np.hypot(y - top, x - left - 24) < 8
    image = np.where(nerve, 230, np.where(vessel, 10, texture(seed, SIZE)))
    pictures = {
        "images": image,
        "masks/nerve": nerve * 255,
        "masks/vessel": vessel * 255,
    }
    for name, values in pictures.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{stem}.png")


@pytest.fixture
def trained(tmp_path, small_config):
    for number in range(8):
        draw(tmp_path / "set", f"s{number // 2}_{number}", number)
    config = small_config(
        **{
            "data.manual_dir": str(tmp_path / "set"),
            "data.structures": ("nerve", "vessel"),
        }
    )
    cross_validate(config, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_of_two_structures_is_predicted_and_compared(trained, tmp_path, capsys):
    frames = tmp_path / "set" / "images"
    count = predict(trained, {}, frames, tmp_path / "out", submission=True)
    said = capsys.readouterr().out
    assert "  masks/, labels/ and overlays/, submission.csv" in said
    assert "label maps of " in said
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert count == 8
    assert len(rows) == 16
    for row in rows:
        path = tmp_path / "out" / "masks" / row["structure"] / f"{row['frame']}.png"
        assert np.asarray(Image.open(path)).shape == SIZE
    content = compare(trained, trained, tmp_path / "same")
    assert list(content["by_structure"]) == ["nerve", "vessel"]
    assert content["by_structure"]["vessel"]["difference"] == 0
    assert "  vessel: +0.000 Dice" in capsys.readouterr().out
    # As where no scored frame is labelled for the vessel.
    shutil.rmtree(trained / "structures")
    predict(trained, {}, frames, tmp_path / "out", submission=False)
    assert "vessel: no frame that" in capsys.readouterr().out
    (trained / "report.json").unlink()
    with pytest.raises(InputError, match=r"vessel/decision\.json not there"):
        predict(trained, {}, frames, tmp_path / "out", submission=False)
    assert json.loads((tmp_path / "same" / "compare.json").read_text())["structure"]
