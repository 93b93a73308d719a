"""Cross-validation folds: lists of frame ids that never tear a subject apart.

`splits.json` is a list with one {"train": [...], "val": [...]} of frame ids per fold. It
is written once, by whichever run is first, and read ever after; one that a user wrote is
honoured.
"""

import json
import warnings
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from nerve_jax.system.errors import InputError, raise_if_any
from nerve_jax.system.files import Path, create_whole

Splits = list[dict[str, list[str]]]


def create_splits(
    frames: Sequence[str],
    subjects: Sequence[str],
    presence: Bool[np.ndarray, " frames"],
    *,
    num_folds: int,
    seed: int,
) -> Splits:
    """Deal subjects into folds, balanced by how many frames show a nerve.

    Args:
      frames: ids of the labelled frames.
      subjects: the person of each.
      presence: whether each shows a nerve.
      num_folds: at least 2 and at most the number of subjects.
      seed: decides among subjects that are equally uneven; those that are most uneven
        in presence are dealt first.

    Returns:
      One {"train", "val"} per fold; every frame is in exactly one val.

    Raises:
      InputError: fewer subjects than folds, or fewer than 2 folds.
    """
    found = sorted(set(subjects))
    if num_folds < 2:
        raise InputError(f"num_folds={num_folds}: cross-validation needs at least 2")
    if len(found) < num_folds:
        shown = ", ".join(found[:20]) + (", …" if len(found) > 20 else "")
        raise InputError(
            f"num_folds={num_folds}, but only {len(found)} subject(s) with labelled "
            f"frames: {shown or 'none'}. A subject stays whole within a fold: lower "
            "--config.num_folds, or say who is who: subjects.csv (frame,subject) "
            "beside images/, or file names subject_frame."
        )
    dealt = _deal(subjects, presence, num_folds, seed)
    if not all(len(val) for _, val in dealt):  # balance cost a fold all its frames
        folds = GroupKFold(num_folds, shuffle=True, random_state=seed)
        dealt = list(folds.split(frames, groups=subjects))
    return [
        {"train": [frames[i] for i in train], "val": [frames[i] for i in val]}
        for train, val in dealt
    ]


def _deal(subjects, presence, num_folds: int, seed: int) -> list:
    """Positions for training and validation in each fold, balanced by presence."""
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    if max(np.bincount(presence)) < num_folds:
        presence = np.zeros_like(presence)  # too few frames to balance anything
    with warnings.catch_warnings():
        # It warns where a class has fewer frames than folds; grouping holds all the same.
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(folds.split(subjects, presence, subjects))


def load_or_create_splits(
    path: Path,
    frames: Sequence[str],
    subjects: Sequence[str],
    presence: Bool[np.ndarray, " frames"],
    *,
    num_folds: int,
    seed: int,
) -> Splits:
    """Read the folds from `path` if it exists, else create and write them.

    A file may leave frames out; it may even share a subject between train and val,
    which draws a warning, since scores then no longer speak for new people.

    Raises:
      InputError: as `create_splits`; a file that is not a list of folds, names frames
        that are not there, a frame both for training and validation, or one in the
        validation frames of two folds.
    """
    if not path.exists():
        splits = create_splits(
            frames, subjects, presence, num_folds=num_folds, seed=seed
        )
        if create_whole(path, json.dumps(splits, indent=1)):
            return splits
    splits = _parse(path)
    raise_if_any(
        _list_misfits(splits, set(frames)),
        f"{path} does not fit the data set",
        "Mend or delete it.",
    )
    subject_of = dict(zip(frames, subjects, strict=True))
    for number, fold in enumerate(splits):
        torn = find_torn(fold, subject_of)
        if torn:
            warnings.warn(
                f"{path}, fold {number}: {len(torn)} subject(s) in train and in val "
                f"({', '.join(torn[:5])}): its scores do not speak for new people",
                stacklevel=2,
            )
    return splits


def _list_misfits(splits: Splits, frames: Collection[str]) -> list[str]:
    """What keeps folds from being those of a data set of these frames."""
    problems = []
    for number, fold in enumerate(splits):
        train, val = set(fold["train"]), set(fold["val"])
        unknown = sorted((train | val).difference(frames))
        if unknown:
            problems.append(
                f"fold {number}: no labelled frame {', '.join(unknown[:8])}"
            )
        if train & val:
            both = ", ".join(sorted(train & val)[:8])
            problems.append(f"fold {number}: in train and in val: {both}")
        if not train or not val:
            problems.append(f"fold {number}: train or val is empty")
    times = Counter(frame for fold in splits for frame in set(fold["val"]))
    twice = sorted(frame for frame, count in times.items() if count > 1)
    if twice:
        problems.append(f"in val of more than one fold: {', '.join(twice[:8])}")
    return problems


def _parse(path: Path) -> Splits:
    try:
        splits = json.loads(path.read_text())
        if not splits:
            raise ValueError("no folds")
        return [
            {part: [str(frame) for frame in fold[part]] for part in ("train", "val")}
            for fold in splits
        ]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f'{path} is not a list of {{"train": [frame ids], "val": [frame ids]}} '
            f"({type(error).__name__}: {error}). Mend or delete it."
        ) from error


def find_torn(fold: dict[str, list[str]], subject_of: dict[str, str]) -> list[str]:
    """Subjects that a fold both trains on and scores."""
    train = {subject_of[frame] for frame in fold["train"]}
    return sorted(train & {subject_of[frame] for frame in fold["val"]})
