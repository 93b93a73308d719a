import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import unet
from nerve_jax.commands import registry, space
from nerve_jax.commands.request import Request
from nerve_jax.data import splits
from nerve_jax.model.unet import BLOCKS, COMPUTE_DTYPES
from nerve_jax.runs import fields
from nerve_jax.runs.config import check_fields, check_values, override, read_reference
from nerve_jax.runs.differences import flatten
from nerve_jax.scoring.decide import KINDS as DECISIONS
from nerve_jax.system.errors import InputError
from nerve_jax.training.losses import LOSSES
from nerve_jax.training.transfer import TAKES

REFERENCE = read_reference()
KINDS = {name: type(value) for name, value in REFERENCE.items()}
ITEMS = {
    name: type(value[0]) if isinstance(value, tuple) else type(value)
    for name, value in REFERENCE.items()
}
NUMBERS = [name for name, kind in ITEMS.items() if kind in (int, float)]
SEARCHED = [
    name
    for name in NUMBERS
    if KINDS[name] is not tuple and not name.startswith(space.SHARED)
]
WRONG_NUMBERS = (float("nan"), float("inf"), -float("inf"), -1, 10**30, 1e30)
WRONG_TYPES = ("1", None, True, [], {"a": 1}, b"1", 1j, np.float32(1.5))


def wrong_values(name):
    """Values that a field of numbers cannot have, in the form of the field."""
    values = [*WRONG_NUMBERS, *WRONG_TYPES[:3], *WRONG_TYPES[4:]]
    values += [] if ITEMS[name] is float else [1.5]
    wrong = [value for value in values if not fields._has_type(value, ITEMS[name])]
    wrong += [value for value in WRONG_NUMBERS if value not in fields.RANGES[name]]
    if KINDS[name] is tuple:
        return [3, "ab", *((REFERENCE[name][0], value) for value in wrong)]
    return wrong


def config_with(name, value):
    """A configuration as a file of dictionary literals has it, with any value."""
    content = unet.get_config().to_dict()
    *sections, leaf = name.split(".")
    place = content
    for section in sections:
        place = place[section]
    place[leaf] = value
    return ConfigDict(content, convert_dict=True)


def test_every_number_has_a_range_and_every_value_of_the_reference_is_in_it():
    assert sorted(fields.RANGES) == sorted(NUMBERS)
    check_values(REFERENCE, "")


def test_ranges_hold_for_numbers_that_mean_something():
    """Every range is bounded, and each of its ends in or out as it says."""
    for name, found in fields.RANGES.items():
        assert -1 not in found, name
        assert WRONG_NUMBERS[0] not in found, name
        assert (found.low in found) is not found.without_low, name
        assert (found.high in found) is not found.without_high, name
        assert np.isfinite([found.low, found.high]).all()


def test_choices_are_those_of_the_code():
    assert fields.CHOICES == {
        "split_by": splits.KINDS,
        "model.block": tuple(BLOCKS),
        "model.compute_dtype": tuple(COMPUTE_DTYPES),
        "start.take": tuple(TAKES),
        "loss.name": tuple(LOSSES),
        "decision.rule": DECISIONS,
    }


@pytest.mark.parametrize("mode", ["train", "pretrain", "tune", "plan", "audit"])
@pytest.mark.parametrize("name", KINDS)
def test_no_command_begins_with_a_value_that_a_field_cannot_have(mode, name):
    """In a file: every wrong number and type, before a frame is looked for."""
    wrong = wrong_values(name) if name in NUMBERS else [3, None, 1.5, (), {"a": 1}]
    if KINDS[name] is bool:
        wrong += ["False", 0]
    for value in wrong:
        config = config_with(name, value)
        request = Request(mode, config, config_file="mine.py", workdir="nowhere")
        with pytest.raises(InputError, match=rf"mine.py[\s\S]*- {re.escape(name)}\b"):
            registry.run(request, {"config", "workdir"})


@pytest.mark.parametrize(
    "names", [("Nerve",), ("nerve", "../vessel"), ("",), ("a b",), ("1",)]
)
def test_a_structure_has_a_name_that_a_folder_can_have(names):
    with pytest.raises(InputError, match="data.structures=.*small letters, digits"):
        check_values({"data.structures": names}, "wrong")


@pytest.mark.parametrize("name", NUMBERS)
def test_no_run_is_used_with_a_value_that_a_field_cannot_have(name):
    for value in wrong_values(name):
        with pytest.raises(InputError, match=rf"- {re.escape(name)}="):
            override(unet.get_config(), {name: value}, (name,), Path("run"))


@pytest.mark.parametrize("name", SEARCHED)
def test_no_search_has_an_end_or_choice_that_a_field_cannot_have(name):
    good = REFERENCE[name]
    for value in wrong_values(name):
        kinds = ("int",) if KINDS[name] is int else ("linear", "log")
        for entry in (
            ("choice", good, value),
            *((kind, good, value) for kind in kinds),
        ):
            with pytest.raises(InputError, match=f"- {re.escape(name)} = "):
                space.check_space({name: entry}, unet.get_config())


@given(st.sampled_from(NUMBERS), st.data())
def test_what_is_in_the_range_passes_and_comes_back_in_the_type_of_the_field(
    name, data
):
    found, tuples = fields.RANGES[name], KINDS[name] is tuple
    whole = ITEMS[name] is int
    low, high = found.low, found.high
    number = data.draw(
        st.integers(int(low), int(high))
        if whole
        else st.floats(
            low, high, exclude_min=found.without_low, exclude_max=found.without_high
        )
    )
    value = [number] * 2 if tuples else number
    back = flatten(check_fields(config_with(name, value)).to_dict())[name]
    assert back == ((number, number) if tuples else number)
    assert type(back) is KINDS[name]
    hash(back)


@given(st.sampled_from(sorted(KINDS)), st.none() | st.text() | st.integers() | st.floats()
       | st.lists(st.integers() | st.floats() | st.text(), max_size=3))  # fmt: skip
def test_any_value_is_taken_or_named(name, value):
    try:
        taken = flatten(check_fields(config_with(name, value)).to_dict())[name]
    except InputError as error:
        assert f"- {name}=" in str(error)
    else:
        assert type(taken) is KINDS[name]
        hash(taken)


@pytest.mark.parametrize(("old", "new"), fields.OLD_NAMES.items())
def test_a_name_of_before_is_answered_with_the_one_of_today(old, new):
    assert fields.suggest(old, REFERENCE) == f"; did you mean {new}?"


def test_every_old_name_of_the_changelog_is_answered():
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    pairs = re.findall(r"(?m)^\| `(\w+)` \| `([\w.]+)` \|$", text)
    assert len(pairs) > 30
    for old, new in pairs:
        if new in REFERENCE:
            assert fields.suggest(old, REFERENCE) == f"; did you mean {new}?", old
