"""Random values within bounds: what falls outside is drawn again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evsim.errors import NetworkError
from evsim.types import Floats

_ROUNDS = 1000


@dataclass(frozen=True)
class Truncated:
    """A distribution cut to [low, high]: a weight or delay of ``Network.connect``.

    draw : a function of (Generator, n) that gives n numbers

    Raises NetworkError : low above high; on drawing, bounds that the distribution hardly ever meets.
    """

    draw: Callable[[np.random.Generator, int], Floats]
    low: float = -np.inf
    high: float = np.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise NetworkError(f"a distribution needs low <= high; got {self.low} and {self.high}.")

    def __call__(self, rng: np.random.Generator, n: int) -> Floats:
        """n values, (n,) float64."""
        values = np.array(self.draw(rng, n), dtype=np.float64)
        for _ in range(_ROUNDS):
            outside = np.flatnonzero((values < self.low) | (values > self.high))
            if outside.size == 0:
                return values
            values[outside] = self.draw(rng, outside.size)
        raise NetworkError(
            f"{outside.size} of {n} values still lie outside [{self.low}, {self.high}] after {_ROUNDS} drawings. "
            "Choose bounds that the distribution meets."
        )


def normal(mean: float, sd: float, low: float = -np.inf, high: float = np.inf) -> Truncated:
    """The normal distribution cut to [low, high]."""
    return Truncated(lambda rng, n: rng.normal(mean, sd, n), low, high)
