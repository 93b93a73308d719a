import pytest

from nerve_jax.system.errors import InputError, list_problems, raise_if_any


def test_a_few_problems_are_all_listed():
    problems = ["a: dark", "b: dark", "c: bright\n  - c_mask: bright"]
    with pytest.raises(InputError) as caught:
        raise_if_any(problems, "frames", "Nothing was written.")
    assert str(caught.value).splitlines() == [
        "frames (3):",
        "  - a: dark",
        "  - b: dark",
        "  - c: bright",
        "  - c_mask: bright",
        "Nothing was written.",
    ]
    raise_if_any([], "frames", "")


def test_many_problems_are_summed_up_in_twenty_lines():
    same = [f"{i}.png: cut" for i in range(500)]
    assert list_problems(["x: turned", *same]).splitlines() == [
        "  - 0.png and 499 more: cut",
        "  - x: turned",
    ]
    with pytest.raises(InputError) as caught:
        raise_if_any([f"{i}.png: cut at {i}" for i in range(500)], "frames", "Mend it.")
    lines = str(caught.value).splitlines()
    assert len(lines) == 20
    assert lines[0] == "frames (500):"
    assert lines[-2] == "  - and 483 more"
    plain = list_problems([f"no {i}" for i in range(30)]).splitlines()
    assert plain[:2] == ["  - no 0", "  - no 1"]
    assert plain[-1] == "  - and 13 more"
