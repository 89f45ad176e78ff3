"""Memory that a test measures."""

import gc
import tracemalloc
from collections.abc import Callable

RUNS = 5
"""How often ``peaks`` runs each work."""


def peaks(*works: Callable[[], object]) -> list[int]:
    """Most memory that each work held at once beyond what was there before it, bytes: the least of three runs.

    All are run twice before, without a collection since. CPython keeps freed objects for later, of tuples up to 2000 of
    each length; those from before the measurement are replaced by ones that count, fewer and fewer with every call.
    """
    gc.collect()
    gc.disable()
    try:
        for length in range(1, 20):
            tuples = [tuple([None] * length) for _ in range(2000)]
            del tuples
        tracemalloc.start()
        for work in 2 * works:
            work()
        return [min(_peak(work) for _ in range(RUNS - 2)) for work in works]
    finally:
        tracemalloc.stop()
        gc.enable()


def _peak(work: Callable[[], object]) -> int:
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    work()
    return tracemalloc.get_traced_memory()[1] - before
