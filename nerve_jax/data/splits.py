"""Cross-validation folds: lists of frame ids that never tear a subject apart.

Subjects are dealt into folds, or each fold leaves one scanner out.

`splits.json` is a list with one {"train": [...], "val": [...]} of frame ids per fold. It
is written once, by whichever run is first, and read ever after; one that a user wrote is
honoured.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from nerve_jax.data.listing import list_some
from nerve_jax.system.errors import InputError, raise_if_any
from nerve_jax.system.files import Path, create_whole

Splits = list[dict[str, list[str]]]
KINDS = ("subject", "scanner")  # what a fold leaves out, by `config.split_by`


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


def leave_scanners_out(
    frames: Sequence[str],
    subjects: Sequence[str],
    scanners: Sequence[str],
    *,
    num_folds: int,
) -> Splits:
    """Make one fold per scanner, which it scores and of whose people it trains on none.

    Args:
      frames: ids of the labelled frames.
      subjects: the person of each.
      scanners: that each was recorded with.
      num_folds: the number of scanners.

    Returns:
      One {"train", "val"} per scanner, in order of their names; every frame is in exactly
      one val. A frame of a person who was recorded with the fold's scanner too is in
      neither part of it.

    Raises:
      InputError: frames without a scanner, a single scanner, another number of them than
        of folds, or a scanner that everyone was recorded with.
    """
    names = _list_scanners(frames, scanners, num_folds)
    splits, alone = [], []
    for name in names:
        val = [i for i, scanner in enumerate(scanners) if scanner == name]
        scored = {subjects[i] for i in val}
        train = [i for i, subject in enumerate(subjects) if subject not in scored]
        alone += [] if train else [name]
        splits.append(
            {"train": [frames[i] for i in train], "val": [frames[i] for i in val]}
        )
    raise_if_any(
        [f"{name}: everyone was recorded with it" for name in alone],
        "split_by=scanner: with these scanners left out, nobody is left to train on",
        "Add people who were recorded with others only, or deal people into folds: "
        "--config.split_by=subject.",
    )
    return splits


def _list_scanners(
    frames: Sequence[str], scanners: Sequence[str], num_folds: int
) -> list[str]:
    """The scanners in order of their names; raises `InputError` if they are no folds."""
    instead = "deal people into folds: --config.split_by=subject"
    unknown = [f for f, name in zip(frames, scanners, strict=True) if not name]
    if unknown:
        raise InputError(
            f"split_by=scanner, but {len(unknown)} of {len(frames)} labelled frames name "
            f"no scanner: {list_some(unknown)}. Fill in the column scanner of "
            f"subjects.csv, or {instead}"
        )
    names = sorted(set(scanners))
    if len(names) < 2:
        raise InputError(
            f"split_by=scanner, but all {len(frames)} labelled frames are of one scanner, "
            f"{list_some(names) or 'none'}: without it there is nothing to train on. "
            f"Add frames of another, or {instead}"
        )
    if num_folds != len(names):
        raise InputError(
            f"num_folds={num_folds}, but split_by=scanner makes one fold for each of "
            f"{len(names)} scanners: {list_some(names, 20)}. Write "
            f"--config.num_folds={len(names)}"
        )
    return names


def load_or_create_splits(
    path: Path,
    frames: Sequence[str],
    apart: Mapping[str, Sequence[str]],
    create: Callable[[], Splits],
) -> Splits:
    """Read the folds from `path` if it exists, else create and write them.

    A file may leave frames out; it may even share a subject between train and val,
    which draws a warning, since scores then no longer speak for new people.

    Args:
      path: of splits.json.
      frames: ids of those that may be in a fold.
      apart: what no fold should both train on and score: "subject", and "scanner" where
        these are left out; that of each frame.
      create: makes the folds, see `create_splits` and `leave_scanners_out`.

    Raises:
      InputError: as `create`; a file that is not a list of folds, names frames
        that are not there, a frame both for training and validation, or one in the
        validation frames of two folds.
    """
    if not path.exists():
        splits = create()
        if create_whole(path, json.dumps(splits, indent=1)):
            return splits
    splits = _parse(path)
    raise_if_any(
        _list_misfits(splits, set(frames)),
        f"{path} does not fit the data set",
        "Mend or delete it.",
    )
    for kind, names in apart.items():
        name_of = dict(zip(frames, names, strict=True))
        for number, fold in enumerate(splits):
            if torn := find_torn(fold, name_of):
                warnings.warn(
                    f"{path}, fold {number}: {len(torn)} {kind}(s) in train and in val "
                    f"({list_some(torn)}): its scores do not speak for new {kind}s",
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


def find_torn(fold: dict[str, list[str]], name_of: Mapping[str, str]) -> list[str]:
    """Subjects, or scanners, that a fold both trains on and scores.

    Args:
      fold: ids of its frames.
      name_of: the subject, or the scanner, of each frame; "" where unknown.
    """
    train = {name_of[frame] for frame in fold["train"]}
    return sorted((train & {name_of[frame] for frame in fold["val"]}) - {""})
