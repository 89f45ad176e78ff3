"""Ranks that work together: what each method exchanges, how a failure ends them, and what a launcher says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evsim.errors import InputError
from evsim.ranks.alone import Alone
from evsim.ranks.launcher import check_alone, check_size, started
from evsim.ranks.threads import over_thread_ranks
from helpers.mpi import mpi, run_ranks


def exchanged(comm):
    """What every method gives, in a form that can be compared."""
    mine = np.arange(comm.rank + 1, dtype=np.float64) + 10.0 * comm.rank
    equal = np.empty((comm.size, 2, 2))
    comm.equal(np.full((2, 2), comm.rank + 0.5), equal)
    rows = comm.unequal(np.full((comm.rank, 3), comm.rank))
    swapped = comm.swapped([np.full(r + 1, 10 * comm.rank + r) for r in range(comm.size)])
    return {
        "objects": comm.objects({"rank": comm.rank}),
        "first": comm.first(f"from {comm.rank}"),
        "equal": equal[:, 0, 1].tolist(),
        "unequal": [part.tolist() for part in comm.unequal(mine)],
        "rows": [part.shape for part in rows],
        "swapped": [part.tolist() for part in swapped],
    }


def wanted(rank, size):
    return {
        "objects": [{"rank": r} for r in range(size)],
        "first": "from 0",
        "equal": [r + 0.5 for r in range(size)],
        "unequal": [[k + 10.0 * r for k in range(r + 1)] for r in range(size)],
        "rows": [(r, 3) for r in range(size)],
        "swapped": [[10 * r + rank] * (rank + 1) for r in range(size)],
    }


def test_alone():
    assert exchanged(Alone()) == wanted(0, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_thread_ranks(size):
    for _ in range(3):
        assert over_thread_ranks(size, exchanged) == [wanted(rank, size) for rank in range(size)]


def test_a_thread_rank_that_fails_ends_the_others():
    def work(comm):
        if comm.rank == 1:
            raise KeyError("rank 1")
        comm.objects(None)

    with pytest.raises(KeyError, match="rank 1"):
        over_thread_ranks(3, work)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ("", 1)),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, ("OMPI_COMM_WORLD_SIZE", 1)),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, ("OMPI_COMM_WORLD_SIZE", 4)),
        ({"PMI_SIZE": "2"}, ("PMI_SIZE", 2)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "16"}, ("SLURM_STEP_NUM_TASKS", 8)),
        ({"SLURM_NTASKS": "16"}, ("", 1)),
        ({"PMI_SIZE": "many"}, ("", 1)),
    ],
)
def test_what_a_launcher_started(environment, found):
    assert started(environment) == found


def test_a_launcher_and_a_communicator_that_disagree():
    check_size(4, 4, {"OMPI_COMM_WORLD_SIZE": "4"})
    check_size(1, 4, {"OMPI_COMM_WORLD_SIZE": "4"})  # a part of the world, made by the user
    check_size(1, 1, {})
    with pytest.raises(InputError, match=r"the launcher started 4 processes .* another MPI than the launcher's"):
        check_size(1, 1, {"OMPI_COMM_WORLD_SIZE": "4"})
    with pytest.raises(InputError, match=r"the job has 8 tasks .* start it with srun"):
        check_size(1, 1, {"SLURM_NTASKS": "8"})


def test_a_command_without_mpi_under_a_launcher():
    check_alone({})
    check_alone({"SLURM_NTASKS": "8"})
    with pytest.raises(InputError, match=r"started as 3 processes .* without --mpi"):
        check_alone({"PMI_SIZE": "3"})


@mpi
@pytest.mark.parametrize("size", [1, 3])
def test_ranks_of_mpi(size):
    code = """
        from test_ranks import exchanged, wanted
        from evsim.ranks.mpi import world
        comm = world()
        assert exchanged(comm) == wanted(comm.rank, comm.size)
        assert comm.all_fail(5.0)
        print("rank", comm.rank, "of", comm.size)
    """
    ended = run_ranks(size, code, folder=Path(__file__).parent)
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.split("\n")[:-1]) == [f"rank {k} of {size}" for k in range(size)]


@mpi
def test_a_rank_of_mpi_that_fails_ends_all():
    code = """
        import time
        from evsim.ranks.mpi import world
        comm = world()
        if comm.rank == 1:
            print("alone", not comm.all_fail(0.1), flush=True)
            comm.abort()
        time.sleep(60.0)
    """
    ended = run_ranks(2, code, seconds=20.0)
    assert ended.returncode != 0
    assert "alone True" in ended.stdout


@mpi
def test_a_communicator_of_the_user_is_taken_once_and_its_machines_are_looked_at():
    code = """
        from mpi4py import MPI
        from evsim import LIF, Network
        from evsim.errors import InputError
        from evsim.ranks import machines
        from evsim.ranks.given import ranks_of

        first, again = ranks_of(MPI.COMM_WORLD), ranks_of(MPI.COMM_WORLD)
        assert first is again and first.size == 2
        half = MPI.COMM_WORLD.Split(MPI.COMM_WORLD.rank)
        assert ranks_of(half).size == 1
        net = Network()
        net.add_population("a", 3, LIF(bias=1.2))
        assert len(net.simulate(60.0, comm=MPI.COMM_WORLD)["a"]) > 0
        versions = machines.package_versions
        machines.package_versions = lambda: {**versions(), "c_library": str(first.rank)}
        try:
            net.simulate(60.0, comm=MPI.COMM_WORLD)
        except InputError as error:
            print(error)
    """
    ended = run_ranks(2, code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("rank 1 on ") == 2
    assert ended.stdout.count("has a C library that gives other last bits of exp, expm1, log1p or log") == 2
