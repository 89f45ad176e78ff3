"""What evsim asks of processes that work together. Three implement it: ``alone``, ``threads`` and ``mpi``.

Every method is called by all ranks, in the same order. No floats are added on the way: who adds, and in which order,
stands where the numbers belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np


class Communicator(Protocol):
    """rank : of this one, 0 ... size - 1; size : how many there are."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def objects(self, value: Any) -> list[Any]:
        """What every rank gives, rank 0 first. For few and small values, such as numbers, names and versions."""

    def first(self, value: Any) -> Any:
        """What rank 0 gives; what others give is not looked at."""

    def equal(self, mine: np.ndarray, all_ranks: np.ndarray) -> None:
        """Fill ``all_ranks`` (size, *shape) with the contiguous arrays of all ranks, all of one shape and type."""

    def unequal(self, mine: np.ndarray) -> list[np.ndarray]:
        """The arrays of all ranks, which differ along the first axis only; rank 0 first."""

    def swapped(self, to: Sequence[np.ndarray]) -> list[np.ndarray]:
        """``to[r]`` goes to rank r; returned is what each rank had for this one. Arrays (n,) of one type."""

    def all_fail(self, seconds: float) -> bool:
        """Called by a rank that cannot go on: do all others say so too, within some seconds?"""

    def abort(self) -> NoReturn:
        """End all ranks at once."""
