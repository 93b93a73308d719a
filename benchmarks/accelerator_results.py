"""The one JSON file of accelerator.py: each part's content, written as it is measured."""

import json
import os
from pathlib import Path

NAME = "accelerator.json"


class Results:
    """Parts that are measured, and why others failed, by name.

    Args:
      folder: of the file; arrays that parts leave for each other lie beside it.
    """

    def __init__(self, folder: Path):
        self.path = folder / NAME

    def read(self) -> dict:
        """Return {"parts": {name: content}, "failures": {name: reason}}."""
        if not self.path.exists():
            return {"parts": {}, "failures": {}}
        return json.loads(self.path.read_text())

    def add_part(self, name: str, content: dict) -> None:
        """Write a part; it is not measured again."""
        found = self.read()
        found["parts"][name] = content
        found["failures"].pop(name, None)
        self._write(found)

    def add_failure(self, name: str, reason: str) -> None:
        """Write why a part is not there; the next run tries it again."""
        found = self.read()
        found["failures"][name] = reason
        self._write(found)

    def list_missing(self, names: tuple[str, ...]) -> list[str]:
        """Parts that are not there; those that failed before come last."""
        found = self.read()
        missing = [name for name in names if name not in found["parts"]]
        return sorted(missing, key=lambda name: name in found["failures"])

    def _write(self, content: dict) -> None:
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(beside, self.path)
