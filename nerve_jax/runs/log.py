"""What a run measures as it goes: rows for programs, event files for TensorBoard.

tensorboard --logdir WORKDIR/tensorboard
"""

import json
import os
import time

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from nerve_jax.system import locks
from nerve_jax.system.files import Path, append_line, to_json, write_whole


class MetricsLog:
    """metrics.jsonl and the event files of the folds, written as the run goes."""

    def __init__(self, workdir: Path):
        self.path = workdir / "metrics.jsonl"
        self._events: dict[int, EventsWriter] = {}

    def read(self) -> list[dict]:
        """All rows, but for one that a kill cut short."""
        if not self.path.exists():
            return []
        rows = [_parse_row(line) for line in self.path.read_text().splitlines()]
        return [row for row in rows if row]

    def begin(self, fold: int, step: int) -> None:
        """Go on with a fold after a step; rows that lie after it are dropped."""
        with self._lock():
            rows = self.read()
            kept = [r for r in rows if not (r["fold"] == fold and r["step"] > step)]
            if self.path.exists():
                write_whole(self.path, "".join(to_json(row) + "\n" for row in kept))
        folder = self.path.parent / "tensorboard" / f"fold_{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        # Not by SummaryWriter: its thread hides that a disk is full, and waits for ever.
        events = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        begun = SessionLog(status=SessionLog.START)  # what was there from this step on
        events.write_event(
            Event(step=step + 1, session_log=begun, wall_time=time.time())
        )
        self._events[fold] = events

    def write(self, row: dict) -> None:
        """Append a row; it is on disk when this returns."""
        with self._lock():
            append_line(self.path, to_json(row))
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name not in ("fold", "step")
        ]
        events = self._events[row["fold"]]
        events.write_event(
            Event(
                step=row["step"], summary=Summary(value=values), wall_time=time.time()
            )
        )
        events.flush()

    def _lock(self):
        """Other runs may train other folds in the same folder."""
        return locks.hold(self.path.with_name("metrics.lock"), wait=True)

    def close(self) -> None:
        """Close the event files."""
        for events in self._events.values():
            events.close()


def _parse_row(line: str) -> dict | None:
    """A row of the log, None for one that a kill cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return None
