"""From the name of a data set to its frames in memory.

Resized frames are kept on disk beside the records, so that a data set is decoded once
and not at every start: a folder with an npy file for each array, mapped into memory when
read, and a JSON file for the texts. It is written frame by frame, so that a set larger
than memory can be loaded; and beside and renamed, so that it is whole or not there. It
may be deleted at any time.
"""

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow_datasets as tfds

from nerve_jax.data import records
from nerve_jax.data.columns import fill, gather_labels, read_row
from nerve_jax.data.examples import Examples, join_examples
from nerve_jax.data.frames import Storage
from nerve_jax.data.listing import count_of
from nerve_jax.data.outlines import NERVE_ALONE, Wanted
from nerve_jax.data.records import prepare, quiet_tfds
from nerve_jax.data.resize import check_image_size
from nerve_jax.data.structures import NERVE, READER
from nerve_jax.system.console import is_first, say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import create_beside

CACHE_VERSION = 4  # of what is kept and how it is made; another one is not read


def load_split(
    split: str, image_size: tuple[int, int], wanted: Wanted = NERVE_ALONE, **source
) -> Examples:
    """Load the frames of a split.

    Args:
      split: "train" or, where the data set has one, "test".
      image_size: training height and width in px.
      wanted: structures of the data set, and whose outlines are their truth.
      **source: of `records.open_records`.

    Raises:
      InputError: no such data set, split, size or structure, or raw files that cannot
        be used.
      RunError: the records cannot be written.
    """
    return _load(*records.open_records(**source), split, image_size, wanted, source)


def load_all_frames(
    image_size: tuple[int, int], wanted: Wanted = NERVE_ALONE, **source
) -> tuple[Examples, Examples]:
    """Load split "train", and the same joined by all unlabelled frames of other splits.

    Frames of other splits that have a mask are for scoring, and stay unseen. Unlike
    those of one split, joined frames are copied into memory. See `load_split` for
    arguments and errors.
    """
    builder, folder = records.open_records(**source)
    train = _load(builder, folder, "train", image_size, wanted, source)
    more = []
    for split in records.list_splits(builder):
        if split != "train":
            part = _load(builder, folder, split, image_size, wanted, source)
            bare = ~part.structures_labelled.any(1)
            more.append(part.choose(np.flatnonzero(bare)))
    more = [part for part in more if len(part)]
    return train, join_examples([train, *more]) if more else train


def _load(
    builder, folder: Path, split: str, image_size, wanted: Wanted, source: dict
) -> Examples:
    examples = load_examples(builder, split, tuple(image_size), wanted)
    remarks = records.read_metadata(builder).get("remarks", [])
    say(*describe_load(examples, split, remarks))
    if is_first():
        records.publish(folder, source.get("records_dir", ""))
    return examples


def describe_load(
    examples: Examples, split: str, remarks: Sequence[str] = ()
) -> list[str]:
    """Lines that say what was loaded: frames, labelled ones, people, files left out."""
    people = len(set(examples.subjects))
    labelled = [f"{own.labelled.sum()} labelled" for own in examples.labels.values()]
    if len(labelled) > 1:
        named = zip(labelled, examples.structures, strict=True)
        labelled = [f"{count} for {structure}" for count, structure in named]
    counts = f"{count_of(len(examples), 'frame')} ({', '.join(labelled)})"
    found = (
        f"split {split}: {counts} of {people} {'people' if people != 1 else 'person'}"
    )
    return [f"{examples.fingerprint}, {found}", *(f"  {line}" for line in remarks)]


def load_examples(
    builder: tfds.core.DatasetBuilder,
    split: str,
    image_size: tuple[int, int],
    wanted: Wanted = NERVE_ALONE,
) -> Examples:
    """Prepare the records if need be, decode every frame of a split and resize it.

    What was decoded is kept beside the records (see `write_cache`) and only mapped into
    memory the next time.

    Args:
      builder: of `records`.
      split: "train" or, where the data set has one, "test".
      image_size: training height and width in px.
      wanted: structures of the data set, and whose outlines are their truth.

    Raises:
      InputError: no such split, size or structure, or raw files that cannot be used.
      RunError: the records cannot be written.
    """
    check_image_size(image_size)
    readers = _check_labels(builder, wanted)
    prepare(builder)
    with quiet_tfds():
        if split not in builder.info.splits:
            names = ", ".join(builder.info.splits)
            raise InputError(
                f"{builder.info.full_name} has no split {split!r}; it has {names}"
            )
        source = builder.as_data_source(split=split)
    name, size = builder.info.full_name, "{}x{}".format(*image_size)
    folder = "_".join(filter(None, [split, size, wanted.name]))
    folder = Path(builder.data_path) / "resized" / folder
    columns = read_cache(folder)
    if columns is None:
        order = _read_order(builder, split)
        rows = functools.partial(_decode, source, order, image_size, wanted, readers)
        write_cache(folder, rows(), len(order))
        columns = read_cache(folder) or fill(rows(), len(order))
    kept = records.read_metadata(builder)
    storage = Storage(kept.get("bits", 0), bool(kept.get("is_cut", False)))
    columns = gather_labels(columns, wanted, readers)
    return Examples(
        **columns, fingerprint=name, source=source, storage=storage, wanted=wanted
    )


def _check_labels(builder: tfds.core.DatasetBuilder, wanted: Wanted) -> list[str]:
    """Check that a data set has what is wanted; its readers where there are several."""
    kept = records.read_metadata(builder)
    structures = kept.get("structures", [NERVE])
    readers = kept.get("readers", [READER])
    wanted.check(structures, readers, builder.info.full_name)
    return readers if len(readers) > 1 else []


def _read_order(builder: tfds.core.DatasetBuilder, split: str) -> list[int]:
    """Where in the records each frame stands, in order of their ids; no image is decoded."""
    skip = {name: tfds.decode.SkipDecoding() for name in ("image", "mask")}
    with quiet_tfds():
        source = builder.as_data_source(split=split, decoders=skip)
        frames = [source[i]["frame"].decode() for i in range(len(source))]
    return sorted(range(len(frames)), key=frames.__getitem__)


def _decode(
    source: Sequence[dict],
    order: Sequence[int],
    image_size: tuple[int, int],
    wanted: Wanted,
    readers: Sequence[str],
) -> Iterator[dict]:
    """Decode and resize frames one by one: a row of the columns of `Examples` of each."""
    for place in order:
        with quiet_tfds():
            record = source[place]
        row = read_row(record, image_size, wanted, readers)
        yield row | {"records": np.int64(place)}


def read_cache(folder: Path) -> dict | None:
    """Columns as `fill` gives them; None where there are none whole of this version."""
    try:
        content = json.loads((folder / "texts.json").read_text())
        if content.pop("version") != CACHE_VERSION:
            return None
        names = content.pop("arrays")
        columns = {name: tuple(values) for name, values in content.items()}
        for name in names:
            columns[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or damaged: written again
    return columns


def write_cache(folder: Path, rows: Iterable[dict], count: int) -> None:
    """Keep rows as columns, one by one; where that is not possible, don't.

    See `fill` for the arguments. Whoever may read the records may read what is kept.
    """
    try:
        folder.parent.mkdir(exist_ok=True)
        beside = create_beside(folder)
    except OSError:
        return  # records on a read-only disk are decoded at every start
    try:
        content = {"version": CACHE_VERSION, **_write_columns(beside, rows, count)}
        (beside / "texts.json").write_text(json.dumps(content))
        if (
            read_cache(folder) is None
        ):  # no other run was first, which may have it mapped
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(beside, folder)
    except OSError:  # a full disk, or another run was first
        pass
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_columns(folder: Path, rows: Iterable[dict], count: int) -> dict:
    """Write an npy file of each array row by row; return their names, and the texts."""
    texts: dict[str, list[str | None]] = {}
    with contextlib.ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for row in rows:
            for name, value in row.items():
                if value is None or isinstance(value, str):
                    texts.setdefault(name, []).append(value)
                    continue
                if name not in files:
                    path = folder / f"{name}.npy"
                    files[name] = stack.enter_context(path.open("wb"))
                    described = {
                        "descr": np.lib.format.dtype_to_descr(value.dtype),
                        "fortran_order": False,
                        "shape": (count, *value.shape),
                    }
                    np.lib.format.write_array_header_1_0(files[name], described)
                files[name].write(value.tobytes())
    return {"arrays": sorted(files), **texts}
