"""Prepared records: found without the raw files; copied from a bucket to be read."""

import hashlib
import os
import pathlib
import shutil
import tempfile

from etils import epath

from nerve_jax import locks
from nerve_jax.errors import InputError
from nerve_jax.files import is_remote, open_path
from nerve_jax.parallel import find_cache_home

LAST_FILE = "dataset_info.json"


def choose_local(data_dir: str) -> str:
    """The folder for records on this machine: `data_dir`, or what stands for a bucket.

    That is a folder in the user's cache; it may be deleted when no run uses it.
    """
    if not is_remote(data_dir):
        return data_dir
    name = hashlib.blake2b(data_dir.encode(), digest_size=6).hexdigest()
    return str(find_cache_home() / "records" / name)


def find_prepared(dataset: str, data_dir: str) -> pathlib.Path | None:
    """The records of a data set whose raw files need not be there any more.

    Args:
      dataset: "ultrasound_nerve/kaggle" or the like.
      data_dir: a folder on disk, or gs://…

    Returns:
      Where they are or, from a bucket, are to be on this machine; None if nowhere.

    Raises:
      InputError: they were prepared there more than once, from different files.
    """
    if not data_dir:
        return None
    folder = open_path(data_dir)
    found = sorted(p.parent for p in folder.glob(f"{dataset}-*/*/{LAST_FILE}"))
    if len(found) > 1:
        listing = ", ".join(map(str, found))
        raise InputError(
            f"{dataset} was prepared from {len(found)} sets of files: {listing}. Name the "
            "raw files (--config.manual_dir=FOLDER), or another --config.data_dir"
        )
    if not found:
        return None
    inside = found[0].relative_to(folder).as_posix()
    return pathlib.Path(choose_local(data_dir)) / inside


def fetch(local: pathlib.Path, data_dir: str) -> None:
    """Copy the records of a data set from a bucket, if they are there and not here.

    Args:
      local: where they are to be, below `choose_local(data_dir)`.
      data_dir: gs://…, or a folder on disk, for which nothing is to be done.
    """
    if not is_remote(data_dir) or local.exists():
        return
    remote = _find_remote(local, data_dir)
    with locks.hold(local.with_name(f"{local.name}.lock"), wait=True):
        if not local.exists() and _is_whole(remote):
            _copy(remote, epath.Path(local))


def publish(local: pathlib.Path, data_dir: str) -> None:
    """Copy records that were prepared here to the bucket, unless they are there."""
    if is_remote(data_dir):
        remote = _find_remote(local, data_dir)
        if not _is_whole(remote):
            _copy(epath.Path(local), remote)


def _is_whole(remote: epath.Path) -> bool:
    """Whether all is there: this file is copied last."""
    return (remote / LAST_FILE).exists()


def _find_remote(local: pathlib.Path, data_dir: str) -> epath.Path:
    inside = local.relative_to(choose_local(data_dir))
    return epath.Path(data_dir) / inside.as_posix()


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Copy the files of a folder; to a disk beside and renamed, so whole or not at all."""
    paths = sorted(p for p in source.iterdir() if p.is_file())
    paths.sort(key=lambda path: path.name == LAST_FILE)
    if is_remote(target):
        for path in paths:
            (target / path.name).write_bytes(path.read_bytes())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = pathlib.Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy."))
    try:
        for path in paths:
            (beside / path.name).write_bytes(path.read_bytes())
        os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
