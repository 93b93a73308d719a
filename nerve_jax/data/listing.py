"""What lies in a folder: the frames, by their endings, and what is left out, by kind.

Names alone are looked at. Whoever reads a folder says what it left out, by
`describe_left_out`, so that no file is passed over in silence.
"""

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath

from nerve_jax.data.frames import IMAGE_SUFFIXES
from nerve_jax.data.pseudonyms import KEY_NAME

SPACING_COLUMNS = ("spacing_y_mm", "spacing_x_mm")
# Of subjects.csv, as it is read and as --mode=import writes it.
SUBJECT_COLUMNS = ("frame", "subject", "scanner", "clip", *SPACING_COLUMNS)
KINDS_SHOWN = 8
# What systems, repositories and this project leave beside data: never worth a word.
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
LITTER.add(KEY_NAME)
DOCUMENTS = re.compile(
    r"(readme|licen[sc]e|citation|changelog|notice)\b", re.IGNORECASE
)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What lies in one folder, in order of name and without litter.

    Attributes:
      images: paths that end as frames do; also those of what is no file, which cannot be
        read and is refused by name.
      others: all other files.
      deeper: how many files lie at any depth in each folder that holds some.
      deeper_images: how many of them end as frames do.
    """

    images: list[Path]
    others: list[Path]
    deeper: Counter[str]
    deeper_images: Counter[str]

    @property
    def left_out(self) -> Counter[str]:
        """How many files are not among the frames, by kind or by the folder they lie in."""
        counts = Counter(name_kind(path) for path in self.others)
        return counts + Counter({f"in {n}/": count for n, count in self.deeper.items()})

    def without(self, folders: Collection[str]) -> "Contents":
        """The same but for some of the deeper folders, by name."""
        left = [
            Counter({name: n for name, n in counts.items() if name not in folders})
            for counts in (self.deeper, self.deeper_images)
        ]
        return dataclasses.replace(self, deeper=left[0], deeper_images=left[1])

    def describe_deeper(self) -> str:
        """ "24 frames in 6 deeper folders (p00/ 4, p01/ 4, ...)"; "" without any."""
        if not self.deeper_images:
            return ""
        frames = count_of(self.deeper_images.total(), "frame")
        folders = count_of(len(self.deeper_images), "deeper folder")
        found = [f"{name}/ {count}" for name, count in self.deeper_images.items()]
        return f"{frames} in {folders} ({list_some(found)})"


def scan(folder: Path) -> Contents:
    """Look into a folder; one that is not there is empty."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [path for path in paths if not is_litter(path)]
    images = [path for path in paths if is_image(path)]
    others = [p for p in paths if not is_image(p) and not p.is_dir()]
    deeper: Counter[str] = Counter()
    deeper_images: Counter[str] = Counter()
    for inner in (p for p in paths if p.is_dir()):
        below = [p.relative_to(folder) for p in inner.rglob("*") if p.is_file()]
        below = [path for path in below if not any(map(is_litter, _parts(path)))]
        deeper[inner.name] = len(below)
        deeper_images[inner.name] = sum(map(is_image, below))
    return Contents(images, others, +deeper, +deeper_images)


def is_litter(path: PurePath) -> bool:
    """Whether a system or an editor put it there, and no person."""
    name = path.name
    return name.startswith((".", "~$")) or name.lower() in LITTER


def is_image(path: PurePath) -> bool:
    """Whether a path ends as one of a frame or a mask."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_archive(path: PurePath) -> bool:
    """Whether a path ends as one of an archive."""
    return path.suffix.lower() in ARCHIVES


def name_kind(path: PurePath) -> str:
    """The kind of file that a name stands for: its ending, e.g. ".dcm" or ".nii.gz"."""
    ends = [
        s.lower() for s in path.suffixes[-2:] if re.fullmatch(r"\.(?!\d+$)\w{1,8}", s)
    ]
    if path.suffix.lower() not in ends[-1:]:
        return "without an ending"
    return "".join(ends if is_archive(path) else ends[-1:])


def describe_left_out(counts: Mapping[str, int]) -> str:
    """One line: "left out: 12 files (10 .dcm, 2 in old/)"; "" where nothing was."""
    if not counts:
        return ""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {kind}" for kind, count in ordered[:KINDS_SHOWN]]
    if more := sum(count for _, count in ordered[KINDS_SHOWN:]):
        shown.append(f"{more} of other kinds")
    return f"left out: {count_of(sum(counts.values()), 'file')} ({', '.join(shown)})"


def count_of(count: int, noun: str) -> str:
    """ "1 file", "2 files"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def list_some(names: Iterable[str], limit: int = 5) -> str:
    """The first few of some names, and how many more there are."""
    names = list(names)
    more = [f"and {len(names) - limit} more"] if len(names) > limit else []
    return ", ".join([*names[:limit], *more])


def compose(name: str) -> str:
    """A name whose letters are composed: a Mac parts "ü" into "u" and its dots."""
    return unicodedata.normalize("NFC", name)


def loosen(name: str) -> str:
    """What stays of a name when hands and spreadsheets may have changed it.

    Names that differ in capitals, blanks, the zeros before a number or ".0" after one
    are equal then: "7", "007" and "7.0".
    """
    text = re.sub(r"\s+", " ", compose(name)).strip().casefold()
    text = re.sub(r"^(\d+)\.0$", r"\1", text)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)


def _parts(path: PurePath) -> list[PurePath]:
    return [PurePath(part) for part in path.parts]
