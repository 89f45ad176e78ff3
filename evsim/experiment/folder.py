"""The folder of a command's results: an earlier run in it is never lost unasked, and a failure leaves no empty one."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from evsim.errors import RunFileError

RUN = ("state.h5", "run.h5", "spikes/[0-9]*.h5", "summary.json", "metrics.csv")
"""Files that show a run in a folder, as patterns. The state goes first when a run is removed: nothing can be resumed
without it."""

_PICTURES = ("raster.png", "rates*.png", "voltage.png", "learning_curve.png", "weights.png")
_PATIENCE = 2.0
"""Seconds to wait for the folder: a comparison that was killed takes a moment to end its runs."""


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the lock of a folder, where folders can be locked. Raises RunFileError : another evsim holds it."""
    lock = _locked(out)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def results_folder(
    out: Path,
    holds: Sequence[str] = RUN,
    *,
    resume: bool | None = False,
    overwrite: bool = False,
    alone: Callable[[Path], AbstractContextManager[object]] = locked,
) -> Iterator[Callable[[], None]]:
    """Make the folder ``out`` and keep other evsim commands from writing into it meanwhile.

    holds : patterns of the files and folders that an earlier run left there
    resume : that run is continued; None: this command cannot resume
    alone : keeps the others away
    Yields a function that removes the earlier run, to be called once the new one is certain to start.

    Raises
    ------
    RunFileError : an earlier run that neither is to be resumed nor overwritten, or another evsim at work there
    OSError : the folder cannot be made
    """
    if resume and overwrite:
        raise RunFileError("--resume continues the run in --out, --overwrite replaces it: give one of them.")
    there = [pattern for pattern in holds if any(out.glob(pattern))]
    if there and not (resume or overwrite):
        how = "--overwrite to replace it" if resume is None else "--resume to continue it, --overwrite to replace it"
        raise RunFileError(f"{out} holds a run already ({there[0]}). Give {how}, or another --out.")
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)

    def clear() -> None:
        for pattern in (*holds, *_PICTURES) if overwrite else ():
            for path in out.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    try:
        with alone(out):
            yield clear
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty: there are results in it
                folder.rmdir()


def results_or_none(out: Path | None, holds: Sequence[str], overwrite: bool) -> AbstractContextManager[object]:
    """``results_folder`` of a command that cannot be resumed, if it was given a folder at all."""
    return nullcontext() if out is None else results_folder(out, holds, resume=None, overwrite=overwrite)


def _locked(out: Path) -> int | None:
    """A file descriptor that holds the folder; None where folders cannot be locked. A killed process lets go of it."""
    try:
        import fcntl

        folder = os.open(out, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder
        except OSError as failure:
            if failure.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(folder)
                return None
            if time.monotonic() > until:
                os.close(folder)
                what = f"another evsim is writing into {out}. Wait for it, or give another --out."
                raise RunFileError(what) from failure
            time.sleep(0.05)
