"""Configurations as files and dictionaries: read, written, compared and overridden."""

import difflib
import functools
import json
import pprint
import textwrap
from collections.abc import Collection, Sequence

from ml_collections import ConfigDict

from nerve_jax.scoring.decide import check_rule
from nerve_jax.system.errors import InputError, raise_if_any
from nerve_jax.system.files import (
    Path,
    open_local,
    open_path,
    read_json,
    write_whole,
)

# What may change from one command to the next in the same folder: which folds it trains,
# how they and the frames lie on the devices, where the files lie (their content has its
# own fingerprint), and what training does not read. A name that ends with a dot stands
# for a whole section.
FREE = (
    *("folds", "folds_together", "data.max_resident_gb"),
    *("data.records_dir", "data.manual_dir", "tuning."),
)

# Fields that are paths, and how each is opened; "" stands for none.
PATHS = {
    "data.records_dir": functools.partial(open_path, plain=True),
    "data.manual_dir": open_local,
    "start.workdir": functools.partial(open_path, plain=True),
}


def to_plain(config: ConfigDict) -> dict:
    """The configuration as plain JSON values, for files that others may read.

    The URL of a tuning database is left out, for it may hold a password.
    """
    return json.loads(set_fields(config, {"tuning.storage": ""}).to_json())


def to_tuples(value):
    """Plain JSON values with tuples in place of lists, as configurations have them."""
    if isinstance(value, dict):
        return {key: to_tuples(item) for key, item in value.items()}
    return tuple(map(to_tuples, value)) if isinstance(value, list) else value


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


def list_differences(before: dict, now: dict, leave_out: Sequence[str]) -> list[str]:
    """Say of every field that differs, by dotted name, what it was and is."""
    before, now, absent = flatten(before), flatten(now), "not there"
    return [
        f"{name}: {before.get(name, absent)} before, {now.get(name, absent)} now"
        for name in sorted(before.keys() | now.keys())
        if not is_among(name, leave_out) and before.get(name) != now.get(name)
    ]


def check_names(names: Sequence[str], reference: ConfigDict) -> None:
    """Raise `InputError` for the first dotted name that is no field, with a right one."""
    known = flatten(reference.to_dict())
    for name in names:
        if any(field.startswith(f"{name}.") for field in known):
            raise InputError(f"--config.{name} is a section: set one of its fields")
        if name not in known:
            raise InputError(f"--config.{name} is not a field{suggest(name, known)}")


def check_fields(config: ConfigDict, reference: ConfigDict) -> None:
    """Check that a configuration has the fields of another one, and no others.

    What is searched (`tuning.space`) is not compared.

    Raises:
      InputError: lists fields that are missing and fields that are unknown, these with
        the nearest right name.
    """
    known, given = (flatten(c.to_dict()).keys() for c in (reference, config))
    known, given = (
        {name for name in names if not name.startswith("tuning.space")}
        for names in (known, given)
    )
    problems = [
        f"{name} is not a field{suggest(name, known)}" for name in given - known
    ]
    problems += [f"{name} is missing" for name in known - given]
    raise_if_any(
        sorted(problems),
        "the configuration does not fit this code",
        "Write the fields as configs/unet.py has them.",
    )


def suggest(name: str, known: Collection[str]) -> str:
    """A clause that names the right field nearest to a wrong one; "" if none is near."""
    leaf = name.rpartition(".")[2]
    by_leaf = {field.rpartition(".")[2]: field for field in sorted(known)}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    near = near or [
        by_leaf[found] for found in difflib.get_close_matches(leaf, by_leaf, n=1)
    ]
    return f"; did you mean {near[0]}?" if near else ""


def write_config(path: Path, config: ConfigDict, text: str) -> None:
    """Write a configuration as a file that `--config=` takes, headed by a text."""
    fields = pprint.pformat(config.to_dict(), sort_dicts=False, width=84)
    write_whole(
        path,
        f'"""{text}"""\n\nfrom ml_collections import ConfigDict\n\n\n'
        'def get_config() -> ConfigDict:\n    """Every field."""\n'
        f"    return ConfigDict(\n{textwrap.indent(fields, ' ' * 8)}\n    )\n",
    )


def load_config(workdir: Path) -> ConfigDict:
    """Read the config.json of a run.

    Raises:
      InputError: there is none, so nothing was trained there; or an older version of the
        code has written it.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(
            f"{workdir}: no config.json there, so no run to use. Train first, or name "
            "the folder of a run: --workdir=FOLDER"
        )
    content = read_json(path)
    check_version(path, content)
    return ConfigDict(to_tuples(content))


def check_version(path: Path, content) -> None:
    """Raise `InputError` for a config.json that was written before there were sections."""
    sections = isinstance(content, dict) and isinstance(content.get("model"), dict)
    if not sections:
        raise InputError(
            f"{path}: an older version of this code has written that run, and this one "
            "cannot use it. Check out the commit named in its code.json, or train again "
            "in another folder (--workdir)"
        )


def override(
    config: ConfigDict, overrides: dict, fields: Sequence[str], workdir: Path
) -> ConfigDict:
    """A copy of a run's configuration with some fields set again; no other may differ.

    Args:
      config: of the run.
      overrides: values by dotted name. A threshold alone asks for the plain decision.
      fields: those that may be set, as `is_among` takes them; besides `FREE`.
      workdir: of the run.

    Raises:
      InputError: lists those that may not; or a fitted decision is asked for and the run
        has none.
    """
    changed = config.copy_and_resolve_references()
    before = flatten(config.to_dict())
    wrong = [
        f"--config.{name}={value}"
        for name, value in overrides.items()
        if not is_among(name, (*fields, *FREE)) and before.get(name) != value
    ]
    raise_if_any(
        wrong,
        f"{workdir} was trained with another configuration than",
        "Only these can be set again: "
        + ", ".join(name for name in before if is_among(name, fields)),
    )
    set_again = {n: v for n, v in overrides.items() if is_among(n, fields)}
    changed.update_from_flattened_dict(set_again)
    if "decision.threshold" in overrides and "decision.rule" not in overrides:
        changed.decision.rule = "threshold"
    check_rule(changed.decision.rule)
    if changed.decision.rule not in ("threshold", config.decision.rule):
        raise InputError(
            f"{workdir} was trained with --config.decision.rule={config.decision.rule} "
            "and holds no other decision; train with "
            f"--config.decision.rule={changed.decision.rule} in another folder"
        )
    return changed


def open_paths(values: dict) -> dict:
    """Fields by dotted name, those that are paths made absolute (see `files.open_path`)."""
    opened = {}
    for name, value in values.items():
        if value and name in PATHS:
            value = str(PATHS[name](value, f"--config.{name}"))
        opened[name] = value
    return opened


def set_fields(config: ConfigDict, values: dict) -> ConfigDict:
    """A copy of a configuration with fields, by dotted name, set to other values."""
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(values)
    return changed
