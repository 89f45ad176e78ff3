"""Poisson input: every neuron of a population has a process of its own, in continuous time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.errors import NetworkError
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class PoissonDrive:
    """One ``add_poisson`` call.

    rate : Hz, a number, (size,) array, or a function of times (n,) ms that gives (n,) Hz
    rate_max : upper bound of the function, Hz
    """

    target: str
    rate: Any
    weight: float
    rate_max: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.weight):
            raise NetworkError(f"add_poisson({self.target!r}): weight must be finite; got {self.weight}.")
        highest = self.rate_max if callable(self.rate) else self.rate
        if highest is None:
            raise NetworkError(
                f"add_poisson({self.target!r}): a rate that is a function of time needs rate_max, a bound in Hz."
            )
        if callable(self.rate) and np.ndim(highest) > 0:
            raise NetworkError(f"add_poisson({self.target!r}): rate_max is one bound for all; got {highest!r}.")
        if np.asarray(highest).ndim > 1 or not np.all(np.isfinite(highest)) or np.any(np.asarray(highest) < 0):
            raise NetworkError(f"add_poisson({self.target!r}): rates must be finite and >= 0 Hz; got {highest!r}.")

    @property
    def varies(self) -> bool:
        """Does the rate change with time?"""
        return callable(self.rate)

    def highest(self, size: int) -> Floats:
        """Rate of each neuron, or its bound, Hz, shape (size,)."""
        rate = self.rate_max if self.varies else self.rate
        return np.broadcast_to(np.asarray(rate, dtype=np.float64), (size,))
