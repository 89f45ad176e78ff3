"""Memory that a test measures."""

import gc
import tracemalloc
from collections.abc import Callable


def peak(work: Callable[[], object]) -> int:
    """Most memory that the work held at once beyond what was there before it, bytes.

    It is run twice before, without a collection since: CPython keeps freed tuples for later, up to 2000 of each length,
    and a call that makes one from an iterator, or hands one to a kernel, adds to them until they are as many.
    """
    gc.collect()
    gc.disable()
    try:
        for length in range(1, 20):
            tuples = [tuple([None] * length) for _ in range(2000)]
            del tuples
        tracemalloc.start()
        work()
        work()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        gc.enable()
