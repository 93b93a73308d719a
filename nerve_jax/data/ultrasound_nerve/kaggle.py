"""The files of Kaggle's competition Ultrasound Nerve Segmentation, as downloaded."""

from collections import Counter
from pathlib import Path

from nerve_jax.data.listing import count_of, is_image, is_litter, list_some, name_kind
from nerve_jax.data.ultrasound_nerve.pairing import find_duplicates, find_odd
from nerve_jax.data.ultrasound_nerve.sources import (
    UNREADABLE,
    Listing,
    MaskFile,
    SourceFile,
    SourceFrame,
    open_zip,
)
from nerve_jax.data.ultrasound_nerve.tables import read_runs
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show


def list_kaggle(manual_dir: Path) -> Listing:
    """List the competition's files: train/, test/ and train_masks.csv, or their zips.

    A file that is there both unpacked and in a zip is read unpacked.
    """
    listing = Listing()
    files = _all_files(manual_dir)
    train = _choose(files, "train", listing)
    test = _choose(files, "test", listing)
    runs = _read_kaggle_table(files, listing)
    listing.left_out += _count_other_files(files)
    if not train and not test:
        found = list_some(sorted({f.name.name for f in files})) or "nothing"
        raise InputError(
            f"{manual_dir}: no train/*.tif and no test/*.tif, unpacked or in a zip; "
            f"there is {show(found)}. Accept the rules of the Kaggle competition "
            "ultrasound-nerve-segmentation, download its zip and name its folder: "
            "--config.data.manual_dir=FOLDER"
        )
    frames = _pair_kaggle(train, runs, listing)
    unlabelled = [SourceFrame(f.name.stem, f"test-{f.name.stem}", f) for f in test]
    splits = {"train": frames, "test": unlabelled}
    listing.splits = {split: listed for split, listed in splits.items() if listed}
    listing.notes += [f"no {s}/*.tif" for s in splits if s not in listing.splits]
    if frames and not any(f.masks for f in frames):
        listing.notes.append("no *_mask files in train/: frames are unlabelled")
    return listing


def _choose(files: list[SourceFile], part: str, listing: Listing) -> list[SourceFile]:
    """Frames and masks of train/ or test/, those of a zip only where not unpacked."""
    images = [f for f in files if is_image(f.name)]
    chosen = _prefer_unpacked([f for f in images if _find_part(f) == part])
    deeper = [f for f in images if part in f.name.parts[:-2] and not _find_part(f)]
    if deeper:
        listing.problems.append(
            f"{deeper[0]}: {count_of(len(deeper), 'frame')} in folders below {part}/; put "
            f"all into {part}/ itself, or take them away"
        )
    listing.problems += find_duplicates(chosen) + find_odd(chosen)
    return chosen


def _find_part(file: SourceFile) -> str:
    """The folder of the competition that a file lies in, "" for none."""
    folder = file.name.parent.name.lower()
    return folder if folder in ("train", "test") else ""


def _prefer_unpacked(files: list[SourceFile]) -> list[SourceFile]:
    unpacked = {f.name.name for f in files if not f.member}
    return [f for f in files if not f.member or f.name.name not in unpacked]


def _read_kaggle_table(files: list[SourceFile], listing: Listing) -> dict[str, str]:
    """Run lengths by frame; tables of nearly the right name are problems."""
    tables = _prefer_unpacked([f for f in files if f.name.name == "train_masks.csv"])
    near = [f for f in files if f.name.name.lower().startswith("train_masks")]
    if not tables:
        listing.problems += [
            f"{f}: is it the table of masks? It must be called train_masks.csv, in a "
            "folder or a zip"
            for f in near
        ]
        return {}
    listing.problems += find_duplicates(tables)
    return read_runs(tables[0])


def _count_other_files(files: list[SourceFile]) -> Counter[str]:
    """Files of no part of the competition, by kind; zips were looked into."""
    known = ("train_masks.csv", "sample_submission.csv")
    return Counter(
        name_kind(f.name)
        for f in files
        if not (_find_part(f) and is_image(f.name)) and f.name.name not in known
    )


def _pair_kaggle(
    train: list[SourceFile], runs: dict[str, str], listing: Listing
) -> list[SourceFrame]:
    images = [f for f in train if not f.name.stem.endswith("_mask")]
    masks = {
        f.name.stem.removesuffix("_mask"): (MaskFile(f),)
        for f in train
        if f.name.stem.endswith("_mask")
    }
    stems = {f.name.stem for f in images}
    listing.problems += [
        f"{f}: not named subject_image; name it as 1_2.tif"
        for f in images
        if "_" not in f.name.stem
    ]
    listing.problems += [
        f"{mask.file}: mask without an image; add its image, or take it away"
        for stem, (mask,) in masks.items()
        if stem not in stems
    ]
    listing.problems += [
        f"train_masks.csv: {stem}: no such frame; add it, or take its row or the table "
        "away"
        for stem in runs
        if stem not in stems
    ]
    listing.problems += [
        f"{f}: has a row in train_masks.csv but no _mask file; add it, or take the row "
        "or the table away"
        for f in images
        if f.name.stem in runs and f.name.stem not in masks
    ]
    return [
        SourceFrame(
            frame=f.name.stem,
            subject=f.name.stem.split("_")[0],
            image=f,
            masks=masks.get(f.name.stem, ()),
            runs=runs.get(f.name.stem),
        )
        for f in images
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
    return [f for f in files if not is_litter(f.name)]
