"""Scores of frames as a CSV file: one row per frame, as runs leave and read them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nerve_jax.scoring.metrics import compute_dice
from nerve_jax.scoring.scores import Scored
from nerve_jax.system.files import Path, read_table, write_table

COUNTS = ("tp", "fp", "fn", "tn")


def write_scores(path: Path, scored: Scored) -> None:
    """Write one row per frame; a surface measure that is not defined stays empty."""
    header = (
        *("frame", "subject", "group", "scanner", *COUNTS, "dice", "presence_prob"),
        *("dice_at_threshold", "doubtful", *scored.surface),
    )
    columns = (
        scored.frames,
        scored.subjects,
        scored.groups,
        scored.scanners,
        *scored.counts.T.tolist(),
        map(_show, compute_dice(scored.counts)),
        map(_show, scored.presence_probs),
        map(_show, scored.dice_at_threshold),
        scored.doubtful.astype(int).tolist(),
        *(map(_show, values) for values in scored.surface.values()),
    )
    write_table(path, header, list(zip(*columns, strict=True)))


def read_scores(paths: Sequence[Path]) -> Scored:
    """Read one or several tables of `write_scores`, one after another."""
    rows = [row for path in paths for row in read_table(path)]
    counts = [[int(row[key]) for key in COUNTS] for row in rows]
    names = [key for key in rows[0] if key.endswith(("px", "mm"))] if rows else []
    return Scored(
        [row["frame"] for row in rows],
        [row["subject"] for row in rows],
        [row["group"] for row in rows],
        [row.get("scanner", "") for row in rows],  # earlier versions kept none
        np.array(counts, np.int64).reshape(-1, 4),
        *(_column(rows, key) for key in ("presence_prob", "dice_at_threshold")),
        _column(rows, "doubtful").astype(bool),
        {name: _column(rows, name) for name in names},
    )


def _column(rows: list[dict], key: str) -> Float[np.ndarray, " rows"]:
    return np.array([float(row[key] or "nan") for row in rows])


def _show(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"
