"""Configurations as objects and files: read, checked, written, fields set again."""

import functools
import json
import pprint
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from nerve_jax.runs.differences import flatten, is_among
from nerve_jax.runs.fields import conform, find_problem, suggest
from nerve_jax.system.errors import InputError, raise_if_any
from nerve_jax.system.files import (
    Path,
    open_local,
    open_path,
    read_json,
    write_whole,
)


def load_reference() -> ConfigDict:
    """The configuration that has every field once, `configs/unet.py`."""
    from configs import unet

    return unet.get_config()


@functools.cache
def read_reference() -> Mapping[str, Any]:
    """The fields of the reference and their values, by dotted name."""
    return flatten(load_reference().to_dict())


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


def check_names(names: Sequence[str]) -> None:
    """Raise `InputError` for the first dotted name that is no field, with a right one."""
    known = read_reference()
    for name in names:
        inside = [field for field in known if field.startswith(f"{name}.")]
        if inside:
            raise InputError(
                f"--config.{name} is a section: set one of its fields, such as {inside[0]}"
            )
        if name not in known:
            raise InputError(f"--config.{name} is not a field{suggest(name, known)}")


def check_values(values: Mapping[str, Any], heading: str) -> None:
    """Check values of fields, by dotted name, for their types and ranges.

    Raises:
      InputError: lists, below a heading, those that a field cannot have.
    """
    raise_if_any(
        _list_problems(values),
        heading,
        "Each must be as configs/unet.py and nerve_jax/runs/fields.py say.",
    )


def _list_problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with values of fields; unknown names are left to `check_names`."""
    reference, problems = read_reference(), []
    for name, value in values.items():
        problem = ""
        if name in reference:
            problem = find_problem(name, value, reference[name])
        elif any(field.startswith(f"{name}.") for field in reference):
            problem = "must be a section"
        problems += [f"{name}={value!r} {problem}"] if problem else []
    return problems


def check_fields(config: ConfigDict, file: str = "") -> ConfigDict:
    """Check that a configuration has every field, no others, and right values.

    Args:
      config: what is searched (`tuning.space`) is not looked at.
      file: that it comes from, to be named; "" where it is from none.

    Returns:
      A copy with every value in the type of its field: tuples for lists, floats for ints.

    Raises:
      InputError: lists fields that are missing, those that are unknown, these with the
        nearest right name, and those with a value that they cannot have.
    """
    known, given = read_reference(), flatten(config.to_dict())
    space = {name for name in given if name.startswith("tuning.space.")}
    problems = [
        f"{name} is not a field{suggest(name, known)}"
        for name in given.keys() - known.keys() - space
    ]
    problems += [f"{name} is missing" for name in known.keys() - given.keys()]
    raise_if_any(
        sorted(problems) + _list_problems(given),
        f"the configuration{' ' * bool(file)}{file} does not fit this code",
        "Write the fields as configs/unet.py has them, within the ranges of "
        "nerve_jax/runs/fields.py.",
    )
    checked = load_reference()
    checked.update_from_flattened_dict(
        {name: conform(given[name], value) for name, value in known.items()}
    )
    checked.tuning.space = config.tuning.get("space", ConfigDict())
    return checked


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

    A field that the run is older than has the value of the reference, but for those of
    the section "model", where the defaults of `create_model` are what older runs had.

    Raises:
      InputError: there is none, so nothing was trained there; or an older version of the
        code has written it; or it was changed and holds what a field cannot be.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(
            f"{workdir}: no config.json there, so no run to use. Train first, or name "
            "the folder of a run: --workdir=FOLDER"
        )
    content = read_json(path)
    check_version(path, content)
    problems = _list_problems(flatten(content))
    raise_if_any(problems, f"{path} was changed", "Set these as the run had them.")
    content = to_tuples(content)
    filled = _fill_in(content, load_reference().to_dict())
    return ConfigDict(filled | {"model": content["model"]})


def _fill_in(content: dict, reference: dict) -> dict:
    """A nested dictionary with what a reference has and it lacks."""
    filled = reference | content
    for name, value in content.items():
        if isinstance(value, dict) and isinstance(reference.get(name), dict):
            filled[name] = _fill_in(value, reference[name])
    return filled


def check_version(path: Path, content: Any) -> None:
    """Raise `InputError` for a config.json that was written before there were sections."""
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or "widths" not in model:
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
      fields: those that may be set, as `is_among` takes them.
      workdir: of the run.

    Raises:
      InputError: lists those that may not, or values that a field cannot have; or a
        fitted decision is asked for and the run has none.
    """
    check_values(overrides, "these fields cannot be set so")
    before = flatten(config.to_dict())
    wrong = [
        f"--config.{name}={value}: {before.get(name)} in the run"
        for name, value in overrides.items()
        if not is_among(name, fields) and before.get(name) != value
    ]
    raise_if_any(
        wrong,
        f"{workdir} is trained, and these fields cannot be set again",
        "Leave them out. Only these can be set: "
        + ", ".join(name for name in before if is_among(name, fields)),
    )
    changed = set_fields(
        config, {n: v for n, v in overrides.items() if is_among(n, fields)}
    )
    if "decision.threshold" in overrides and "decision.rule" not in overrides:
        changed.decision.rule = "threshold"
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
