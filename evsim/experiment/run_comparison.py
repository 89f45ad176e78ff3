"""Do the runs of a comparison, by whatever executor: ``run_comparison``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from evsim.errors import RunFileError
from evsim.experiment.comparison import Comparison, Part, Results, Run, collect, write_results
from evsim.experiment.comparison_folder import FILE, check_same, comparison_folder
from evsim.experiment.processes import RunOptions, do_run, end_runs


def run_comparison(
    comparison: Comparison,
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    part: Part | None = None,
    agreement: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    ended: Callable[[Run, str | None], None] | None = None,
) -> Results:
    """Do every run in a folder of its own below ``out``, and leave tables and pictures in ``out``.

    An executor decides where and when a run is done. Wherever that is, it is done in a process of its own, which ends
    with its worker. A run that fails does not end the others. Complete runs stay as they are, others continue after
    their last epoch.

    Parameters
    ----------
    comparison : see ``evsim.cli.compare_file.read_comparison``
    out : folder that all workers see under this name
    executor : any of ``concurrent.futures``, that of a Dask client, ``mpi4py.futures.MPICommExecutor``; None: ``jobs``
        runs at a time on this machine
    part : do these runs only, and write no tables: other parts may be at work in the folder (see ``collected``)
    agreement : samples on which gradients are compared after every epoch; None: as the comparison says
    resume, overwrite : what is to become of runs that are there
    ended : called with each run as it ends, and why it failed or None

    Returns the results of the runs that were asked for, in a part of its own runs.

    Raises
    ------
    RunFileError : the folder holds runs that neither ``resume`` nor ``overwrite`` asks for, or those of another
        comparison, or another evsim is at work there.
    """
    out = Path(out).resolve()
    asked = part.share(comparison.in_folder(out)) if part else comparison.in_folder(out)
    options = RunOptions(comparison.agreement if agreement is None else agreement)
    with (
        comparison_folder(comparison, out, asked, part, resume, overwrite),
        closing(_done(asked, options, executor, jobs)) as done,
    ):
        written = _Sometimes()
        for run, error in done:
            if ended is not None:
                ended(run, error)
            if part is None:
                written(partial(_write, asked, out))
        results = collect(asked)
        if part is None:
            write_results(results, out, pictures=True)
        return results


def collected(comparison: Comparison, out: str | os.PathLike[str]) -> Results:
    """Write the tables and pictures of what all parts have left in ``out`` so far.

    Raises RunFileError : there is no comparison in the folder, or another one.
    """
    out = Path(out).resolve()
    if not (out / FILE).exists():
        raise RunFileError(f"{out} holds no comparison; do its parts first, with --part 1/N and so on.")
    check_same(comparison, out)
    results = collect(comparison.in_folder(out))
    write_results(results, out, pictures=True)
    return results


def _done(
    asked: list[Run], options: RunOptions, executor: Executor | None, jobs: int
) -> Generator[tuple[Run, str | None], None, None]:
    """Runs as they end, with what went wrong."""
    with ThreadPoolExecutor(jobs) if executor is None else nullcontext(executor) as pool:
        futures: dict[Future[str | None], Run] = {}
        try:
            for run in asked:
                futures[pool.submit(do_run, _anywhere(run), options)] = run
            for future in as_completed(futures):
                yield futures[future], _error(future)
        finally:
            waiting = [future for future in futures if not future.cancel()]
            here = [_anywhere(run) for run in futures.values()]
            end_runs(here)
            while isinstance(pool, ThreadPoolExecutor) and not all(future.done() for future in waiting):
                time.sleep(0.05)
                end_runs(here)  # one that had not yet started its process


def _anywhere(run: Run) -> Run:
    """The run as a worker in another folder finds its data."""
    folder = run.config.data_dir
    return run if folder is None else replace(run, config=replace(run.config, data_dir=os.path.abspath(folder)))


def _error(future: Future[str | None]) -> str | None:
    try:
        return future.result()
    except Exception as error:  # its worker is gone, or what it sent cannot be read
        return " ".join(f"the executor lost it: {type(error).__name__}: {error}".split())


def _write(asked: list[Run], out: Path) -> None:
    write_results(collect(asked), out, pictures=False)


class _Sometimes:
    """Calls a function, at most for a tenth of the time: tables of many runs take long to write."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, function: Callable[[], None]) -> None:
        began = time.monotonic()
        if began >= self._next:
            function()
            now = time.monotonic()
            self._next = now + 9.0 * (now - began)
