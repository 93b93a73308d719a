import pytest

from nerve_jax.system.errors import InputError, list_problems, raise_if_any


def test_a_few_problems_are_all_listed():
    problems = ["a: dark", "b: dark", "c: bright\n  - c_mask: bright"]
    with pytest.raises(InputError) as caught:
        raise_if_any(problems, "frames", "Nothing was written.")
    assert str(caught.value).splitlines() == [
        "frames (4 problems):",
        "  - a: dark",
        "  - b: dark",
        "  - c: bright",
        "  - c_mask: bright",
        "Nothing was written.",
    ]
    raise_if_any([], "frames", "")


@pytest.mark.parametrize("files", [1, 12, 40])
def test_a_heading_counts_what_is_summed_up_below_it(files):
    problems = [f"{i}.tif: two\n  - {i}_mask.tif: two" for i in range(files)]
    with pytest.raises(
        InputError, match=rf"^frames \({2 * files} problems\):"
    ) as caught:
        raise_if_any(problems, "frames", "Mend it.")
    if files > 1:
        assert f"0.tif and {2 * files - 1} more: two" in str(caught.value)
    with pytest.raises(InputError, match=r"^frames \(1 problem\):"):
        raise_if_any(["0.tif: two"], "frames", "Mend it.")


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
    assert lines[0] == "frames (500 problems):"
    assert lines[-2] == "  - and 483 more"
    plain = list_problems([f"no {i}" for i in range(30)]).splitlines()
    assert plain[:2] == ["  - no 0", "  - no 1"]
    assert plain[-1] == "  - and 13 more"
