"""Every configuration fits the code and can be overridden on the command line."""

import importlib
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from nerve_jax.commands.setup import check_config, check_mixing
from nerve_jax.commands.space import check_space
from nerve_jax.runs.config import check_fields
from nerve_jax.runs.differences import flatten
from nerve_jax.system import devices
from nerve_jax.system.errors import InputError

CONFIGS = sorted(
    path.stem for path in (Path(__file__).parents[2] / "configs").glob("[!_]*.py")
)
NAMES_SCRIPTS_RELY_ON = {
    *("seed", "num_folds", "split_by", "folds", "folds_together", "batch_size"),
    *("accumulate_steps", "num_train_steps", "eval_every_steps", "steps_per_call"),
    *("data.name", "data.manual_dir", "data.records_dir", "data.image_size"),
    "data.frame_stride",
    *("data.phantom.num_subjects", "data.phantom.frames_per_subject"),
    *("data.phantom.seed", "model.widths", "optimizer.learning_rate"),
    "decision.threshold",
}
SECTIONS = {
    *("data", "model", "start", "loss", "optimizer", "augment", "decision"),
    *("pretrain", "tuning"),
}


@pytest.fixture(params=CONFIGS)
def config(request) -> ConfigDict:
    return importlib.import_module(f"configs.{request.param}").get_config()


@pytest.fixture
def reference() -> ConfigDict:
    return importlib.import_module("configs.unet").get_config()


def test_fields_that_scripts_rely_on_are_there(config):
    assert NAMES_SCRIPTS_RELY_ON <= flatten(config.to_dict()).keys()
    top = {name for name in NAMES_SCRIPTS_RELY_ON if "." not in name}
    assert set(config.keys()) == top | SECTIONS


def test_no_field_is_none_since_none_cannot_be_overridden(config):
    assert None not in flatten(config.to_dict()).values()


def test_every_section_is_one_that_the_code_takes(config):
    """Functions check their own arguments; an unknown one is a TypeError."""
    config.start.workdir = "runs/elsewhere"
    check_config(config, devices.create_mesh())
    check_mixing(config, devices.create_mesh())


def test_a_variant_changes_values_of_the_reference_and_adds_none(config, reference):
    check_fields(config)
    fields = flatten(config.to_dict())
    for name, value in flatten(reference.to_dict()).items():
        assert type(fields[name]) is type(value), name


def test_what_is_to_be_searched_can_be(config):
    space = flatten(config.tuning.space.to_dict())
    if space:
        check_space(space, config)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.dropout_rate", 1.0),
        ("optimizer.warmup_steps", -1),
        ("optimizer.clip_norm", 0.0),
        ("model.stem_stride", 0),
        ("data.image_size", (96,)),
        ("augment.cutmix_prob", 1.5),
        ("loss.name", "l2"),
        ("decision.rule", "coin"),
        ("num_train_steps", 0),
        ("folds", (0, 1, 0)),
        ("eval_every_steps", 0),
        ("steps_per_call", -1),
    ],
)
def test_what_cannot_be_trained_with_is_named(small_config, field, value):
    config, mesh = small_config(**{field: value}), devices.create_mesh(1)
    with pytest.raises(InputError, match=field.rpartition(".")[2]):
        check_config(config, mesh)
        check_mixing(config, mesh)
