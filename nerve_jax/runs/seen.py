"""Whom the weights of a fold have seen, through all the runs that they come from.

Frames are known again by their pixels and by their likeness (see `duplicates`), people by
name within the data sets that were trained on. `thumbnails.npy` of a run, in the order of
frames.csv, and `init_thumbnails.npy` of a fold that began with weights of another run, in
the order of init.json, hold what is compared; runs of earlier versions have neither.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from nerve_jax.data.columns import THUMBNAIL_SIZE
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Shown, find_known_people
from nerve_jax.runs.folder import fold_dir, load_split
from nerve_jax.system.files import Path, read_array, read_json, read_table, write_array


class Known(NamedTuple):
    """Which frames of a data set a fold knows.

    Attributes:
      by_name: for their pixels or their person's name.
      by_likeness: of the others, for a frame of their person that is like one it has seen.
    """

    by_name: Bool[np.ndarray, " frames"]
    by_likeness: Bool[np.ndarray, " frames"]


class Seen(NamedTuple):
    """Frames that a fold has seen.

    Attributes:
      digests: of their pixels.
      shows: the person of each.
      thumbnails: of each, grey values; 0 where none was kept.
      whole: whether all have kept theirs.
      people: by population (see `name_population`), its subjects and groups.
      dealt: digests of all frames that the run itself dealt into folds; among these, names
        alone say who is known, since likeness had its part in the names.
    """

    digests: tuple[str, ...]
    shows: tuple[str, ...]
    thumbnails: UInt8[np.ndarray, "frames rows columns"]
    whole: bool
    people: dict[str, set[str]]
    dealt: frozenset[str]

    def find_known(self, examples: Examples, groups: Sequence[str]) -> Known:
        """Frames of a data set that are among those seen, or whose person is.

        Args:
          examples: of any data set.
          groups: the person of each of its frames.
        """
        people = self.people.get(name_population(examples.fingerprint), set())
        digests = set(self.digests)
        names = zip(examples.digests, examples.subjects, groups, strict=True)
        by_name = np.array(
            [digest in digests or not people.isdisjoint(who) for digest, *who in names],
            bool,
        )
        dealt = np.array([digest in self.dealt for digest in examples.digests], bool)
        asked = np.flatnonzero(~by_name & ~dealt)
        by_likeness = np.zeros_like(by_name)
        new = Shown(
            np.asarray(examples.thumbnails[asked]),
            [examples.digests[i] for i in asked],
            [groups[i] for i in asked],
        )
        known = Shown(self.thumbnails, self.digests, self.shows)
        by_likeness[asked] = find_known_people(new, known)
        return Known(by_name, by_likeness)

    def write(self, directory: Path) -> dict:
        """Write init_thumbnails.npy; return what init.json keeps beside it."""
        write_array(directory / "init_thumbnails.npy", self.thumbnails)
        people = {name: sorted(names) for name, names in self.people.items()}
        frames = {"digests": list(self.digests), "shows": list(self.shows)}
        return {**frames, "whole": self.whole, "people": people}


def load_seen(workdir: Path, fold: int, part: str) -> Seen:
    """Read what a fold was trained on ("train") or scored on ("val").

    Weights that began as those of another run have seen what those had seen.
    """
    table = read_table(workdir / "frames.csv")
    places = {row["frame"]: place for place, row in enumerate(table)}
    chosen = [places[frame] for frame in load_split(workdir, fold)[part]]
    rows = [table[place] for place in chosen]
    dataset = read_json(workdir / "dataset.json")["fingerprint"]
    population = name_population(dataset)
    thumbnails, whole = _read_thumbnails(workdir / "thumbnails.npy", len(table))
    seen = Seen(
        tuple(row["digest"] for row in rows),
        tuple(f"{population} {row['group']}" for row in rows),
        thumbnails[chosen],
        whole,
        {population: {row[name] for row in rows for name in ("subject", "group")}},
        frozenset(row["digest"] for row in table),
    )
    begun = fold_dir(workdir, fold) / "init.json"
    return _add_before(seen, begun) if part == "train" and begun.exists() else seen


def _add_before(seen: Seen, begun: Path) -> Seen:
    """Add what the weights had seen that a fold began with."""
    before = read_json(begun)["seen"]
    digests = before["digests"]
    thumbnails, whole = _read_thumbnails(
        begun.with_name("init_thumbnails.npy"), len(digests)
    )
    people = dict(seen.people)
    for fingerprint, others in before["people"].items():
        population = name_population(fingerprint)
        people[population] = people.get(population, set()) | set(others)
    return Seen(
        (*seen.digests, *digests),
        (*seen.shows, *before.get("shows", digests)),
        np.concatenate([seen.thumbnails, thumbnails]),
        seen.whole and whole and before.get("whole", False),
        people,
        seen.dealt,
    )


def _read_thumbnails(
    path: Path, count: int
) -> tuple[UInt8[np.ndarray, "frames rows columns"], bool]:
    """Thumbnails as they were kept, and whether they were; else 0."""
    shape = (count, *THUMBNAIL_SIZE)
    if path.exists() and (kept := read_array(path)).shape == shape:
        return np.asarray(kept), True
    return np.zeros(shape, np.uint8), False


def name_population(fingerprint: str) -> str:
    """Whose frames a data set has, whatever version its records are of.

    Phantoms of one seed show the same people.
    """
    name = re.sub(r"/\d+\.\d+\.\d+$", "", fingerprint)
    return re.sub(r"(/phantom-seed\d+)-.*", r"\1", name)
