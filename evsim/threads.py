"""Threads: an ordered map whose result never depends on how many there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _executor(threads: int) -> ThreadPoolExecutor:
    # Kept: starting threads takes as long as a small batch.
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.cache_clear)


@contextmanager
def workers(threads: int) -> Iterator[Any]:
    """An ordered ``map`` over ``threads`` threads; plain ``map`` for one. The kernels drop the lock.

    Raises ValueError : threads < 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be >= 1; got {threads}.")
    if threads == 1:
        yield map
    else:
        yield _executor(threads).map


def over_stretches(work: Callable[[int, int], T], n: int, threads: int) -> list[T]:
    """Results of ``work(first, last)`` over stretches that together cover 0 ... n - 1, in order.

    Three stretches a thread even out samples of unequal cost.
    """
    with workers(threads) as pool:
        pieces = 1 if threads == 1 else 3 * threads
        cuts = sorted({n * k // pieces for k in range(pieces + 1)})
        return list(pool(work, cuts[:-1], cuts[1:]))
