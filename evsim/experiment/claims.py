"""Who works in a folder, told by files instead of locks: nobody waits for a file system that cannot lock.

A claim is a file ``.NAME.claim-N`` that its holder alone created (O_EXCL, which shared file systems have too: NFS from
version 3, Lustre, GPFS), with its machine and process id. The highest N holds. The holder renews the file's time every
few seconds. A claim whose holder is gone is passed over by making N + 1: on the same machine as soon as the process
has ended, on another one when the file has not been renewed for some minutes.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from evsim.errors import RunFileError

BEAT = 10.0
"""Seconds between two renewals of a claim."""

GONE = 180.0
"""Seconds without a renewal after which a holder on another machine counts as gone; clients of NFS see the time of a
file up to a minute late."""


class Held(RunFileError):
    """Somebody else works there. who : machine and process id"""

    def __init__(self, folder: Path, who: str) -> None:
        super().__init__(f"another evsim ({who}) is writing into {folder}. Wait for it, or give another --out.")
        self.who = who


def holder(folder: Path, name: str) -> str | None:
    """Machine and process id of who holds a claim; None: nobody does, or who did is gone."""
    claims = _claims(folder, name)
    with suppress(FileNotFoundError):
        return _living(claims[-1][1]) if claims else None
    return None


@contextmanager
def claimed(
    folder: Path,
    name: str,
    patience: float = 0.0,
    when_lost: Callable[[], None] | None = None,
    *,
    until_silent: bool = False,
) -> Iterator[None]:
    """Hold the claim ``name`` of a folder within.

    patience : seconds to try for; until_silent : then wait for a holder on another machine, too, until it counts as
    gone or is seen to renew its claim
    when_lost : called from another thread where somebody else has taken the claim over, since this process had not
    been seen for minutes

    Raises Held : somebody else holds it, and did for ``patience``.
    """
    until = time.monotonic() + patience
    seen: dict[Path, float] = {}
    while (mine := _claim(folder, name)) is None:
        if (who := holder(folder, name)) is not None:
            if time.monotonic() > until and not (until_silent and " on " in who and _unchanged(folder, name, seen)):
                raise Held(folder, who)
            time.sleep(0.1)
    released = threading.Event()
    threading.Thread(target=_renew, args=(mine, folder, name, released, when_lost), daemon=True).start()
    try:
        yield
    finally:
        released.set()
        for number, path in _claims(folder, name):
            if number <= mine[0]:
                with suppress(OSError):
                    path.unlink()


@contextmanager
def one_at_a_time(name: str, patience: float) -> Iterator[None]:
    """Let processes of this user on this machine through one after the other; after ``patience`` seconds, or where
    there is no folder of this machine alone, without waiting."""
    folder = _of_this_machine()
    with ExitStack() as stack:
        if folder is not None:
            with suppress(Held, OSError):
                stack.enter_context(claimed(folder, name, patience))
        yield


def _claims(folder: Path, name: str) -> list[tuple[int, Path]]:
    """Claims of all holders, the present one last."""
    pattern = re.compile(rf"\.{re.escape(name)}\.claim-(\d+)")
    with suppress(FileNotFoundError):
        found = [(match, entry) for entry in os.listdir(folder) if (match := pattern.fullmatch(entry))]
        return sorted((int(match[1]), folder / entry) for match, entry in found)
    return []


def _unchanged(folder: Path, name: str, seen: dict[Path, float]) -> bool:
    """Has the present claim not been renewed since it was first looked at? That is noted in ``seen``."""
    with suppress(OSError, IndexError):
        path = _claims(folder, name)[-1][1]
        changed = path.stat().st_mtime
        return seen.setdefault(path, changed) == changed
    return True


def _claim(folder: Path, name: str) -> tuple[int, Path] | None:
    """A new claim; None if somebody else holds one, or was asking at the same time."""
    claims = _claims(folder, name)
    with suppress(FileNotFoundError):
        if claims and _living(claims[-1][1]) is not None:
            return None
    number = claims[-1][0] + 1 if claims else 1
    path = folder / f".{name}.claim-{number}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{_machine()}\n{os.getpid()}\n{_started(os.getpid())}\n")
    for other, its_path in _claims(folder, name):
        # The list was an old one: what looked free has been taken, and perhaps even been released, meanwhile.
        with suppress(FileNotFoundError):
            if other > number or (other < number and _living(its_path) is not None):
                path.unlink()
                return None
    return number, path


def _renew(
    mine: tuple[int, Path], folder: Path, name: str, released: threading.Event, when_lost: Callable[[], None] | None
) -> None:
    number, path = mine
    while not released.wait(BEAT):
        with suppress(OSError):
            os.utime(path)
        # Twice: who looked at an old list makes a claim too, and takes it back.
        if _passed(number, folder, name) and not released.wait(0.1 * BEAT) and _passed(number, folder, name):
            if when_lost is not None:
                when_lost()
            return


def _passed(number: int, folder: Path, name: str) -> bool:
    try:
        return any(other > number for other, _ in _claims(folder, name))
    except OSError:
        return False


def _living(path: Path) -> str | None:
    """Who made a claim, unless that process is gone. Raises FileNotFoundError : the claim was released."""
    machine, pid, started = [*path.read_text(encoding="utf-8").splitlines(), "", "", ""][:3]
    if machine == _machine() and pid.isdigit():
        return f"process {pid}" if _runs(int(pid), started) else None
    return f"process {pid} on {machine.split(' ')[0]}" if _age(path) < GONE else None


def _runs(pid: int, started: str) -> bool:
    """Does the process run that had this id then? Ids are used again."""
    now = _started(pid)
    return now is not None and (not started or abs(now - float(started)) < 2.0)


def _started(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return time.time()


def _age(path: Path) -> float:
    """Seconds since a file was renewed, by the clock of the machine that holds the file."""
    probe = path.with_name(f".evsim-{secrets.token_hex(8)}.tmp")
    try:
        probe.touch(exist_ok=False)
        try:
            now = probe.stat().st_mtime
        finally:
            probe.unlink()
    except OSError:
        now = time.time()
    return now - path.stat().st_mtime


@cache
def _machine() -> str:
    """A name of what shares its process ids: the machine since it was started, or a container on it."""
    parts = [platform.node() or "?"]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _of_this_machine() -> Path | None:
    """A folder that is not shared with other machines and belongs to this user alone."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    for parent in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        folder = parent / f"evsim-{user}"
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid in (user, 0) and os.access(folder, os.W_OK):
                return folder
    return None
