"""One process: nobody to exchange with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np


class Alone:
    """The communicator of a single process."""

    rank, size = 0, 1

    def objects(self, value: Any) -> list[Any]:
        return [value]

    def first(self, value: Any) -> Any:
        return value

    def equal(self, mine: np.ndarray, all_ranks: np.ndarray) -> None:
        all_ranks[0] = mine

    def unequal(self, mine: np.ndarray) -> list[np.ndarray]:
        return [mine]

    def swapped(self, to: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(to)

    def all_fail(self, seconds: float) -> bool:
        return True

    def abort(self) -> NoReturn:
        raise SystemExit(1)


ALONE = Alone()
