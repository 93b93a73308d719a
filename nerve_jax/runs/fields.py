"""The fields of a configuration: what each may be, and the names that some had.

A field has the type of its value in `configs/unet.py`, and here its range, if it is a
number or a tuple of numbers, or its choices, if it is one of a few names.
"""

import difflib
import re
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any, NamedTuple

from nerve_jax.model.unet import BLOCKS, COMPUTE_DTYPES
from nerve_jax.scoring.decide import KINDS


class Range(NamedTuple):
    """The numbers from `low` to `high`.

    Attributes:
      low: the smallest.
      high: the largest.
      without_low: `low` itself is too small.
      without_high: `high` itself is too large.
    """

    low: float
    high: float
    without_low: bool = False
    without_high: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether a number is in the range; NaN never is."""
        if not isinstance(value, Real) or not self.low <= value <= self.high:
            return False
        low, high = self.without_low, self.without_high
        return not (low and value == self.low or high and value == self.high)

    def __str__(self) -> str:
        """The range in words: "at least 0 and below 1"."""
        low = "above" if self.without_low else "at least"
        high = "below" if self.without_high else "at most"
        return f"{low} {self.low:,} and {high} {self.high:,}"


SEEDS = Range(0, 2**32 - 1)  # of NumPy's generators and scikit-learn
STEPS, SOME_STEPS = Range(1, 1_000_000_000), Range(0, 1_000_000_000)  # fit in int32
COUNT = Range(1, 100_000)
PX = Range(1, 16_384)
CHANNELS = Range(1, 16_384)
PROBABILITY = Range(0, 1)
STRENGTH = Range(0, 10)  # a power or factor of up to 11

RANGES = {
    "seed": SEEDS,
    "num_folds": Range(2, 10_000),
    "folds": Range(0, 9_999),
    "folds_together": Range(1, 10_000),
    "batch_size": COUNT,
    "accumulate_steps": COUNT,
    "num_train_steps": STEPS,
    "eval_every_steps": STEPS,
    "steps_per_call": Range(0, 100_000),
    "data.image_size": PX,
    "data.max_resident_gb": Range(0, 1_000_000),
    "data.num_workers": Range(0, 1_000),
    "data.frame_stride": COUNT,
    "data.phantom.num_subjects": COUNT,
    "data.phantom.frames_per_subject": COUNT,
    "data.phantom.seed": SEEDS,
    "data.phantom.num_readers": Range(1, 100),
    "model.widths": CHANNELS,
    "model.blocks_per_level": Range(1, 100),
    "model.num_groups": CHANNELS,
    "model.dropout_rate": Range(0, 1, without_high=True),
    "model.stem_stride": Range(1, 64),
    "start.encoder_frozen_steps": SOME_STEPS,
    "start.encoder_rate_factor": Range(0, 1_000),
    "loss.presence_weight": Range(0, 1_000),
    "loss.coarse_weight": Range(0, 1_000),
    "loss.structure_weights": Range(0, 1_000),
    "optimizer.learning_rate": Range(0, 10, without_low=True),
    "optimizer.warmup_steps": SOME_STEPS,
    "optimizer.weight_decay": Range(0, 1_000),
    "optimizer.clip_norm": Range(0, 1_000_000, without_low=True),
    "optimizer.ema_decay": Range(0, 1, without_high=True),
    "augment.flip_prob": PROBABILITY,
    "augment.rotation_degrees": Range(0, 180),
    "augment.scale_fraction": STRENGTH,
    "augment.shift_fraction": Range(0, 1),
    "augment.elastic_fraction": Range(0, 1),
    "augment.elastic_cells": Range(1, 1_000),
    "augment.gain_fraction": STRENGTH,
    "augment.gamma_fraction": STRENGTH,
    "augment.contrast_fraction": STRENGTH,
    "augment.speckle_fraction": STRENGTH,
    "augment.shadow_prob": PROBABILITY,
    "augment.shadow_strength": Range(0, 1),
    "augment.attenuation_fraction": Range(0, 1),
    "augment.cutmix_prob": PROBABILITY,
    "decision.threshold": PROBABILITY,
    "pretrain.patch_px": PX,
    "pretrain.hidden_share": Range(0, 1, without_low=True, without_high=True),
    "tuning.num_trials": Range(1, 1_000_000),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "split_by": ("subject", "scanner"),  # of data.splits
    "model.block": tuple(BLOCKS),
    "model.compute_dtype": tuple(COMPUTE_DTYPES),
    "start.take": ("encoder", "all_but_heads", "all"),  # of training.transfer
    "loss.name": ("bce_dice", "focal_tversky"),  # of training.losses
    "decision.rule": KINDS,
}

# Names that become those of folders.
PATTERNS = {"data.structures": r"[a-z][a-z0-9_]*"}

# Names of before there were sections that look like no name of today, or like a wrong one.
OLD_NAMES = {
    "dataset": "data.name",
    "data_dir": "data.records_dir",
    "phantom_seed": "data.phantom.seed",
    "init_from": "start.workdir",
    "init_take": "start.take",
    "loss": "loss.name",
    "decide": "decision.rule",
    "hidden_patch_px": "pretrain.patch_px",
}


def find_problem(name: str, value: Any, reference: Any) -> str:
    """What is wrong with the value of a field; "" if nothing is.

    Args:
      name: of the field, dotted.
      value: an int stands for a float, a list for a tuple.
      reference: a right value of the field, whose type counts; of a tuple, that of its
        first element.

    Returns:
      A clause that follows the name and the value: "must be float, not str".
    """
    if isinstance(reference, tuple):
        example, items = reference[0], value
        wanted = f"must be a tuple of {type(example).__name__}"
        if not isinstance(value, tuple | list):
            return f"{wanted}, not {type(value).__name__}"
        if name in PATTERNS and not value:
            return f"{wanted}, at least one"
    else:
        example, items = reference, (value,)
        wanted = f"must be {type(example).__name__}"
    for item in items:
        if not _has_type(item, type(example)):
            return f"{wanted}, not {type(item).__name__}"
        if name in RANGES and item not in RANGES[name]:
            each = "each " * isinstance(reference, tuple)
            return f"must {each}be {RANGES[name]}"
        if name in CHOICES and item not in CHOICES[name]:
            return f"is not one of: {', '.join(CHOICES[name])}"
        if name in PATTERNS and not re.fullmatch(PATTERNS[name], item):
            return "must each be small letters, digits and _, a letter first"
    return ""


def _has_type(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind))


def conform(value: Any, reference: Any) -> Any:
    """A value without a problem, in the type of its field: hashable, and plain JSON."""
    if isinstance(reference, tuple):
        return tuple(type(reference[0])(item) for item in value)
    return type(reference)(value)


def suggest(name: str, known: Collection[str]) -> str:
    """A clause that names the right field nearest to a wrong one; "" if none is near."""
    if OLD_NAMES.get(name) in known:
        return f"; did you mean {OLD_NAMES[name]}?"
    leaf = name.rpartition(".")[2]
    by_leaf = {field.rpartition(".")[2]: field for field in sorted(known)}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    near = near or [
        by_leaf[found] for found in difflib.get_close_matches(leaf, by_leaf, n=1)
    ]
    return f"; did you mean {near[0]}?" if near else ""
