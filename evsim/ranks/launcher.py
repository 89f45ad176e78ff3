"""What the program that started this process says of how many it started."""

from __future__ import annotations

import os
from collections.abc import Mapping

from evsim.errors import InputError

_STARTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
"""Set in processes that mpiexec or srun started, and in no others."""

_ALLOCATED = "SLURM_NTASKS"
"""Set in a batch script too, which is one process."""


def available_cpus(environment: Mapping[str, str] = os.environ) -> int:
    """CPUs that this process may use: those that Slurm gave each task, or else those that the system lets it run on."""
    given = environment.get("SLURM_CPUS_PER_TASK", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def started(environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """The variable that tells of several processes, and how many; ("", 1) if none does."""
    return _largest(_STARTED, environment)


def check_size(size: int, world: int, environment: Mapping[str, str] = os.environ) -> None:
    """size : of the communicator that was given; world : of all processes that MPI knows of.

    Raises InputError : MPI says that this process is alone, but a launcher or scheduler has several in mind.
    """
    name, n = _largest((*_STARTED, _ALLOCATED), environment)
    if n <= 1 or world > 1:
        return
    if name == _ALLOCATED:
        raise InputError(
            f"the job has {n} tasks ({name}={n}), but this is one process alone: start it with srun or mpiexec."
        )
    raise InputError(
        f"the launcher started {n} processes ({name}={n}), but each of them is alone in its MPI world, so that each "
        "would do the whole work: mpi4py uses another MPI than the launcher's. Use the mpiexec of that MPI, or build "
        "mpi4py with the launcher's (pip install --force-reinstall --no-binary mpi4py mpi4py)."
    )


def check_alone(environment: Mapping[str, str] = os.environ, option: str = "--mpi") -> None:
    """For a command without ``option``, with which processes share the work.

    Raises InputError : a launcher started it several times.
    """
    name, n = started(environment)
    if n > 1:
        raise InputError(
            f"this was started as {n} processes ({name}={n}) but without {option}: each would do the whole work and "
            f"write the same files. Add {option}, or start one process."
        )


def _largest(names: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, int]:
    found = [(name, int(environment[name])) for name in names if environment.get(name, "").isdigit()]
    return max(found, key=lambda pair: pair[1], default=("", 1)) if found else ("", 1)
