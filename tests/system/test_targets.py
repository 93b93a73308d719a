import importlib.util
import math

import pytest

from nerve_jax.system import targets
from nerve_jax.system.errors import InputError
from tests.samples import need_compiler


def test_a_target_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(InputError, match=r"--target=h100:3 is not one of: a100:1, "):
        targets.describe("h100:3")
    wanted = {
        "h100:1",
        "h100:8",
        "a100:1",
        "v5e:2x4",
        "v5e:4x4",
        "v5p:2x2x2",
        "v6e:2x4",
    }
    assert wanted <= set(targets.list_targets())


@pytest.mark.parametrize(
    ("name", "extra"), [("h100:1", "compile-gpu"), ("v5e:2x4", "compile-tpu")]
)
def test_without_its_compiler_the_extra_is_named(monkeypatch, name, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"--target={name} .*\[{extra}\]"):
        targets.describe(name)


def test_every_chip_has_figures_shapes_and_a_source():
    assert targets.CHIPS.keys() == targets.SHAPES.keys()
    for name, chip in targets.CHIPS.items():
        assert chip.source
        assert chip.platform in targets.EXTRAS.keys() & targets.PLUGINS.keys()
        assert 1e9 < chip.memory_bytes < chip.memory_bandwidth < chip.float32_flops
        assert chip.float32_flops <= chip.bfloat16_flops
        assert (name in targets.GPU_CONFIGS) == (chip.platform == "cuda")
        if chip.platform == "cuda":
            text = targets.GPU_CONFIG.format(**targets.GPU_CONFIGS[name])
            assert text.count("{") == text.count("}") == 3


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory: Used 20.50G of 15.75G hbm.",
            20.5 * 2**30,
        ),
        ("used 700M of 1G", 700 * 2**20),
        ("INTERNAL: something else", None),
    ],
)
def test_what_a_program_would_need_is_read_from_the_refusal(message, expected):
    assert targets.read_shortfall(message) == expected


LARGE = (("4x4", 4), ("4x8", 8))  # slices of v5e and v6e of several hosts


@pytest.mark.slow
@pytest.mark.parametrize("name", targets.list_targets())
def test_every_target_has_its_devices(name):
    need_compiler(name)
    found = targets.describe(name).devices
    count = math.prod(map(int, name.partition(":")[2].split("x")))
    assert len(found) == count
    hosts = {"a100:16": 2, "h100:16": 2, "v5p:2x2x2": 2, "v5p:2x2x4": 4}
    hosts |= {f"{chip}:{shape}": n for chip in ("v5e", "v6e") for shape, n in LARGE}
    assert len({device.process_index for device in found}) == hosts.get(name, 1)
