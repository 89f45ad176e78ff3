"""Work that rank 0 does for all: what it reads, and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from evsim.ranks.protocol import Communicator

T = TypeVar("T")


def on_first(comm: Communicator, work: Callable[[], T]) -> T:
    """What ``work()`` gives on rank 0, on all ranks; what it raises there, all raise."""
    if comm.size == 1:
        return work()
    outcome: tuple[Any, Exception | None] = (None, None)
    if comm.rank == 0:
        try:
            outcome = work(), None
        except Exception as failure:
            outcome = None, failure
    value, what = comm.first(outcome)
    if what is not None:
        raise what
    return value
