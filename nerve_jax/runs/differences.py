"""Fields by dotted name: in which two configurations differ, and in which they may."""

from collections.abc import Mapping, Sequence

# Where files lie, and how frames lie in memory or are read: what they hold has a
# fingerprint.
PLACES = (
    *("data.records_dir", "data.manual_dir"),
    *("data.max_resident_gb", "data.num_workers"),
)
ABSENT = "not there"  # of a field that one of two configurations has
# What may change from one command to the next in the same folder: which folds it trains,
# how they lie on the devices, and what training does not read. A name that ends with a
# dot stands for a whole section.
FREE = ("folds", "folds_together", "decision.ensemble", "tuning.", *PLACES)
# What changes the weights by no more than rounding: how many steps and frames one call
# of a compiled program takes, and at which steps it is left for an evaluation.
ROUNDING = ("eval_every_steps", "steps_per_call", "accumulate_steps")


def flatten(tree: dict, prefix: str = "") -> dict:
    """A nested dictionary as a flat one of dotted names."""
    flat = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def is_among(name: str, fields: Sequence[str]) -> bool:
    """Whether a dotted name is one of `fields`, or in a section named there ("data.")."""
    return any(
        name.startswith(field) if field.endswith(".") else name == field
        for field in fields
    )


def find_differences(
    before: dict, now: dict, leave_out: Sequence[str]
) -> dict[str, tuple]:
    """What every field that differs was and is, by dotted name; "not there" if absent."""
    before, now = flatten(before), flatten(now)
    return {
        name: (before.get(name, ABSENT), now.get(name, ABSENT))
        for name in sorted(before.keys() | now.keys())
        if not is_among(name, leave_out) and before.get(name) != now.get(name)
    }


def show_differences(found: Mapping[str, tuple]) -> list[str]:
    """What `find_differences` found, a line for each field."""
    return [f"{name}: {was} before, {now} now" for name, (was, now) in found.items()]
