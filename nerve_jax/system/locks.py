"""A lock on what a live run works in, so that no other run does.

The lock is a file that names the holder's process, host and the time, which the holder
renews every minute. After five minutes without, or at once where that process is dead on
this host, or where the file says none of this, the next run takes it over. Whether a
process of another host is alive is seen by watching whether it renews.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError, RunError
from nerve_jax.system.files import Path, create_whole, to_json, write_whole

RENEW_SECONDS, STALE_SECONDS = 60, 300
WAIT_SECONDS, WATCH_SECONDS = 0.05, 1.0  # between two looks


@contextlib.contextmanager
def hold(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock for as long as the context lasts.

    A lock of another host, such as one that was lost, is watched first: for a minute
    where its holder is alive, up to five where it is not.

    Args:
      path: of the lock.
      wait: until a live run lets go of it.

    Raises:
      InputError: a live run holds it; names its process and host.
      RunError: at the end, if another run has taken it over meanwhile.
    """
    own = _describe_process()
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, own, over), daemon=True)
    others = False
    try:
        try:
            _acquire(path, own, wait=wait)
        except Exception:  # but not a signal, which may come when the file is there
            others = True
            raise
        renewing.start()
        yield
        check(path)
    finally:
        over.set()
        if renewing.ident is not None:
            renewing.join()
        if not others and _name(_read(path)) == _name(own):
            path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a live run holds a lock."""
    return _is_live(_read(path))


def check(path: Path) -> None:
    """Raise `RunError` unless this process holds the lock.

    A run that stood still for minutes, its machine suspended, may have lost it.
    """
    try:
        holder = _read(path)
    except Exception:  # noqa: BLE001  # a disk out of reach for a moment proves nothing
        return
    if _name(holder) != _name(_describe_process()):
        raise RunError(
            f"{path}: {_name(holder)} took this lock over while this run stood still. "
            "Nothing more is written here; let that one go on"
        )


def _acquire(path: Path, own: dict, *, wait: bool) -> None:
    watched: dict = {}
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        if create_whole(path, to_json(own | {"time": time.time()})):
            return
        holder = _read(path)
        if not _is_live(holder):
            if holder or path.exists():  # else it was let go of just now
                _set_aside(path, holder)
        elif wait:
            time.sleep(WAIT_SECONDS)
        elif _is_here(holder) or (watched and holder != watched):
            raise InputError(
                f"{path}: {_name(holder)} is at work here. Wait for it, or name another "
                "folder (--workdir) or another fold (--config.folds)"
            )
        else:
            if not watched:
                age = max(time.time() - holder["time"], 0)
                say(
                    f"{path}: {_name(holder)} held this lock {age:.0f} s ago; waiting to "
                    f"see whether it still does, {STALE_SECONDS} s at most"
                )
            watched = holder
            time.sleep(WATCH_SECONDS)


def _set_aside(path: Path, holder: dict) -> None:
    """Remove a stale lock."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.stale")
    with contextlib.suppress(FileNotFoundError):  # let go of, or another run was first
        path.rename(aside)
        if _read(aside) == holder:
            aside.unlink()
        else:  # that other run's new lock
            aside.rename(path)


def _renew(path: Path, own: dict, over: threading.Event) -> None:
    while not over.wait(RENEW_SECONDS):
        # A disk or bucket may be out of reach this time and back at the next.
        with contextlib.suppress(Exception):
            if _name(_read(path)) == _name(own):
                write_whole(path, to_json(own | {"time": time.time()}))


def _read(path: Path) -> dict:
    """The holder; {} where there is none, or something that is no lock."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    known = isinstance(content, dict) and isinstance(content.get("time"), int | float)
    return content if known else {}


def _describe_process() -> dict:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": _read_start(pid),
        "place": _describe_place(),
    }


def _describe_place() -> str:
    """Where numbers of processes mean the same: this boot, this container; or ""."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _is_live(holder: dict) -> bool:
    recent = time.time() - holder.get("time", 0) < STALE_SECONDS
    return bool(holder) and recent and not (_is_here(holder) and _is_dead(holder))


def _is_here(holder: dict) -> bool:
    """Whether a holder's number is that of a process of this host."""
    own = _describe_process()
    known = own["place"] and isinstance(holder.get("pid"), int) and holder["pid"] > 0
    return bool(known) and all(holder.get(k) == own[k] for k in ("host", "place"))


def _is_dead(holder: dict) -> bool:
    """Whether a holder of this host is there no more."""
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _read_start(holder["pid"]) != holder.get(
        "started"
    )  # reused for another process


def _read_start(pid: int) -> str:
    """When a process of this host was started, in the kernel's ticks; "" if unknown."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _name(holder: dict) -> str:
    if not holder:
        return "another run"
    started = holder.get("started")
    since = f", started at tick {started}" if started else ""
    return f"process {holder.get('pid')} on {holder.get('host')}{since}"
