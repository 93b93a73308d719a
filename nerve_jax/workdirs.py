"""What a run's folder holds, and whether a run may go on in it.

config.json    the resolved configuration, written once
dataset.json   name and fingerprint of the prepared records
splits.json    the folds (see `splits`)
frames.csv     every frame: id, subject, labelled, presence, digest of its pixels
metrics.jsonl  a row each time something was measured
fold_k/        checkpoints/, scores.csv, val_probs.npy, summary.json
report.json    scores pooled over all finished folds
"""

import json
from pathlib import Path

import ml_collections

from nerve_jax.errors import InputError
from nerve_jax.examples import Examples
from nerve_jax.files import (
    read_table,
    to_json,
    write_json,
    write_table,
    write_whole,
)

# What may change from one command to the next in the same folder: which folds it trains,
# and where the files lie (their content has its own fingerprint).
FREE_FIELDS = ("folds", "data_dir", "manual_dir")


def to_plain(config: ml_collections.ConfigDict) -> dict:
    """The configuration as plain JSON values."""
    return json.loads(config.to_json())


def save_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Write config.json, or check that the one there says the same.

    Raises:
      InputError: lists every field that differs, but for `FREE_FIELDS`.
    """
    path = workdir / "config.json"
    plain = to_plain(config)
    if path.exists():
        _refuse_differences(path, _flat(read_json(path)), _flat(plain))
    write_json(path, plain)


def load_config(workdir: Path) -> ml_collections.ConfigDict:
    """Read config.json back.

    Raises:
      InputError: there is none, so nothing was trained there.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(
            f"{workdir}: no config.json there, so no run to use. Train first, or name "
            "the folder of a run: --workdir=FOLDER"
        )
    return ml_collections.ConfigDict(_tuples(read_json(path)))


def save_dataset(workdir: Path, examples: Examples) -> None:
    """Write dataset.json and frames.csv, or check that the data set is the same.

    Raises:
      InputError: the folder's folds were trained on other frames.
    """
    path = workdir / "dataset.json"
    if path.exists():
        before = read_json(path)["fingerprint"]
        if before != examples.fingerprint:
            raise InputError(
                f"{workdir} was trained on {before}, but the data set is now "
                f"{examples.fingerprint}: its frames, masks or subjects have changed. "
                "Name another folder (--workdir) or bring the old files back."
            )
        return
    write_table(
        workdir / "frames.csv",
        ("frame", "subject", "labelled", "presence", "digest"),
        list(
            zip(
                examples.frames,
                examples.subjects,
                examples.labelled.astype(int),
                examples.presence.astype(int),
                examples.digests,
                strict=True,
            )
        ),
    )
    write_json(path, {"fingerprint": examples.fingerprint, "num_frames": len(examples)})


def finished_folds(workdir: Path) -> list[int]:
    """Numbers of the folds that are trained and scored."""
    return sorted(
        int(path.parent.name.removeprefix("fold_"))
        for path in workdir.glob("fold_*/summary.json")
    )


def fold_dir(workdir: Path, fold: int) -> Path:
    """Folder of one fold."""
    return workdir / f"fold_{fold}"


def trained_digests(workdir: Path, fold: int) -> set[str]:
    """Digests of the frames that a fold was trained on."""
    digest = {row["frame"]: row["digest"] for row in read_table(workdir / "frames.csv")}
    splits = json.loads((workdir / "splits.json").read_text())
    return {digest[frame] for frame in splits[fold]["train"]}


class MetricsLog:
    """metrics.jsonl: one JSON object a line, appended as the run goes."""

    def __init__(self, workdir: Path):
        self.path = workdir / "metrics.jsonl"

    def rewind(self, fold: int, step: int) -> None:
        """Drop rows of a fold that lie after the step it goes on from."""
        if not self.path.exists():
            return
        rows = [_parse_row(line) for line in self.path.read_text().splitlines()]
        kept = [r for r in rows if r and not (r["fold"] == fold and r["step"] > step)]
        write_whole(self.path, "".join(to_json(row) + "\n" for row in kept))

    def write(self, row: dict) -> None:
        """Append a row; it is on disk when this returns."""
        with self.path.open("a") as file:
            file.write(to_json(row) + "\n")


def _parse_row(line: str) -> dict | None:
    """A row of the log, None for one that a kill cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def read_json(path: Path):
    """Read a JSON file; raise `InputError` where it is none."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); mend or delete it") from error


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def _refuse_differences(path: Path, before: dict, now: dict) -> None:
    absent = "not there"
    differences = [
        f"  - {key}: {before.get(key, absent)} before, {now.get(key, absent)} now"
        for key in sorted(before.keys() | now.keys())
        if key not in FREE_FIELDS and before.get(key) != now.get(key)
    ]
    if differences:
        raise InputError(
            f"{path.parent} holds a run of another configuration:\n"
            + "\n".join(differences)
            + "\nName another folder (--workdir), or set these back."
        )


def _tuples(value):
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
