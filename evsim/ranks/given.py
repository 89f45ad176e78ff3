"""Communicators as users give them."""

from __future__ import annotations

from typing import Any

from evsim.errors import InputError
from evsim.ranks.alone import ALONE
from evsim.ranks.protocol import Communicator


def ranks_of(comm: Any) -> Communicator:
    """None: this process alone; a communicator of mpi4py; or one of evsim's, as it is.

    Raises InputError : anything else; a launcher that started several processes of which MPI knows nothing; ranks with
        other versions or another C library than rank 0.
    """
    if comm is None:
        return ALONE
    if hasattr(comm, "all_fail"):
        return comm
    if hasattr(comm, "Get_size"):
        from evsim.ranks.machines import check_machines
        from evsim.ranks.mpi import mpi_ranks

        ranks = mpi_ranks(comm)
        check_machines(ranks)
        return ranks
    raise InputError(f"comm must be a communicator of mpi4py, as MPI.COMM_WORLD; got {type(comm).__name__}.")


def check_same(comm: Communicator, what: str, value: Any) -> None:
    """Raise InputError, on all ranks, where they do not have the same of something. value : small, e.g. a hash"""
    values = comm.objects(value)
    if other := [k for k, v in enumerate(values) if v != values[0]]:
        ranks = ", ".join(map(str, other))
        raise InputError(
            f"the ranks do not agree on {what}: {_shown(values[0])} on rank 0, {_shown(values[other[0]])} on rank "
            f"{other[0]} (those that differ from rank 0: {ranks}). All must be given the same."
        )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
