"""Whom the weights of a fold have seen, through all the runs that they come from."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from nerve_jax.runs.folder import fold_dir, load_split
from nerve_jax.system.files import Path, read_json, read_table


class Seen(NamedTuple):
    """Frames that a fold has seen.

    Attributes:
      digests: of their pixels.
      people: by population (see `name_population`), its subjects and groups.
    """

    digests: set[str]
    people: dict[str, set[str]]

    def knows(self, fingerprint: str, digest: str, names: Sequence[str]) -> bool:
        """Whether a frame of a data set, or its person (by any name), is among them."""
        people = self.people.get(name_population(fingerprint), set())
        return digest in self.digests or not people.isdisjoint(names)

    def to_json(self) -> dict:
        """As init.json keeps it."""
        people = {name: sorted(names) for name, names in self.people.items()}
        return {"digests": sorted(self.digests), "people": people}


def load_seen(workdir: Path, fold: int, part: str) -> Seen:
    """Read what a fold was trained on ("train") or scored on ("val").

    Weights that began as those of another run have seen what those had seen.
    """
    rows = {row["frame"]: row for row in read_table(workdir / "frames.csv")}
    frames = load_split(workdir, fold)[part]
    digests = {rows[frame]["digest"] for frame in frames}
    names = {rows[frame][name] for frame in frames for name in ("subject", "group")}
    dataset = read_json(workdir / "dataset.json")["fingerprint"]
    people = {name_population(dataset): names}
    begun = fold_dir(workdir, fold) / "init.json"
    if part == "train" and begun.exists():
        before = read_json(begun)["seen"]
        digests |= set(before["digests"])
        for population, others in before["people"].items():
            people[population] = people.get(population, set()) | set(others)
    return Seen(digests, people)


def name_population(fingerprint: str) -> str:
    """Whose frames a data set has: phantoms of one seed show the same people."""
    return re.sub(r"(/phantom-seed\d+)-.*", r"\1", fingerprint)
