"""What a run measures as it goes: rows for programs, event files for TensorBoard.

tensorboard --logdir WORKDIR/tensorboard
"""

import json
from pathlib import Path

from tensorboardX import SummaryWriter

from nerve_jax.files import to_json, write_whole


class MetricsLog:
    """metrics.jsonl and the event files of the folds, written as the run goes."""

    def __init__(self, workdir: Path):
        self.path = workdir / "metrics.jsonl"
        self._events: SummaryWriter | None = None

    def read(self) -> list[dict]:
        """All rows, but for one that a kill cut short."""
        if not self.path.exists():
            return []
        rows = [_parse_row(line) for line in self.path.read_text().splitlines()]
        return [row for row in rows if row]

    def begin(self, fold: int, step: int) -> None:
        """Go on with a fold after a step; rows that lie after it are dropped."""
        rows = self.read()
        kept = [r for r in rows if not (r["fold"] == fold and r["step"] > step)]
        if self.path.exists():
            write_whole(self.path, "".join(to_json(row) + "\n" for row in kept))
        folder = self.path.parent / "tensorboard" / f"fold_{fold}"
        self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, row: dict) -> None:
        """Append a row; it is on disk when this returns."""
        with self.path.open("a") as file:
            file.write(to_json(row) + "\n")
        for name, value in row.items():
            if name not in ("fold", "step"):
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None:  # None where a fold could not begin
            self._events.close()


def _parse_row(line: str) -> dict | None:
    """A row of the log, None for one that a kill cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return None
