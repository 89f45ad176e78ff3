"""A run of a comparison in a process of its own, on the machine where an executor starts it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace

from evsim.errors import InputError
from evsim.experiment.comparison import Run, is_done

COMPILED, HELD = 75, 76
"""Statuses of a process that ends because it had to compile kernels, which the next one finds; and because another
evsim is at work on the run."""

_running: dict[subprocess.Popen[bytes], Run] = {}
"""Processes that this one started, and waits for in one of its threads."""


@dataclass(frozen=True)
class RunOptions:
    """What is not part of a run, but of how it is watched.

    agreement : samples on which gradients are compared with the true one after every epoch; 0: none
    pictures : draw them when the run is complete
    """

    agreement: int = 0
    pictures: bool = True


def do_run(run: Run, options: RunOptions) -> str | None:
    """Do a run, or what is left of it, in a process of its own; returns why it failed, None if it did not.

    This is what a comparison hands its executor: a plain function of values that can be pickled. The new process ends
    with the one that waits for it here, however that ends.
    """
    try:
        if is_done(run):
            return None
        run.folder.mkdir(parents=True, exist_ok=True)
        for last_try in (False, False, True):
            status = _status(run, options, last_try)
            if status != COMPILED:
                break
    except (InputError, OSError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    if status == HELD:
        return "another evsim is at work on it"
    return None if status == 0 else run.error or f"ended with status {status}; see {run.folder / 'log.txt'}"


@contextmanager
def submitter(executor: Executor | None, jobs: int) -> Iterator[Callable[[Run, RunOptions], Future[str | None]]]:
    """A function within that hands a run to an executor, and gives what ``do_run`` will return.

    executor : None: ``jobs`` runs at a time on this machine

    At the end no run is started any more, and those at work on this machine are ended.
    """
    submitted: dict[Future[str | None], Run] = {}
    with ThreadPoolExecutor(jobs) if executor is None else nullcontext(executor) as pool:

        def submit(run: Run, options: RunOptions) -> Future[str | None]:
            run = _anywhere(run)
            future = pool.submit(do_run, run, options)
            submitted[future] = run
            return future

        try:
            yield submit
        finally:
            waiting = [future for future in submitted if not future.cancel()]
            _end_runs(submitted.values())
            while isinstance(pool, ThreadPoolExecutor) and not all(future.done() for future in waiting):
                time.sleep(0.05)
                _end_runs(submitted.values())  # one that had not yet started its process


def outcome(future: Future[str | None]) -> str | None:
    """Why a submitted run failed, None if it did not."""
    try:
        return future.result()
    except Exception as error:  # its worker is gone, or what it sent cannot be read
        return " ".join(f"the executor lost it: {type(error).__name__}: {error}".split())


def _anywhere(run: Run) -> Run:
    """The run as a worker in another folder finds its data."""
    folder = run.config.data_dir
    return run if folder is None else replace(run, config=replace(run.config, data_dir=os.path.abspath(folder)))


def _end_runs(asked: Iterable[Run]) -> None:
    """End what this process started of these runs."""
    folders = {run.folder for run in asked}
    for child, run in list(_running.items()):
        if run.folder in folders:
            with suppress(OSError):
                child.terminate()


def _status(run: Run, options: RunOptions, last_try: bool) -> int:
    """Exit status of a process that does the run. Its standard input stays open as long as this process lives."""
    # Not multiprocessing: it imports the caller's main program again, and workers of some executors may not use it.
    paths = [path or os.getcwd() for path in sys.path]
    code = f"import sys; sys.path[:] = {paths!r}; from evsim.experiment.run_process import main; main()"
    with (run.folder / "log.txt").open("ab") as log:
        child = subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=log, stderr=log)
    assert child.stdin is not None
    _running[child] = run
    try:
        with suppress(BrokenPipeError):
            child.stdin.write(pickle.dumps((run, options, last_try)))
            child.stdin.flush()
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
        _running.pop(child, None)
        with suppress(OSError):
            child.stdin.close()

