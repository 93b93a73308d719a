"""What --mode=predict leaves in its folder: masks, label maps, overlays and tables.

masks/a.png         0 or 255; of several structures masks/STRUCTURE/a.png
labels/a.png        of several structures: 0, or the value of the one that is there
structures.csv      these values and their names
overlays/a.png      the frame with all outlines
predictions.csv     one row per frame and structure
submission.csv      Kaggle's file, of the first structure
errors.csv          what could not be read

Frame 12 of a clip a is a/00012.png in the place of a.png.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from nerve_jax.data import rle
from nerve_jax.data.cleaning import hide
from nerve_jax.data.frames_folder import Frame, name_frame, name_mask
from nerve_jax.data.labels import read_mask
from nerve_jax.data.listing import count_of
from nerve_jax.data.media import Medium
from nerve_jax.reports.pictures import outline_structures
from nerve_jax.system.errors import RunError
from nerve_jax.system.files import read_table, show, write_png, write_table

FOLDERS = ("masks", "overlays")  # of any number of structures
COLUMNS = (
    "frame",
    "structure",
    "presence",
    "area",
    "probability",
    "file",
    "frame_number",
    "scanner",
)
TABLES = ("predictions.csv", "submission.csv", "errors.csv")
STRUCTURES = "structures.csv"


class Seen(NamedTuple):
    """One structure in a frame, as predicted.

    Attributes:
      mask: in the frame's own size.
      probability: that it is in the frame.
    """

    mask: Bool[np.ndarray, "height width"]
    probability: float


class Row(NamedTuple):
    """What the tables say of one structure in a frame.

    Attributes:
      medium, number: the frame.
      structure: its name.
      area: of the mask in px.
      probability: that the structure is there.
      runs: the mask as run lengths.
      overlaps: whether masks of the frame overlap, so that it has no label map.
    """

    medium: Medium
    number: int
    structure: str
    area: int
    probability: float
    runs: str
    overlaps: bool


def name_masks(
    structures: Sequence[str], medium: Medium, number: int
) -> dict[str, str]:
    """The file of each structure's mask of a frame, as a path from the output folder."""
    name = name_mask(medium, number)
    if len(structures) == 1:
        return {structures[0]: f"masks/{name}"}
    return {structure: f"masks/{structure}/{name}" for structure in structures}


def name_label(medium: Medium, number: int) -> str:
    """The file of a frame's label map, as a path from the output folder."""
    return f"labels/{name_mask(medium, number)}"


def name_files(structures: Sequence[str], found: Sequence[Medium]) -> set[str]:
    """All pictures that may be written, as paths from the output folder."""
    names = set()
    for medium in found:
        for number in medium.frame_numbers:
            names.update(name_masks(structures, medium, number).values())
            names.add(f"overlays/{name_mask(medium, number)}")
            if len(structures) > 1:
                names.add(name_label(medium, number))
    return names


def write_frame(output_dir: Path, frame: Frame, seen: Mapping[str, Seen]) -> list[Row]:
    """Write the masks of a frame, its label map and its overlay; return its rows."""
    masks = {structure: found.mask for structure, found in seen.items()}
    paths = name_masks(list(seen), frame.medium, frame.number)
    for structure, mask in masks.items():
        write_png(output_dir / paths[structure], mask.astype(np.uint8) * 255)
    overlaps = do_overlap(list(masks.values()))
    if len(masks) > 1 and not overlaps:
        path = output_dir / name_label(frame.medium, frame.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, draw_label(list(masks.values())))
    # What a screen shows beside tissue may be a name, and is not passed on.
    shown = frame.image if frame.sector is None else hide(frame.image, frame.sector)
    name = name_mask(frame.medium, frame.number)
    write_png(output_dir / "overlays" / name, outline_structures(shown, masks))
    return [
        Row(
            frame.medium,
            frame.number,
            structure,
            int(found.mask.sum()),
            found.probability,
            rle.encode(found.mask),
            overlaps,
        )
        for structure, found in seen.items()
    ]


def do_overlap(masks: Sequence[Bool[np.ndarray, "height width"]]) -> bool:
    """Whether any pixel is in more than one of the masks."""
    return bool(sum(mask.sum() for mask in masks) > np.any(masks, axis=0).sum())


def draw_label(masks: Sequence[Bool[np.ndarray, "height width"]]) -> np.ndarray:
    """A label map, uint8 [height, width], of masks that do not overlap: 1 for the first."""
    return sum(mask * np.uint8(value) for value, mask in enumerate(masks, 1))


def write_tables(
    output_dir: Path,
    structures: Sequence[str],
    rows: Sequence[Row],
    errors: Sequence[tuple[str, str]],
    *,
    submission: bool,
) -> None:
    """Write the tables that are wanted; arguments as of `predict.predict_folder`."""
    write_table(output_dir / "predictions.csv", COLUMNS, [_show(row) for row in rows])
    if len(structures) > 1:
        values = list(enumerate(structures, 1))
        write_table(output_dir / STRUCTURES, ("value", "name"), values)
    if submission:
        own = [row for row in rows if row.structure == structures[0]]
        named = {name_frame(row.medium, row.number): row for row in own}
        masks = {
            name: output_dir / name_masks(structures, *row[:2])[structures[0]]
            for name, row in named.items()
        }
        runs = {name: row.runs for name, row in named.items()}
        write_submission(output_dir / "submission.csv", runs, masks)
    if errors:
        write_table(output_dir / "errors.csv", ("file", "error"), errors)


def _show(row: Row) -> tuple:
    """The cells of `COLUMNS`."""
    return (
        show(name_frame(row.medium, row.number)),
        row.structure,
        int(row.area > 0),
        row.area,
        f"{row.probability:.6f}",
        show(row.medium.path.name),
        row.number if row.medium.is_clip else "",
        row.medium.scanner,
    )


def describe_labels(structures: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """A line on how many frames have a label map; none where there is one structure."""
    if len(structures) == 1:
        return []
    own = [row.overlaps for row in rows if row.structure == structures[0]]
    text = f"label maps of {count_of(len(own) - sum(own), 'frame')}"
    if any(own):
        text += (
            f"; masks of {count_of(sum(own), 'other frame')} overlap: see masks/ alone"
        )
    return [text]


def write_submission(path: Path, runs: dict[str, str], masks: dict[str, Path]) -> None:
    """Write the Kaggle file `img,pixels`, and check it against the masks on disk.

    Args:
      path: of the CSV file.
      runs: run lengths of each frame by name.
      masks: the file of each, which its row must decode to.

    Raises:
      RunError: a row decodes to another mask.
    """
    rows = [(show(name), pixels) for name, pixels in runs.items()]
    write_table(path, ("img", "pixels"), rows)
    for name, row in zip(runs, read_table(path), strict=True):
        mask = read_mask(masks[name].read_bytes())
        if not np.array_equal(rle.decode(row["pixels"], *mask.shape), mask):
            raise RunError(f"{path}: frame {row['img']} does not decode to its mask")
