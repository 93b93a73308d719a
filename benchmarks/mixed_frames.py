"""Simulated frames among real ones: a folder data set that a run can train on."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from nerve_jax.data.examples import Examples
from nerve_jax.data.loading import load_split
from nerve_jax.data.population import find_people
from nerve_jax.data.splits import create_splits

NUM_PHANTOM = 200  # frames with a nerve, of 47 simulated people


def load(kind: str, **options) -> Examples:
    """All frames of a data set's split "train", at a size that does not matter here."""
    return load_split("train", (96, 128), name=f"ultrasound_nerve/{kind}", **options)


def write_folder(folder: Path, usgra: str) -> None:
    """Write the real frames and simulated ones with a nerve, unless that was done."""
    if (folder / "subjects.csv").exists():
        return
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rows = []
    for mark, examples in (
        ("", load("usgra", manual_dir=usgra)),
        ("p", load("phantom")),
    ):
        chosen = np.flatnonzero(examples.presence)
        if mark:
            chosen = np.random.default_rng(0).choice(chosen, NUM_PHANTOM, replace=False)
        for i in chosen.tolist():
            stem = mark + examples.frames[i]
            mask = examples.truth(i).astype(np.uint8) * np.uint8(255)
            Image.fromarray(examples.original(i)).save(folder / f"images/{stem}.png")
            Image.fromarray(mask).save(folder / f"masks/{stem}.png")
            rows.append((stem, mark + examples.subjects[i]))
    with (folder / "subjects.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("frame", "subject"), *rows])


def deal(usgra: str, seed: int) -> list[dict[str, list[str]]]:
    """Five folds of the real frames, as a run of that seed deals them."""
    people = find_people(load("usgra", manual_dir=usgra))
    examples = people.examples
    return create_splits(
        examples.frames, people.groups, examples.presence, num_folds=5, seed=seed
    )


def write_splits(workdir: Path, folder: Path, usgra: str, *, seed: int) -> None:
    """Let a run deal the real frames as one on them does, and train on all simulated."""
    if (workdir / "splits.json").exists():
        return
    real = deal(usgra, seed)
    known = {frame for frame in (*real[0]["train"], *real[0]["val"])}
    stems = {path.stem for path in (folder / "images").glob("*.png")}
    more = sorted(stems - known)
    splits = [{"train": fold["train"] + more, "val": fold["val"]} for fold in real]
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "splits.json").write_text(json.dumps(splits))
