"""Whose files a folder holds, so that a command overwrites none but those of commands.

Before its first file a command leaves a marker, `.nerve_jax.MODE.json`, which lists what
the command writes there. What no marker lists is somebody's own, and so is a sealed file
that has been changed since. A name that ends with * stands for all that begin so;
masks/a.png is a file in a folder that is written whole, in which nothing else may lie;
so is masks/nerve/clip/00000.png.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, is_remote, read_json, show, write_json

PROGRAM = "nerve_jax"
NUM_SHOWN = 8


def check_folder(
    folder: Path, names: Collection[str], *, flag: str, own: Collection[str] = ()
) -> None:
    """Check that a command can write into a folder; leave nothing there.

    Args:
      folder: need not be there yet.
      names: of what the command writes.
      flag: that named the folder, for errors.
      own: names that are known to be a command's without a marker.

    Raises:
      InputError: the folder cannot be written, or holds files of somebody else under
        these names; lists them.
    """
    with _naming(folder, flag):
        foreign = _find_foreign(folder, names, own)
        if not (foreign or is_remote(folder)):
            _probe(folder)
    if foreign:
        raise InputError(
            f"{flag}={folder}: would overwrite {_list(foreign)}, which no command has "
            "written, or somebody has changed since. Name another folder, or move them "
            "away"
        )


def check_alone(folder: Path, mode: str, names: Collection[str], *, flag: str) -> None:
    """`check_folder` of a command that begins in a folder of its own: a new or empty one.

    Hidden files do not count. A folder that the command has begun before may hold other
    files by now, under other names.
    """
    with _naming(folder, flag):
        marker = folder / _name_marker(mode)
        owned = _read_marker(marker)
        present = [] if marker.exists() else _list_entries(folder)
    if present:
        raise InputError(
            f"{flag}={folder}: holds {_list(present)}, which --mode={mode} has not "
            "written. Name an empty folder or a new one"
        )
    check_folder(folder, {*names, *owned}, flag=flag)  # what it owns is removed first


def check_apart(output_dir: Path, input_dir: Path) -> None:
    """Raise `InputError` where one of two local folders lies in the other."""
    frames, output = input_dir.resolve(), output_dir.resolve()
    if frames.is_relative_to(output) or output.is_relative_to(frames):
        raise InputError(
            f"--output={output_dir} holds the frames of --input={input_dir}, or lies "
            "among them; name another folder"
        )


def claim(folder: Path, mode: str, names: Collection[str], *, flag: str) -> None:
    """Make a folder if need be, and note in its marker what a command writes there.

    Call `check_folder` first.
    """
    with _naming(folder, flag):
        folder.mkdir(parents=True, exist_ok=True)
        _write_marker(folder, mode, dict.fromkeys(names, ""))


def seal(folder: Path, mode: str) -> None:
    """Note in a marker what its files hold, so that changes by hand are seen later."""
    owned = _read_marker(folder / _name_marker(mode))
    _write_marker(folder, mode, {name: _digest(folder / name) for name in owned})


def remove_own(folder: Path, mode: str) -> None:
    """Remove the files that the marker of a command lists, such as those of a run before."""
    owned = _read_marker(folder / _name_marker(mode))
    present = _list_present(folder, owned)
    for name in present:
        if name in owned and (folder / name).is_file():
            (folder / name).unlink()
    for inside in reversed(_list_folders(owned)):
        if inside in present and (folder / inside).is_dir():
            with contextlib.suppress(OSError):  # there are others' files in it
                (folder / inside).rmdir()


def _find_foreign(
    folder: Path, names: Collection[str], own: Collection[str]
) -> list[str]:
    """Entries under these names that no marker lists.

    Entries are listed before markers are read: another command that has just begun here
    has left its marker before its files.
    """
    present = _list_present(folder, names)
    owned = dict.fromkeys(own, "")
    if present:
        for path in folder.glob(f".{PROGRAM}.*.json"):
            owned |= _read_marker(path)
    inner = _list_folders({*names, *owned})
    wanted = [
        name
        for name in present
        if ("/" in name or _is_among(name, names))
        and not (name in inner and (folder / name).is_dir())
    ]
    foreign = [
        name
        for name in wanted
        if not _is_among(name, owned)
        or (owned.get(name) and owned[name] != _digest(folder / name))
    ]
    return [name for name in foreign if name.rpartition("/")[0] not in foreign]


def _list_present(folder: Path, names: Collection[str]) -> list[str]:
    """Entries of a folder, and all that lies in those inside it that are written whole."""
    present = _list_entries(folder)
    # Of entries that are there, so none is outside, whatever a marker says.
    whole = {name.partition("/")[0] for name in _list_folders(names)}
    return sorted(
        {*present, *(n for o in whole & set(present) for n in _list_inside(folder, o))}
    )


def _list_inside(folder: Path, inside: str) -> list[str]:
    """Names, from `folder`, of all that is in a folder inside it; none of a file."""
    if not (folder / inside).is_dir():
        return []
    found = [f"{inside}/{name}" for name in _list_entries(folder / inside)]
    return found + [deeper for name in found for deeper in _list_inside(folder, name)]


def _list_folders(names: Collection[str]) -> list[str]:
    """The folders that files of these names lie in, outer ones first."""
    parents = {outer.as_posix() for n in names for outer in PurePosixPath(n).parents}
    return sorted(parents - {".", "/"})


def _list_entries(folder: Path) -> list[str]:
    """Names of what is in a folder and not hidden; none where there is no folder."""
    if not folder.exists():
        return []
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def _is_among(name: str, names: Collection[str]) -> bool:
    """Whether a name is listed."""
    beginnings = tuple(listed[:-1] for listed in names if listed.endswith("*"))
    return name in names or name.startswith(beginnings)


def _name_marker(mode: str) -> str:
    return f".{PROGRAM}.{mode}.json"


def _write_marker(folder: Path, mode: str, files: dict[str, str]) -> None:
    content = {"program": PROGRAM, "mode": mode, "files": dict(sorted(files.items()))}
    write_json(folder / _name_marker(mode), content)


def _read_marker(path: Path) -> dict[str, str]:
    """What a marker lists, and the digest of what is sealed; nothing where it is none."""
    try:
        content = read_json(path)
    except (FileNotFoundError, InputError):
        return {}
    known = isinstance(content, dict) and content.get("program") == PROGRAM
    files = content.get("files") if known else None
    return files if isinstance(files, dict) else {}


def _digest(path: Path) -> str:
    """Hash of a file, 16 hex digits; "" where there is none."""
    if not path.is_file():
        return ""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _probe(folder: Path) -> None:
    """Write a nameless file where a folder is or is to be; raise `OSError` where one can't."""
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0")
        file.flush()


def _list(names: Collection[str]) -> str:
    """Some names, and how many more there are."""
    shown = ", ".join(show(name) for name in list(names)[:NUM_SHOWN])
    more = len(names) - NUM_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


@contextlib.contextmanager
def _naming(folder: Path, flag: str) -> Iterator[None]:
    """Name the flag where a folder cannot be used."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{flag}={folder}: cannot be written ({error.strerror or error}). Name a "
            "folder that can, or make this one so"
        ) from error
