"""From the name of a data set to its prepared records."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging

from nerve_jax import locks
from nerve_jax.datasets.ultrasound_nerve import Builder, PhantomConfig, SourceConfig
from nerve_jax.errors import InputError, RunError, first_line


def create_builder(
    dataset: str,
    *,
    data_dir: str = "",
    manual_dir: str = "",
    num_subjects: int = 47,
    frames_per_subject: int = 18,
    seed: int = 0,
) -> Builder:
    """Create the tfds builder of a data set.

    Args:
      dataset: "ultrasound_nerve/phantom", "/kaggle", "/usgra" or "/folder".
      data_dir: folder of prepared records, "" for tfds's own.
      manual_dir: folder of the raw files; the phantom has none.
      num_subjects: phantom only, how many people.
      frames_per_subject: phantom only.
      seed: phantom only.

    Raises:
      InputError: an unknown data set, or raw files that cannot be used.
    """
    name, _, kind = dataset.partition("/")
    if name != "ultrasound_nerve":
        raise InputError(f"dataset={dataset!r}: the data set is ultrasound_nerve/…")
    if kind == "phantom":
        config = PhantomConfig(
            name=kind,
            num_subjects=num_subjects,
            frames_per_subject=frames_per_subject,
            seed=seed,
        )
    elif kind in {c.name for c in Builder.BUILDER_CONFIGS}:
        config = SourceConfig(name=kind, manual_dir=manual_dir)
    else:
        config = kind  # the builder's error lists the right names
    with quiet_tfds():
        return Builder(config=config, data_dir=data_dir or None)


def open_builder(folder: Path) -> tfds.core.DatasetBuilder:
    """Open records that were prepared before, by the folder of their version."""
    with quiet_tfds():
        return tfds.builder_from_directory(folder)


def list_splits(builder: tfds.core.DatasetBuilder) -> list[str]:
    """Names of the splits of records that are prepared."""
    return list(builder.info.splits)


def prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Prepare the records unless they are there; one run at a time."""
    folder = Path(builder.data_path)
    if not folder.exists():
        new = [parent for parent in folder.parents if not parent.exists()]
        try:
            with locks.hold(folder.with_name(f"{folder.name}.lock"), wait=True):
                if not folder.exists():
                    print(f"preparing {builder.info.full_name}, once", flush=True)
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
            "--config.data_dir=FOLDER"
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
