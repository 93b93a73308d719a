"""How each data set lays out its files: a folder -> frames by split, from names alone.

Each `list_*` also gathers all that is wrong with names and tables.
"""

import csv
import dataclasses
import io
import math
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from nerve_jax.data.frames import IMAGE_SUFFIXES
from nerve_jax.data.ultrasound_nerve.sources import (
    UNKNOWN_SPACING,
    UNREADABLE,
    SourceFile,
    SourceFrame,
    Splits,
    compute_file_digest,
    open_zip,
)
from nerve_jax.system.errors import InputError

Listing = tuple[Splits, list[str]]  # frames by split, and what is wrong with names
USGRA_CLASSES = (1, 2)  # nerve, vessel


def list_kaggle(manual_dir: Path) -> Listing:
    """List the competition's files: train/, test/ and train_masks.csv, or their zip."""
    files = _all_files(manual_dir)
    if any(f.name.parent.name == "train" and not f.member for f in files):
        files = [f for f in files if not f.member]  # unpacked beside its own zip
    train = [f for f in files if f.name.parent.name == "train" and _is_image(f)]
    test = [f for f in files if f.name.parent.name == "test" and _is_image(f)]
    tables = [f for f in files if f.name.name == "train_masks.csv"]
    if not train and not test:
        raise InputError(
            f"{manual_dir}: no train/*.tif and no test/*.tif, unpacked or in a zip. "
            "Accept the rules of the Kaggle competition ultrasound-nerve-segmentation, "
            "download its zip and name its folder: --config.data.manual_dir=FOLDER"
        )
    images = [f for f in train if not f.name.stem.endswith("_mask")]
    masks = [f for f in train if f.name.stem.endswith("_mask")]
    odd = [f"{f}: not named subject_image" for f in images if "_" not in f.name.stem]
    problems = odd + _list_odd(images) + _list_odd(test)
    problems += _duplicates(images) + _duplicates(masks) + _duplicates(test)
    by_stem = {f.name.stem.removesuffix("_mask"): f for f in masks}
    stems = {f.name.stem for f in images}
    problems += _orphans(by_stem, stems)
    runs = _read_runs(tables[0]) if tables else {}
    problems += [f"{tables[0]}: {s}: no such frame" for s in runs if s not in stems]
    problems += [
        f"{f}: has a row in {tables[0].name.name} but no _mask file"
        for f in images
        if f.name.stem in runs and f.name.stem not in by_stem
    ]
    frames = [
        SourceFrame(
            frame=f.name.stem,
            subject=f.name.stem.split("_")[0],
            image=f,
            mask=by_stem.get(f.name.stem),
            runs=runs.get(f.name.stem),
        )
        for f in images
    ]
    unlabelled = [
        SourceFrame(f.name.stem, f"test-{f.name.stem}", f, None) for f in test
    ]
    splits = {"train": frames, "test": unlabelled}
    return {split: listed for split, listed in splits.items() if listed}, problems


def list_usgra(manual_dir: Path) -> Listing:
    """List the open usgra-seg set: images/ and masks/, and the same under test/."""
    if not (manual_dir / "images").is_dir() or not (manual_dir / "test").is_dir():
        raise InputError(
            f"{manual_dir}: no images/ and test/ there. Clone the GitHub repository "
            "tmkand/usgra-seg and name its folder dataset: --config.data.manual_dir=FOLDER"
        )
    problems: list[str] = []
    splits = {
        "train": _pair_folders(manual_dir, problems, USGRA_CLASSES),
        "test": _pair_folders(manual_dir / "test", problems, USGRA_CLASSES),
    }
    return {split: name_subjects(frames) for split, frames in splits.items()}, problems


def list_folder(manual_dir: Path) -> Listing:
    """List a user's own images/, masks/ and subjects.csv."""
    if not (manual_dir / "images").is_dir():
        raise InputError(
            f"{manual_dir}: no folder images/ there. Put the frames into images/, their "
            "masks under the same names into masks/: --config.data.manual_dir=FOLDER"
        )
    problems: list[str] = []
    frames = _pair_folders(manual_dir, problems)
    table = manual_dir / "subjects.csv"
    if table.exists():
        frames = _apply_subjects(frames, table, problems)
    else:
        frames = name_subjects(frames, "_")
    return {"train": frames}, problems


LAYOUTS: dict[str, Callable[[Path], Listing]] = {
    "kaggle": list_kaggle,
    "usgra": list_usgra,
    "folder": list_folder,
}


def name_subjects(frames: list[SourceFrame], separator: str = "") -> list[SourceFrame]:
    """Name each frame's subject where the files do not.

    The subject is the frame's id up to the first `separator`; without one every frame
    is its own subject, except that byte-identical images share one: they cannot be
    distinguished, so they must not be torn apart by a split.
    """
    first_with: dict[bytes, str] = {}
    alone, subjects = 0, []
    for f in frames:
        if separator and separator in f.frame:
            subjects.append(f.frame.split(separator)[0])
        else:
            alone += 1
            subjects.append(
                first_with.setdefault(compute_file_digest(f.image), f.frame)
            )
    if separator and alone:
        warnings.warn(
            f"{alone} of {len(frames)} frames name no subject and count as a person "
            "each: frames of one person may then be trained on and scored. Write "
            "subjects.csv (frame,subject) or name files subject_frame.",
            stacklevel=2,
        )
    return [
        dataclasses.replace(f, subject=subject)
        for f, subject in zip(frames, subjects, strict=True)
    ]


def _all_files(folder: Path) -> list[SourceFile]:
    """Every file below a folder (or zip file), looking into zips, in order of name."""
    if not folder.exists():
        raise InputError(f"{folder}: no such folder (--config.data.manual_dir)")
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files: list[SourceFile] = []
    for path in filter(Path.is_file, paths):  # a pipe would be waited for
        if path.suffix.lower() == ".zip":
            try:
                members = sorted(open_zip(path).namelist())
            except UNREADABLE as error:
                raise InputError(f"{path}: not a whole zip file ({error})") from error
            files += [SourceFile(path, m) for m in members if not m.endswith("/")]
        else:
            files.append(SourceFile(path))
    return [f for f in files if not f.name.name.startswith(".")]


def _is_image(file: SourceFile) -> bool:
    return file.name.suffix.lower() in IMAGE_SUFFIXES


def _list_images(folder: Path) -> list[SourceFile]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [SourceFile(p) for p in paths if p.name[0] != "."]
    return [f for f in files if _is_image(f)]  # also what only looks like one


def _duplicates(files: list[SourceFile]) -> list[str]:
    counts = Counter(f.name.stem for f in files)
    return [
        f"{f}: its name stands for two files" for f in files if counts[f.name.stem] > 1
    ]


def _orphans(masks: dict[str, SourceFile], stems: set[str]) -> list[str]:
    return [f"{f}: mask without an image" for s, f in masks.items() if s not in stems]


def _pair_folders(
    folder: Path, problems: list[str], classes: tuple[int, ...] = ()
) -> list[SourceFrame]:
    images, masks = _list_images(folder / "images"), _list_images(folder / "masks")
    if not images:
        problems.append(f"{folder / 'images'}: no {', '.join(IMAGE_SUFFIXES)} there")
    problems += _duplicates(images) + _duplicates(masks)
    problems += _list_odd(images)
    stems = {f.name.stem for f in images}
    by_stem = {f.name.stem: f for f in masks}
    problems += _orphans(by_stem, stems)
    return [
        SourceFrame(f.name.stem, "", f, by_stem.get(f.name.stem), classes=classes)
        for f in images
    ]


def _list_odd(files: list[SourceFile]) -> list[str]:
    """Names with bytes that are no text, which records cannot hold."""
    return [
        f"{f}: its name is not UTF-8"
        for f in files
        if any("\ud800" <= letter <= "\udfff" for letter in f.name.stem)
    ]


def _read_table(file: SourceFile, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        text = file.read().decode("utf-8-sig", errors="replace")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        names, rows = reader.fieldnames or [], list(reader)
    except UNREADABLE as error:
        raise InputError(f"{file}: not a table ({error}); mend it") from error
    missing = [c for c in columns if c not in names]
    if missing:
        raise InputError(f"{file}: no column {', '.join(missing)} in its first line")
    return [{k: (v or "").strip() for k, v in row.items() if k} for row in rows]


def _read_runs(table: SourceFile) -> dict[str, str]:
    rows = _read_table(table, ("subject", "img", "pixels"))
    return {f"{row['subject']}_{row['img']}": row["pixels"] for row in rows}


def _apply_subjects(
    frames: list[SourceFrame], table: Path, problems: list[str]
) -> list[SourceFrame]:
    rows = _read_table(SourceFile(table), ("frame", "subject"))
    names = {f.frame: f.frame for f in frames} | {
        f.image.name.name: f.frame for f in frames
    }
    by_frame: dict[str, tuple[str, tuple[float, float]]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{table}, line {line}"
        frame = names.get(row["frame"])
        if frame is None:
            problems.append(f"{where}: no frame {row['frame']!r} in images/")
        elif frame in by_frame:
            problems.append(f"{where}: frame {row['frame']!r} for the second time")
        elif not row["subject"]:
            problems.append(f"{where}: no subject")
        else:
            spacing = tuple(row.get(f"spacing_{axis}_mm", "") for axis in "yx")
            by_frame[frame] = (row["subject"], _parse_spacing(spacing, where, problems))
    problems += [
        f"{table}: no row for {f.image}" for f in frames if f.frame not in by_frame
    ]
    return [
        dataclasses.replace(
            f, subject=by_frame[f.frame][0], spacing_mm=by_frame[f.frame][1]
        )
        for f in frames
        if f.frame in by_frame
    ]


def _parse_spacing(texts, where: str, problems: list[str]) -> tuple[float, float]:
    if texts == ("", ""):
        return UNKNOWN_SPACING
    try:
        spacing = (float(texts[0]), float(texts[1]))
        if all(0 < length < math.inf for length in spacing):
            return spacing
    except ValueError:
        pass
    problems.append(f"{where}: spacing {texts} is not two positive numbers of mm")
    return UNKNOWN_SPACING
