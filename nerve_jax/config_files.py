"""Configurations as files: plain values, a Python file, and how two of them differ."""

import json
import pprint
import textwrap
from collections.abc import Sequence

import ml_collections

from nerve_jax.files import Path, write_whole


def to_plain(config: ml_collections.ConfigDict) -> dict:
    """The configuration as plain JSON values."""
    return json.loads(config.to_json())


def write_config(path: Path, config: ml_collections.ConfigDict, text: str) -> None:
    """Write a configuration as a file that `--config=` takes, headed by a text."""
    fields = pprint.pformat(config.to_dict(), sort_dicts=False, width=84)
    write_whole(
        path,
        f'"""{text}"""\n\nfrom ml_collections import ConfigDict\n\n\n'
        'def get_config() -> ConfigDict:\n    """Every field."""\n'
        f"    return ConfigDict(\n{textwrap.indent(fields, ' ' * 8)}\n    )\n",
    )


def flatten(tree: dict, prefix: str = "") -> dict:
    """A nested dictionary as a flat one of dotted names."""
    flat = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def list_differences(before: dict, now: dict, leave_out: Sequence[str]) -> list[str]:
    """Say of every field that differs, nested ones by dotted name, what it was and is."""
    before, now, absent = flatten(before), flatten(now), "not there"
    return [
        f"{key}: {before.get(key, absent)} before, {now.get(key, absent)} now"
        for key in sorted(before.keys() | now.keys())
        if key not in leave_out and before.get(key) != now.get(key)
    ]


def to_tuples(value):
    """Plain JSON values with tuples in place of lists, as configurations have them."""
    if isinstance(value, dict):
        return {key: to_tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
