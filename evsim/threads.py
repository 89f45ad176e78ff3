"""Threads: an ordered map whose result never depends on how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any


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
        with ThreadPoolExecutor(threads) as executor:
            yield executor.map
