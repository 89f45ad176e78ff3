"""Executors by name: what starts the runs of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import cast

from evsim.errors import InputError
from evsim.ranks.launcher import check_alone
from evsim.ranks.machines import check_machines
from evsim.ranks.mpi import world

EXECUTORS = ("processes", "mpi")
"""Runs on this machine, or on all processes that mpiexec or srun started."""


@contextmanager
def executor_by_name(name: str, jobs: int, *, several: bool = False) -> Iterator[Executor | None]:
    """An executor of ``EXECUTORS`` within; None in a process that has worked for that of another one, and is done.

    jobs : runs at a time on this machine; several : processes of a launcher share the work by other means

    Raises InputError : mpi without mpi4py, on a single process, or on machines that differ; one of several processes
    that would all do the same.
    """
    if name != "mpi":
        if not several:
            check_alone(option="--executor mpi or --part k/n")
        # A thread waits for each process of a run.
        with ThreadPoolExecutor(jobs) as pool:
            yield pool
        return
    comm = world()
    if comm.size < 2:
        raise InputError(
            "--executor mpi hands the runs to the other processes of mpiexec or srun, but this one is alone. "
            "mpiexec -n 9 evsim compare ... --executor mpi does eight runs at a time."
        )
    try:
        check_machines(comm)
    except InputError as error:
        if comm.rank > 0:  # all meet it; rank 0 says it
            raise SystemExit(1) from error
        raise
    # Not MPIPoolExecutor, which starts processes by MPI: many clusters do not allow that.
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        yield cast(Executor | None, executor)
