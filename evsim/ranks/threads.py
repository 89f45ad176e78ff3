"""Ranks that are threads of one process, for tests without a launcher."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np

T = TypeVar("T")


class _Board:
    """What the ranks of a group share. barrier : broken as soon as one of them fails"""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.values: list[Any] = [None] * size


class ThreadRank:
    """A rank of a group of threads; see ``over_thread_ranks``."""

    def __init__(self, rank: int, size: int, board: _Board) -> None:
        self.rank, self.size, self._board = rank, size, board

    def objects(self, value: Any) -> list[Any]:
        board = self._board
        board.values[self.rank] = value
        board.barrier.wait()
        values = list(board.values)
        # Nobody writes again before all have read.
        board.barrier.wait()
        return values

    def first(self, value: Any) -> Any:
        return self.objects(value)[0]

    def equal(self, mine: np.ndarray, all_ranks: np.ndarray) -> None:
        all_ranks[:] = self.objects(mine.copy())

    def unequal(self, mine: np.ndarray) -> list[np.ndarray]:
        return self.objects(mine.copy())

    def swapped(self, to: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [given[self.rank] for given in self.objects([a.copy() for a in to])]

    def all_fail(self, seconds: float) -> bool:
        return False

    def abort(self) -> NoReturn:
        self._board.barrier.abort()
        raise SystemExit(1)


def over_thread_ranks(size: int, work: Callable[[ThreadRank], T]) -> list[T]:
    """Results of ``work(rank)`` on ``size`` threads. Raises what one of them raises first; then the others end too."""
    board = _Board(size)
    results: list[Any] = [None] * size
    failures: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRank(rank, size, board))
        except threading.BrokenBarrierError:
            pass  # another one has failed
        except BaseException as failure:
            failures.append(failure)
            board.barrier.abort()

    threads = [threading.Thread(target=run, args=(k,), name=f"rank-{k}") for k in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results
