"""tfds builder of ultrasound frames of nerves, simulated and real, without TensorFlow.

Records are prepared as array_record files and read back by `as_data_source`. The name
of a configuration gains a fingerprint of its options and source files when the builder
is made, e.g. `ultrasound_nerve/phantom-seed0-5d1c3b0a9f2e/1.2.0`, so that changed input is
prepared again and never served from old records. A phantom's seed is named, for phantoms
of one seed show the same people, however many.
"""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from nerve_jax.data.frames import to_8_bit
from nerve_jax.data.outlines import Outlines, choose_mask, encode_outlines
from nerve_jax.data.phantom import anatomy, people
from nerve_jax.data.ultrasound_nerve import checking, layouts, sources
from nerve_jax.data.ultrasound_nerve.reading import read_frames
from nerve_jax.system.errors import InputError

VERSION = "1.2.0"


@dataclasses.dataclass
class PhantomConfig(tfds.core.BuilderConfig):
    """Simulated frames.

    Attributes:
      num_subjects: how many people.
      frames_per_subject: how many frames of each.
      seed: of the simulation.
      num_readers: how many simulated readers outline each frame.
    """

    num_subjects: int = 47
    frames_per_subject: int = 18
    seed: int = 0
    num_readers: int = 1


@dataclasses.dataclass
class SourceConfig(tfds.core.BuilderConfig):
    """Frames from files.

    Attributes:
      manual_dir: folder of the raw files, laid out as the configuration's name says.
      frame_stride: every so many frames of each clip are taken.
      readers: whether the folders in masks/ are readers (see `layouts.list_folder`).
    """

    manual_dir: str = ""
    frame_stride: int = 1
    readers: bool = False


class Builder(tfds.core.GeneratorBasedBuilder):
    """Frames with outlines of the brachial plexus and of what surrounds it, by subject.

    Features of a record: `image` uint8 [height, width, 1]; `outlines`, JSON of the
    outlines of all structures for which the frame is labelled by all readers (see
    `outlines.encode_outlines`), "" in a data set of the nerve alone by `reader1` alone;
    `mask` uint8 of the shape of `image`, 0 or 1, the first structure's by its first
    reader, all 0 where the frame is not labelled for that; `labelled`, whether it is
    labelled for any; `subject`, the person; `frame`, an id unique in the data set;
    `spacing_mm` float32 [2], height and width of a pixel, NaN where unknown; `scanner`
    and `clip`, a sweep of one subject, "" where unknown.

    The records' metadata hold `structures` and `readers`, their names in order; `remarks`,
    lines that say how many files were read and which were left out; and `bits` and
    `is_cut` of `frames.Storage`. Version 1.1.0 has no `outlines`, `structures` and
    `readers`; 1.0.0 has no `scanner` and no `clip` either.
    """

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS: ClassVar = [
        PhantomConfig(name="phantom", description="Simulated neck frames."),
        SourceConfig(name="kaggle", description="Kaggle's competition of 2016."),
        SourceConfig(name="usgra", description="The open usgra-seg frames (CC-BY)."),
        SourceConfig(name="folder", description="Any folder of images and masks."),
    ]

    def __init__(self, *, config=None, data_dir=None, **kwargs):
        """Create the builder of one configuration.

        Args:
          config: a name, or a `PhantomConfig` or `SourceConfig` with its options set.
          data_dir: folder of prepared records; tfds's own by default.
          **kwargs: `version`, as tfds takes it.

        Raises:
          InputError: an unknown name, or source files that cannot be used.
        """
        config = self._find_config(config)
        self._listing: sources.Listing | None = None
        if isinstance(config, SourceConfig):
            self._listing = _list_source(config)
            self._structures = self._listing.structures
            self._readers = self._listing.readers
            digest = checking.fingerprint(self._listing.splits)
        else:
            self._structures = list(people.STRUCTURES)
            self._readers = people.name_readers(config.num_readers)
            digest = _phantom_fingerprint(config)
        config = dataclasses.replace(config, name=f"{config.name}-{digest}")
        kwargs.setdefault("file_format", "array_record")
        super().__init__(config=config, data_dir=data_dir, **kwargs)
        if self.data_path.exists():  # else the files are still to be checked
            self._warn()

    @classmethod
    def _find_config(cls, config):
        if config is None:
            return cls.BUILDER_CONFIGS[0]
        if not isinstance(config, str):
            # tfds restores builders by their options, with the fingerprint in the name
            return dataclasses.replace(config, name=config.name.split("-")[0])
        for known in cls.BUILDER_CONFIGS:
            if known.name == config:
                return known
        names = ", ".join(known.name for known in cls.BUILDER_CONFIGS)
        raise InputError(f"dataset ultrasound_nerve/{config} is not one of: {names}")

    def _info(self) -> tfds.core.DatasetInfo:
        frame = tfds.features.Image(
            shape=(None, None, 1), dtype=np.uint8, encoding_format="png"
        )
        features = tfds.features.FeaturesDict(
            {
                "image": frame,
                "mask": frame,
                "subject": tfds.features.Text(),
                "frame": tfds.features.Text(),
                "labelled": tfds.features.Scalar(np.bool_),
                "spacing_mm": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                "scanner": tfds.features.Text(),
                "clip": tfds.features.Text(),
                "outlines": tfds.features.Text(),
            }
        )
        remarks = sources.describe(self._listing) if self._listing else []
        is_cut = self._listing is not None and self._listing.is_cut
        return self.dataset_info_from_configs(
            features=features,
            supervised_keys=("image", "mask"),
            metadata=tfds.core.MetadataDict(
                remarks=remarks,
                bits=0,
                is_cut=is_cut,
                structures=self._structures,
                readers=self._readers,
            ),
        )

    def download_and_prepare(self, **kwargs) -> None:
        """Prepare the records, once; every source file is checked before any is written.

        Raises:
          InputError: names every frame and mask that cannot be used.
        """
        if self._listing is not None and not self.data_path.exists():
            bits, remarks = checking.check_frames(self._listing.splits)
            self.info.metadata["remarks"] += remarks
            self.info.metadata["bits"] = bits
            self._warn()
        super().download_and_prepare(**kwargs)

    def _warn(self) -> None:
        """Warn of what the listing says, where no error that explains it is to come."""
        for text in self._listing.warnings if self._listing else []:
            warnings.warn(text, stacklevel=2)

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        if self._listing is None:
            return {"train": self._generate_phantom()}
        frames_of = self._listing.splits
        return {split: self._generate_source(f) for split, f in frames_of.items()}

    def _generate_examples(self):
        raise AssertionError("every split names its own generator")

    def _generate_phantom(self) -> Iterator[tuple[str, dict]]:
        config = self.builder_config
        for frame in people.simulate_frames(
            config.num_subjects,
            config.frames_per_subject,
            config.seed,
            config.num_readers,
        ):
            name = f"{frame.subject:03d}_{frame.index:03d}"
            yield (
                name,
                {
                    **self._save(frame.image, frame.outlines),
                    "subject": f"{frame.subject:03d}",
                    "frame": name,
                    "spacing_mm": np.asarray(anatomy.SPACING_MM, np.float32),
                    "scanner": "",
                    "clip": "",
                },
            )

    def _generate_source(self, frames) -> Iterator[tuple[str, dict]]:
        for f, (grey, _, outlines) in read_frames(frames):
            image = to_8_bit(grey.values, self.info.metadata["bits"])
            yield (
                f.frame,
                {
                    **self._save(image, outlines),
                    "subject": f.subject,
                    "frame": f.frame,
                    "spacing_mm": np.asarray(f.spacing_mm, np.float32),
                    "scanner": f.scanner,
                    "clip": f.clip,
                },
            )

    def _save(self, image: np.ndarray, outlines: Outlines) -> dict:
        first, names = self._structures[0], (self._structures, self._readers)
        mask = choose_mask(outlines, first, self._readers, image.shape)
        return {
            "image": Image.fromarray(image),
            "mask": Image.fromarray(mask.astype(np.uint8)),
            "labelled": bool(outlines),
            "outlines": encode_outlines(outlines, *names),
        }


def _list_source(config: SourceConfig) -> sources.Listing:
    if not config.manual_dir:
        raise InputError(
            f"ultrasound_nerve/{config.name} reads your own copy of the files: name its "
            "folder, --config.data.manual_dir=FOLDER (the README says where to get it), or "
            "that of records prepared from them, --config.data.records_dir=FOLDER"
        )
    folder = Path(os.path.expanduser(config.manual_dir)).resolve()
    listing = layouts.list_source(
        config.name, folder, config.frame_stride, readers=config.readers
    )
    if listing.problems:  # say at once what else is wrong, inside the files
        checking.check_frames(listing.splits, listing.problems)
    return listing


def _phantom_fingerprint(config: PhantomConfig) -> str:
    options = (config.num_subjects, config.frames_per_subject, config.seed, VERSION)
    if config.num_readers > 1:
        options += (config.num_readers,)
    text = repr((*options, people.VERSION))
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return f"seed{config.seed}-{digest}"
