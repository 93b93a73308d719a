"""How each data set lays out its files: a folder -> frames by split, from names alone.

Each `list_*` also gathers all that is wrong with names and tables, and what it left out.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from nerve_jax.data.labels import Values
from nerve_jax.data.listing import (
    DOCUMENTS,
    count_of,
    list_some,
    name_kind,
    scan,
)
from nerve_jax.data.pseudonyms import (
    create_pseudonym,
    load_or_create_key,
)
from nerve_jax.data.ultrasound_nerve.checking import compute_file_digest
from nerve_jax.data.ultrasound_nerve.clip_masks import check_masks
from nerve_jax.data.ultrasound_nerve.clips import take_every
from nerve_jax.data.ultrasound_nerve.kaggle import list_kaggle
from nerve_jax.data.ultrasound_nerve.mask_folders import OF_READER, find_people
from nerve_jax.data.ultrasound_nerve.pairing import (
    find_near,
    pair_folders,
)
from nerve_jax.data.ultrasound_nerve.sources import (
    Listing,
    SourceFile,
    SourceFrame,
)
from nerve_jax.data.ultrasound_nerve.structures_table import read_structures
from nerve_jax.data.ultrasound_nerve.tables import (
    apply_subjects,
    find_spellings,
)
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import show

USGRA = {"nerve": 1, "vessel": 2}
MANUAL_DIR = "--config.data.manual_dir=FOLDER"
# Words in the name of a table of people, which is read as subjects.csv alone.
PEOPLE = ("subject", "patient", "participant", "people", "person")
FRAME_FOLDERS = ("images", "clips")
TABLES = {"subjects.csv": "frame", "clips.csv": "clip"}  # and what a row is about
STRUCTURES = "structures.csv"
IMPORTED = "imported.csv"  # of --mode=import, which writes the sector alone
OF_IMPORT = (IMPORTED, "imported.html")
TABLE_KINDS = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods", ".numbers", "")


def list_usgra(manual_dir: Path) -> Listing:
    """List the open usgra-seg set: images/ and masks/, and the same under test/."""
    if not (manual_dir / "images").is_dir() or not (manual_dir / "test").is_dir():
        raise InputError(
            f"{manual_dir}: no images/ and test/ there. Clone the GitHub repository "
            f"tmkand/usgra-seg and name its folder dataset: {MANUAL_DIR}"
        )
    listing = Listing()
    for split, folder in (("train", manual_dir), ("test", manual_dir / "test")):
        frames = pair_folders(folder, listing, USGRA)
        listing.splits[split] = name_subjects(frames, listing)
        _note_beside(folder, {"images", "masks", "test"}, listing)
    return listing


def list_folder(
    manual_dir: Path, frame_stride: int = 1, *, readers: bool = False
) -> Listing:
    """List a user's own images/ or clips/, masks and tables.

    Args:
      manual_dir: the folder.
      frame_stride: every so many frames of each clip are taken.
      readers: whether the folders in masks/ are readers, each with what masks/ holds else;
        otherwise masks_reader2/, masks_reader3/, ... are, beside masks/.
    """
    names = _list_names(manual_dir)
    frame_folders = [name for name in FRAME_FOLDERS if name in names]
    if not frame_folders:
        raise InputError(_explain_no_images(manual_dir))
    listing = Listing(is_cut=IMPORTED in names)
    if len(frame_folders) > 1:
        raise InputError(
            f"{manual_dir}: both images/ and clips/; put clips and pictures into images/, "
            "and take clips/ away"
        )
    values = _read_structures(manual_dir, names, listing)
    frames = pair_folders(manual_dir, listing, values, frame_folders[0], readers)
    in_clips = {f.frame for f in frames if f.clip}
    known = {*FRAME_FOLDERS, "masks", *TABLES, STRUCTURES, *OF_IMPORT}
    known |= {name for name in names if OF_READER.fullmatch(name)}
    _note_beside(manual_dir, known, listing)
    tables = [manual_dir / name for name in TABLES if name in names]
    if len(tables) > 1:
        listing.problems.append(
            f"{manual_dir}: both {' and '.join(TABLES)}; write all rows into subjects.csv, "
            "in which a row may name a clip, and take clips.csv away"
        )
    if tables:
        table = tables[0]
        column = TABLES[table.name]
        frames, unknown = apply_subjects(
            frames, SourceFile(table), listing.problems, column
        )
        if unknown:
            columns = show(", ".join(unknown))
            listing.notes.append(
                f"columns of {table.name} that are not read: {columns}"
            )
    else:
        listing.problems += _find_near_tables(manual_dir)
        frames = name_subjects(_name_people(frames, manual_dir), listing, "_")
        spelt = find_spellings(f.subject for f in frames if "_" in (f.clip or f.frame))
        listing.problems += [f"{t}; rename, or write subjects.csv" for t in spelt]
    frames = take_every(frames, frame_stride)
    clips = [f for f in frames if f.frame in in_clips]
    listing.problems += check_masks(clips, listing.readers[0])
    listing.splits = {"train": frames}
    listing.problems += find_people(listing)
    return listing


def _read_structures(folder: Path, names: list[str], listing: Listing) -> Values:
    """The values of structures.csv; empty without one."""
    near = [
        n for n in names if n.casefold().startswith("structure") and n != STRUCTURES
    ]
    listing.problems += [
        f"{show(str(folder / name))}: is it the table of structures? Save it as CSV (UTF-8) "
        f"under the name {folder / STRUCTURES}, or take it out of the folder"
        for name in near
        if Path(name).suffix.lower() in TABLE_KINDS and STRUCTURES not in names
    ]
    if STRUCTURES not in names:
        return {}
    return read_structures(SourceFile(folder / STRUCTURES), listing.problems)


def _name_people(frames: list[SourceFrame], folder: Path) -> list[SourceFrame]:
    """Give frames whose files name a person that person's pseudonym as subject."""
    if not any(f.medium and f.medium.person for f in frames):
        return frames
    key = load_or_create_key(folder)
    return [
        dataclasses.replace(f, subject=create_pseudonym(f.medium.person, key))
        if f.medium and f.medium.person
        else f
        for f in frames
    ]


LAYOUTS: dict[str, Callable[..., Listing]] = {
    "kaggle": list_kaggle,
    "usgra": list_usgra,
    "folder": list_folder,
}


def list_source(
    name: str, manual_dir: Path, frame_stride: int = 1, *, readers: bool = False
) -> Listing:
    """List the frames of a data set.

    Args:
      name: of its layout.
      manual_dir: its folder.
      frame_stride, readers: of `list_folder`; other layouts have neither.
    """
    if name == "folder":
        return list_folder(manual_dir, frame_stride, readers=readers)
    return LAYOUTS[name](manual_dir)


def name_subjects(
    frames: list[SourceFrame], listing: Listing, separator: str = ""
) -> list[SourceFrame]:
    """Name each frame's subject where the files do not.

    The subject is the frame's id up to the first `separator`; without one every frame
    is its own subject, except that byte-identical images share one: they cannot be
    distinguished, so they must not be torn apart by a split. Where a name should have a
    separator, how many are alone is added to the warnings of the listing.
    """
    first_with: dict[bytes, str] = {}
    alone, subjects = 0, []
    digest = functools.cache(compute_file_digest)  # a clip's file is that of many
    for f in frames:
        name = f.clip or f.frame
        if f.subject:
            subjects.append(f.subject)
        elif separator and separator in name:
            subjects.append(name.split(separator)[0])
        elif f.clip:
            subjects.append(name)
        else:
            alone += 1
            subjects.append(first_with.setdefault(digest(f.image), name))
    if separator and len(frames) > 1 and len(set(subjects)) == len(frames):
        alone = len(frames)
    if separator and alone:
        listing.warnings.append(
            f"{alone} of {len(frames)} frames name no subject that others share and count "
            "as a person each: frames of one person may then be trained on and scored. "
            "Write subjects.csv (frame,subject) or name files subject_frame."
        )
    return [
        dataclasses.replace(f, subject=subject)
        for f, subject in zip(frames, subjects, strict=True)
    ]


def _list_names(folder: Path) -> list[str]:
    """Names in a folder as they are spelt, also where the disk ignores capitals."""
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def _explain_no_images(folder: Path) -> str:
    """Say why a folder holds no images/, and what to do about it."""
    wanted = (
        "Put the frames into images/, their masks under the same names into masks/: "
        f"{MANUAL_DIR}"
    )
    if folder.is_file():
        return f"{folder}: a file, not the folder that holds images/. {wanted}"
    if not folder.exists():
        return f"{folder}: no folder images/ there, nor that folder itself. {wanted}"
    found, beside = "it is empty", scan(folder)
    inner = [p.parent.name for p in sorted(folder.glob("*/images")) if p.is_dir()]
    if near := find_near(folder, "images"):
        found = f"is it {list_some(near)}? It must be called images/, unpacked"
    elif inner:
        found = f"there is one in {list_some(inner)}; name that folder"
    elif beside.images:
        found = f"but {count_of(len(beside.images), 'frame')} in the folder itself"
    elif names := [n for n in _list_names(folder) if not n.startswith(".")]:
        found = f"there is {list_some(names)}"
    return f"{folder}: no folder images/ there; {show(found)}. {wanted}"


def _note_beside(folder: Path, known: set[str], listing: Listing) -> None:
    """Count what lies beside the files and folders of a layout."""
    beside = scan(folder)
    files = [*beside.images, *beside.others]
    listing.left_out += Counter(
        f"{name_kind(path)} beside images/"
        for path in files
        if path.name not in known and not DOCUMENTS.match(path.name)
    )
    listing.left_out += Counter(
        {f"in {n}/": count for n, count in beside.deeper.items() if n not in known}
    )


def _find_near_tables(folder: Path) -> list[str]:
    """Tables of people under another name than subjects.csv, or in another folder."""
    found = [p for part in (folder, folder / "images") for p in scan(part).others]
    return [
        f"{show(str(path))}: is it the table of people? Save it as CSV (UTF-8) under the "
        f"name {folder / 'subjects.csv'}, or take it out of the folder"
        for path in found
        if any(word in path.name.lower() for word in PEOPLE)
        and path.suffix.lower() in TABLE_KINDS
    ]
