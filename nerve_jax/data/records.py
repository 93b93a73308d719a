"""Prepared records: by the name of a data set, from raw files, a disk or a bucket."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from nerve_jax.data.ultrasound_nerve import Builder, PhantomConfig, SourceConfig
from nerve_jax.system import locks
from nerve_jax.system.console import say
from nerve_jax.system.environment import find_cache_home
from nerve_jax.system.errors import InputError, RunError, first_line
from nerve_jax.system.files import create_beside, is_remote, open_path

LAST_FILE = "dataset_info.json"


def choose_local(records_dir: str) -> str:
    """The folder for records on this machine: `records_dir`, or what stands for a bucket.

    That is a folder in the user's cache; it may be deleted when no run uses it. "" stands
    for the folder of tfds, in the user's home.

    Raises:
      InputError: the user has no home for what is to be in it.
    """
    home, remote = find_cache_home(), is_remote(records_dir)
    if home is None and (remote or not (records_dir or "TFDS_DATA_DIR" in os.environ)):
        raise InputError(
            f"data.records_dir={records_dir!r}: records are kept in the user's home, and "
            "this user has none. Set HOME, or name a folder on a disk: "
            "--config.data.records_dir=FOLDER"
        )
    if not remote:
        return records_dir
    name = hashlib.blake2b(records_dir.encode(), digest_size=6).hexdigest()
    return str(home / "records" / name)


def find_prepared(name: str, records_dir: str) -> Path | None:
    """The records of a data set whose raw files need not be there any more.

    Args:
      name: "ultrasound_nerve/kaggle" or the like.
      records_dir: a folder on disk, or gs://…

    Returns:
      Where they are or, from a bucket, are to be on this machine, in the newest version
      of the builder that there is; None if nowhere.

    Raises:
      InputError: they were prepared there more than once, from different files.
    """
    if not records_dir:
        return None
    folder = open_path(records_dir, "--config.data.records_dir")
    versions = [p.parent for p in folder.glob(f"{name}-*/*/{LAST_FILE}")]
    versions = [p for p in versions if tfds.core.Version.is_valid(p.name)]
    versions.sort(key=lambda p: tfds.core.Version(p.name))
    found = sorted({p.parent: p for p in versions}.values())  # the newest of each
    if len(found) > 1:
        listing = ", ".join(map(str, found))
        raise InputError(
            f"{name} was prepared from {len(found)} sets of files: {listing}. Name "
            "the raw files (--config.data.manual_dir=FOLDER), or another "
            "--config.data.records_dir"
        )
    if not found:
        return None
    inside = found[0].relative_to(folder).as_posix()
    return Path(choose_local(records_dir)) / inside


def fetch(local: Path, records_dir: str) -> None:
    """Copy the records of a data set from a bucket, if they are there and not here.

    Args:
      local: where they are to be, below `choose_local(records_dir)`.
      records_dir: gs://…, or a folder on disk, for which nothing is to be done.
    """
    if not is_remote(records_dir) or local.exists():
        return
    remote = _find_remote(local, records_dir)
    with locks.hold(local.with_name(f"{local.name}.lock"), wait=True):
        if not local.exists() and _is_whole(remote):
            _copy(remote, epath.Path(local))


def publish(local: Path, records_dir: str) -> None:
    """Copy records that were prepared here to the bucket, unless they are there."""
    if is_remote(records_dir):
        remote = _find_remote(local, records_dir)
        if not _is_whole(remote):
            _copy(epath.Path(local), remote)


def _is_whole(remote: epath.Path) -> bool:
    """Whether all is there: this file is copied last."""
    return (remote / LAST_FILE).exists()


def _find_remote(local: Path, records_dir: str) -> epath.Path:
    inside = local.relative_to(choose_local(records_dir))
    return epath.Path(records_dir) / inside.as_posix()


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Copy the files of a folder; to a disk beside and renamed, so whole or not at all."""
    paths = sorted(p for p in source.iterdir() if p.is_file())
    paths.sort(key=lambda path: path.name == LAST_FILE)
    if is_remote(target):
        for path in paths:
            (target / path.name).write_bytes(path.read_bytes())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = create_beside(Path(target))
    try:
        for path in paths:
            (beside / path.name).write_bytes(path.read_bytes())
        os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def open_records(
    *,
    name: str,
    records_dir: str = "",
    manual_dir: str = "",
    frame_stride: int = 1,
    readers: bool = False,
    phantom: Mapping[str, int] | None = None,
) -> tuple[tfds.core.DatasetBuilder, Path]:
    """Open the records of a data set, prepared or still to be prepared.

    Real frames are prepared from `manual_dir`; without it the records found in
    `records_dir` are used. See `create_builder` for the arguments.

    Returns:
      The builder, and the folder of the records on this machine.
    """
    folder = None
    if not manual_dir and not name.endswith("/phantom"):
        folder = find_prepared(name, records_dir)
    if folder:
        fetch(folder, records_dir)
        return open_builder(folder), folder
    builder = create_builder(
        name,
        records_dir=choose_local(records_dir),
        manual_dir=manual_dir,
        frame_stride=frame_stride,
        readers=readers,
        phantom=phantom,
    )
    folder = Path(builder.data_path)
    fetch(folder, records_dir)
    return builder, folder


def create_builder(
    name: str,
    *,
    records_dir: str = "",
    manual_dir: str = "",
    frame_stride: int = 1,
    readers: bool = False,
    phantom: Mapping[str, int] | None = None,
) -> Builder:
    """Create the tfds builder of a data set.

    Args:
      name: "ultrasound_nerve/phantom", "/kaggle", "/usgra" or "/folder".
      records_dir: folder of prepared records, "" for tfds's own.
      manual_dir: folder of the raw files; the phantom has none.
      frame_stride: every so many frames of each clip are taken.
      readers: whether the folders in masks/ are readers.
      phantom: fields of `PhantomConfig`.

    Raises:
      InputError: an unknown data set, or raw files that cannot be used.
    """
    first, _, kind = name.partition("/")
    if first != "ultrasound_nerve":
        raise InputError(f"data.name={name!r}: the data set is ultrasound_nerve/…")
    if kind == "phantom":
        config = PhantomConfig(name=kind, **(phantom or {}))
    elif kind in {c.name for c in Builder.BUILDER_CONFIGS}:
        config = SourceConfig(
            name=kind,
            manual_dir=manual_dir,
            frame_stride=frame_stride,
            readers=readers,
        )
    else:
        config = kind  # the builder's error lists the right names
    with quiet_tfds():
        return Builder(config=config, data_dir=records_dir or None)


def open_builder(folder: Path) -> tfds.core.DatasetBuilder:
    """Open records that were prepared before, by the folder of their version."""
    with quiet_tfds():
        return tfds.builder_from_directory(folder)


def list_splits(builder: tfds.core.DatasetBuilder) -> list[str]:
    """Names of the splits of records that are prepared."""
    return list(builder.info.splits)


def read_metadata(builder: tfds.core.DatasetBuilder) -> dict:
    """What is kept of the files from which records are, or were, prepared.

    Returns:
      `remarks`, `bits` and `is_cut`, as the builder describes them; empty for records of another
      version, which kept neither.
    """
    try:
        return dict(builder.info.metadata or {})
    except OSError:
        return {}


def prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Prepare the records unless they are there; one run at a time."""
    folder = Path(builder.data_path)
    if not folder.exists():
        new = [parent for parent in folder.parents if not parent.exists()]
        try:
            with locks.hold(folder.with_name(f"{folder.name}.lock"), wait=True):
                if not folder.exists():
                    say(f"preparing {builder.info.full_name}, once")
                    _write_records(builder)
        finally:
            for parent in new:
                with contextlib.suppress(OSError):  # there are records in it
                    parent.rmdir()
    if not builder.info.splits:  # this builder was made before the records were
        builder.info.read_from_directory(builder.data_path)


def _write_records(builder: tfds.core.DatasetBuilder) -> None:
    try:
        with quiet_tfds():
            builder.download_and_prepare()
    except InputError:
        raise
    except Exception as error:  # of a full disk, by way of several libraries
        raise RunError(
            f"{builder.data_path}: the records could not be written "
            f"({first_line(error)}). Make room, or name another folder: "
            "--config.data.records_dir=FOLDER"
        ) from error


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Keep tfds from printing bars and warnings that say nothing to a user here."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.set_verbosity(verbosity)
