"""Phantoms of two scanners, whose people are not the same: what another scanner costs.

Writes a folder data set of which every second person is shown by a scanner of more gain
and a narrower dynamic range. Then one run leaves a scanner out of each fold, and another,
with as many folds, deals people of both; `by_scanner` of their report.json says what each
scanner's frames score when it is new to the model, and when it is not.

    python benchmarks/scanners.py --output=runs/scanners/data
    python main.py --config=unet --config.data.name=ultrasound_nerve/folder \
        --config.data.manual_dir=runs/scanners/data --config.split_by=scanner \
        --config.num_folds=2 --config.folds="(0,1)" --workdir=runs/scanners/by_scanner
    python main.py --config=unet --config.data.name=ultrasound_nerve/folder \
        --config.data.manual_dir=runs/scanners/data --config.split_by=subject \
        --config.num_folds=2 --config.folds="(0,1)" --workdir=runs/scanners/by_subject
    python main.py --mode=compare --workdir=runs/scanners/compare \
        --workdirs=runs/scanners/by_scanner,runs/scanners/by_subject
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nerve_jax.data.phantom import anatomy, people

DYNAMIC_RANGE_DB = 60.0  # of the phantom's scanners, about
# Gain in dB that is added, and the dynamic range in dB, of each scanner.
SCANNERS = {"Phantom A": (0.0, DYNAMIC_RANGE_DB), "Phantom B": (6.0, 45.0)}


def show(
    image: UInt8[np.ndarray, "height width"], gain_db: float, range_db: float
) -> UInt8[np.ndarray, "height width"]:
    """A frame as a scanner of other settings shows it: see `scanner.insonify`."""
    level_db = (image / 255 - 1) * DYNAMIC_RANGE_DB + gain_db
    return np.rint(255 * np.clip(1 + level_db / range_db, 0, 1)).astype(np.uint8)


def write_folder(
    folder: Path, num_subjects: int, frames_per_subject: int, seed: int
) -> None:
    """Write images/, masks/ and subjects.csv; people take turns on the scanners."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rows = []
    for frame in people.simulate_frames(num_subjects, frames_per_subject, seed):
        subject, sweep = f"{frame.subject:03d}", frame.index // people.FRAMES_PER_SWEEP
        scanner = list(SCANNERS)[frame.subject % len(SCANNERS)]
        stem = f"{subject}_{frame.index:03d}"
        image = show(frame.image, *SCANNERS[scanner])
        Image.fromarray(image).save(folder / f"images/{stem}.png")
        mask = frame.mask.astype(np.uint8) * np.uint8(255)
        Image.fromarray(mask).save(folder / f"masks/{stem}.png")
        clip = f"{subject}-{sweep}"
        rows.append((stem, subject, scanner, clip, *anatomy.SPACING_MM))
    header = ("frame", "subject", "scanner", "clip", "spacing_y_mm", "spacing_x_mm")
    with (folder / "subjects.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def main() -> None:
    """Write the folder that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--num_subjects", type=int, default=48, help="of both together")
    parser.add_argument("--frames_per_subject", type=int, default=18)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.output.exists():
        parser.error(f"{args.output} is there already; name a new folder")
    write_folder(args.output, args.num_subjects, args.frames_per_subject, args.seed)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
