"""Threads: an ordered map whose result never depends on how many there are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from evsim.errors import InputError

T = TypeVar("T")

_FIRST_STRETCH, _STRETCH_SECONDS = 64, 0.25


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
        raise InputError(f"threads must be >= 1; got {threads}.")
    if threads == 1:
        yield map
    else:
        yield _executor(threads).map


_here = threading.local()


def check_halt() -> None:
    """To be called now and then by work within ``over_parts``: ends it where the whole has been interrupted."""
    halt = getattr(_here, "halt", None)
    if halt is not None and halt.is_set():
        raise CancelledError


def over_parts(work: Callable[[int, int], T], cuts: Sequence[int], threads: int) -> list[T]:
    """Results of ``work(first, last)`` between successive cuts, in order.

    Where one fails, or the whole is interrupted, the others end at their next ``check_halt``.
    """
    if threads == 1:
        return [work(first, last) for first, last in pairwise(cuts)]
    halt = threading.Event()
    failures: list[BaseException] = []

    def part(first: int, last: int) -> T:
        _here.halt = halt
        try:
            check_halt()
            return work(first, last)
        except CancelledError:
            raise
        except BaseException as failure:
            # At once: results are asked for in order, so that those of earlier parts would be waited for.
            failures.append(failure)
            halt.set()
            raise
        finally:
            _here.halt = None

    with workers(threads) as pool:
        try:
            return list(pool(part, cuts[:-1], cuts[1:]))
        except CancelledError:
            raise failures[0] from None
        except BaseException:
            halt.set()
            raise


def over_stretches(work: Callable[[int, int], T], n: int, threads: int) -> list[T]:
    """Results of ``work(first, last)`` over stretches that together cover 0 ... n - 1, in order; see ``over_parts``.

    Three stretches a thread even out samples of unequal cost; on one thread a stretch takes about a quarter of a
    second, so that it can be interrupted.
    """
    if threads == 1:
        return _one_after_the_other(work, n)
    return over_parts(work, sorted({n * k // (3 * threads) for k in range(3 * threads + 1)}), threads)


def _one_after_the_other(work: Callable[[int, int], T], n: int) -> list[T]:
    results, first, step = [], 0, _FIRST_STRETCH
    while first < n:
        began = time.perf_counter()
        last = min(n, first + step)
        results.append(work(first, last))
        step = max(1, int((last - first) * min(_STRETCH_SECONDS / (time.perf_counter() - began + 1e-9), 1e6)))
        first = last
    return results
