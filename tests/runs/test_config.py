import importlib.util
import json

import pytest
from ml_collections import ConfigDict

from configs import unet
from nerve_jax.runs import config, differences
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import write_json


def write_run(workdir, **fields):
    """A folder that holds the configuration of a run."""
    content = unet.get_config()
    content.update_from_flattened_dict(fields)
    write_json(workdir / "config.json", config.to_plain(content))
    return content


def test_config_comes_back_as_it_was(tmp_path):
    written = write_run(tmp_path, **{"model.widths": (8, 16), "folds": (0, 2)})
    loaded = config.load_config(tmp_path)
    assert loaded.model.widths == (8, 16)
    assert loaded.augment.flip_prob == 0.5
    assert config.to_plain(loaded) == config.to_plain(written)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no config.json"), ("{", "not JSON")]
)
def test_a_folder_without_a_run_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        config.load_config(tmp_path)


def test_a_run_of_an_older_version_is_named(tmp_path):
    write_json(tmp_path / "config.json", {"seed": 0, "widths": [16, 32]})
    with pytest.raises(InputError, match="config.json: an older version of this code"):
        config.load_config(tmp_path)


@pytest.mark.parametrize("content", ["[1, 2]", "3", '"text"', '{"model": {}}'])
def test_what_is_no_configuration_of_a_run_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="config.json: an older version of this code"):
        config.load_config(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", "eight"),
        ("data", 3),
        ("data.phantom", [1]),
        ("model.widths", 8),
        ("decision.test_flips", "False"),
    ],
)
def test_a_configuration_that_was_changed_by_hand_is_named(tmp_path, name, value):
    content = config.to_plain(unet.get_config())
    *sections, leaf = name.split(".")
    place = content
    for section in sections:
        place = place[section]
    place[leaf] = value
    write_json(tmp_path / "config.json", content)
    with pytest.raises(InputError, match=rf"config.json was changed[\s\S]*- {name}="):
        config.load_config(tmp_path)


@pytest.mark.parametrize("name", sorted(config.read_reference()))
def test_a_field_that_a_run_is_older_than_is_filled_in(tmp_path, name):
    """As the reference has it, but options of the model as `create_model` does."""
    content = config.to_plain(unet.get_config())
    *sections, leaf = name.split(".")
    place = content
    for section in sections:
        place = place[section]
    del place[leaf]
    write_json(tmp_path / "config.json", content)
    if name == "model.widths":
        with pytest.raises(InputError, match="older version"):
            config.load_config(tmp_path)
        return
    found = differences.flatten(config.load_config(tmp_path).to_dict())
    reference = dict(config.read_reference())
    if name.startswith("model."):
        del reference[name]
    assert found == reference


def test_a_section_that_a_run_is_older_than_is_filled_in(tmp_path):
    content = config.to_plain(unet.get_config())
    del content["decision"], content["data"]["phantom"]
    write_json(tmp_path / "config.json", content)
    found = differences.flatten(config.load_config(tmp_path).to_dict())
    assert found == config.read_reference()


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("optimizer.learning_rte", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("model.width", "model.widths"),
        ("data.phantom.num_subject", "data.phantom.num_subjects"),
        ("num_fold", "num_folds"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_right_one(name, right):
    with pytest.raises(
        InputError, match=rf"{name} is not a field; did you mean {right}"
    ):
        config.check_names([name])


def test_names_of_fields_pass_and_those_of_sections_do_not():
    config.check_names(["seed", "data.phantom.seed"])
    with pytest.raises(InputError, match="--config.data is a section"):
        config.check_names(["data"])
    with pytest.raises(InputError, match=r"--config.xyzzy is not a field$"):
        config.check_names(["xyzzy"])


def test_a_file_with_other_fields_is_refused_with_all_of_them():
    given = unet.get_config()
    config.check_fields(given)
    with given.unlocked():
        del given.augment.cutmix_prob
        given.optimizer.learning_rte = 0.1
    given.tuning.space = ConfigDict({"seed": ("int", 1, 2)})
    with pytest.raises(InputError) as caught:
        config.check_fields(given)
    assert "augment.cutmix_prob is missing" in str(caught.value)
    assert "learning_rte is not a field; did you mean" in str(caught.value)
    assert "(2 problems)" in str(caught.value)


def test_differences_are_listed_by_dotted_name_and_sections_can_be_left_out():
    before = {"a": {"b": 1, "c": 2}, "d": 3}
    now = {"a": {"b": 5, "c": 6}, "e": 4}
    assert differences.show_differences(
        differences.find_differences(before, now, ("a.",))
    ) == [
        "d: 3 before, not there now",
        "e: not there before, 4 now",
    ]
    found = differences.find_differences(before, now, ("d", "e", "a.c"))
    assert found == {"a.b": (1, 5)}


def test_only_what_a_command_reads_can_be_set_again(tmp_path):
    trained = write_run(tmp_path, **{"decision.rule": "fitted"})
    changed = config.override(
        trained,
        {"decision.threshold": 0.7, "seed": 0},
        ("decision.",),
        tmp_path,
    )
    assert (changed.decision.rule, changed.decision.threshold) == ("threshold", 0.7)
    assert trained.decision.threshold == 0.5
    with pytest.raises(InputError, match=r"--config.model.widths=\(4,\)"):
        config.override(trained, {"model.widths": (4,)}, ("decision.",), tmp_path)
    for name in (
        "folds",
        "data.records_dir",
    ):  # a training may change it; no other reads it
        value = {"folds": (1,)}.get(name, "/there")
        with pytest.raises(InputError, match=f"--config.{name}="):
            config.override(trained, {name: value}, ("decision.",), tmp_path)
    plain = config.set_fields(trained, {"decision.rule": "threshold"})
    with pytest.raises(InputError, match="holds no other decision"):
        config.override(plain, {"decision.rule": "fitted"}, ("decision.",), tmp_path)


def test_a_configuration_that_was_written_can_be_read(tmp_path):
    given = config.set_fields(unet.get_config(), {"model.widths": (8, 16)})
    config.write_config(tmp_path / "mine.py", given, "Mine.")
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    again = module.get_config()
    assert module.__doc__ == "Mine."
    assert json.loads(again.to_json()) == json.loads(given.to_json())
