"""Do the runs of a comparison, by whatever executor: ``run_comparison``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from functools import partial
from pathlib import Path

from evsim.errors import RunFileError
from evsim.experiment.comparison import Comparison, Part, Results, Run, collect, write_results
from evsim.experiment.comparison_folder import FILE, check_same, comparison_folder, describe
from evsim.experiment.processes import RunOptions, outcome, submitter


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
    with comparison_folder(comparison, out, asked, part, resume, overwrite), submitter(executor, jobs) as submit:
        written = _Sometimes()
        futures = {submit(run, options): run for run in asked}
        for future in as_completed(futures):
            if ended is not None:
                ended(futures[future], outcome(future))
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
    check_same(describe(comparison), out)
    results = collect(comparison.in_folder(out))
    write_results(results, out, pictures=True)
    return results


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
