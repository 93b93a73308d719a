"""Every configuration fits the code and can be overridden on the command line."""

import importlib
import inspect
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from nerve_jax import parallel
from nerve_jax.augment import make_augment
from nerve_jax.cross_validation import check_config, check_mixing
from nerve_jax.errors import InputError, explain
from nerve_jax.losses import make_loss
from nerve_jax.programs import create_model_from
from nerve_jax.space import check_space
from nerve_jax.tuning import TUNING_FIELDS, split_config

CONFIGS = sorted(
    path.stem for path in (Path(__file__).parents[1] / "configs").glob("[!_]*.py")
)
NAMES_SCRIPTS_RELY_ON = {
    *("dataset", "data_dir", "manual_dir", "image_size", "batch_size"),
    *("num_train_steps", "eval_every_steps", "seed", "num_folds", "folds"),
    *("learning_rate", "weight_decay", "widths", "compute_dtype"),
    *("num_subjects", "frames_per_subject"),
}


@pytest.fixture(params=CONFIGS)
def config(request) -> ConfigDict:
    return importlib.import_module(f"configs.{request.param}").get_config()


def test_fields_that_scripts_rely_on_are_there(config):
    assert NAMES_SCRIPTS_RELY_ON <= set(config.keys())


def test_no_field_is_none_since_none_cannot_be_overridden(config):
    for value in [*config.values(), *config.augment.values()]:
        assert value is not None


def test_names_and_strengths_are_those_of_the_code(config):
    create_model_from(config)
    make_loss(config.loss, presence_weight=0.1, coarse_weight=0.1)
    assert set(config.augment) == set(inspect.signature(make_augment).parameters)


def test_a_variant_changes_values_of_the_reference_and_adds_none(config):
    reference = importlib.import_module("configs.unet").get_config()
    tuned = set(TUNING_FIELDS) if "space" in config else set()
    assert set(config.keys()) == set(reference.keys()) | tuned
    for key in reference:
        assert type(config[key]) is type(reference[key]), key


def test_what_is_to_be_searched_can_be(config):
    if "space" in config:
        check_space(*split_config(config)[::-1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dropout_rate", 1.0),
        ("warmup_steps", -1),
        ("clip_norm", 0.0),
        ("stem_stride", 0),
        ("image_size", (96,)),
        ("cutmix_prob", 1.5),
    ],
)
def test_what_cannot_be_trained_with_is_named(small_config, field, value):
    config, mesh = small_config(**{field: value}), parallel.create_mesh(1)
    with pytest.raises(InputError, match=field):
        check_config(config, mesh)
        check_mixing(config, mesh)


def test_a_field_that_an_older_file_lacks_is_named(small_config, capsys):
    config = small_config()
    with config.unlocked():
        del config.cutmix_prob
    with pytest.raises(AttributeError) as caught:
        check_mixing(config, parallel.create_mesh(1))
    assert explain(caught.value) == 2
    assert "no field 'cutmix_prob'" in capsys.readouterr().err
