"""nnU-Net's dataset.json: channels, files and what the values of labels mean."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from nerve_jax.data.exchange.entries import Gathered
from nerve_jax.data.exchange.names import name_structures
from nerve_jax.data.frames import read_file
from nerve_jax.system.files import show

FILE = "dataset.json"
ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".nii.gz", ".nii")
BACKGROUND, IGNORE = "background", "ignore"


class Dataset(NamedTuple):
    """What dataset.json says.

    Attributes:
      values: the values that mark each structure; those of a region are several.
      ending: of files.
      num_training: how many cases have labels; None where it is not stated.
    """

    values: dict[str, tuple[int, ...]]
    ending: str
    num_training: int | None


def read_dataset(folder: Path, gathered: Gathered) -> Dataset:
    """Read dataset.json, of the second version of nnU-Net or the first."""
    nothing = Dataset({}, "", None)
    try:
        content = json.loads(read_file(folder / FILE))
    except FileNotFoundError:
        gathered.problems.append(f"no {FILE} there")
        return nothing
    except (OSError, ValueError, RecursionError) as error:
        gathered.problems.append(f"{FILE}: not JSON ({error}); mend it")
        return nothing
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        gathered.problems.append(f"{FILE}: no labels in it")
        return nothing
    channels = content.get("channel_names", content.get("modality"))
    if not isinstance(channels, dict | list) or len(channels) != 1:
        gathered.problems.append(
            f"{FILE}: channel_names {show(str(channels))}: frames of one channel, of "
            "grey, are read; export that one alone"
        )
    if "dataset" in content:
        gathered.problems.append(f"{FILE}: paths under dataset are not followed")
    ending = content.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        gathered.problems.append(
            f"{FILE}: file_ending {show(str(ending))} is not one of {', '.join(ENDINGS)}"
        )
    number = content.get("numTraining")
    values = read_labels(content["labels"], gathered)
    return Dataset(values, str(ending), number if type(number) is int else None)


def read_labels(labels: dict, gathered: Gathered) -> dict[str, tuple[int, ...]]:
    """The values of each structure; names and values may be either way round."""
    if all(isinstance(name, str) for name in labels.values()):  # the first version
        pairs = [(name, _to_number(value)) for value, name in labels.items()]
    else:
        pairs = list(labels.items())
    found: dict[str, tuple[int, ...]] = {}
    for name, value in pairs:
        values = tuple(value) if isinstance(value, list) else (value,)
        if not values or not all(type(v) is int and v >= 0 for v in values):
            gathered.problems.append(
                f"{FILE}: label {show(name)!r}: {show(str(value))} is no whole number"
            )
        elif (name == BACKGROUND) != (values == (0,)):
            gathered.problems.append(
                f"{FILE}: label {show(name)!r} is {values[0]}; 0 is {BACKGROUND}"
            )
        elif name in found:
            gathered.problems.append(f"{FILE}: label {show(name)!r} is there twice")
        elif name not in (BACKGROUND, IGNORE):
            found[name] = values
    if len(set(found.values())) < len(found):
        gathered.problems.append(f"{FILE}: two labels of one value; keep one")
    structures = name_structures(list(found), gathered.problems)
    return {structures[n]: v for n, v in found.items() if n in structures}


def _to_number(text: str) -> Any:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else text
