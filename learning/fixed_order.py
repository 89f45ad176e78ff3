"""Sums over the samples of a batch that come out the same for any number of threads and of ranks.

A batch is halved, and its halves again, down to stretches of a few samples; where it is cut depends on the number of
samples alone. A stretch is summed sample by sample, and a half is what its two halves give, added. So the sum of a half
is the same number, bit for bit, whether it is taken by itself or on the way to the sum of the batch: whoever has the
sums of some halves (a thread, a rank) hands them on, and whoever adds them gets what one process gets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import numpy as np

from evsim.threads import workers
from evsim.types import Floats

LEAST = 4
"""Samples of the shortest stretch: fewer, and making and adding sums of large layers costs more than the samples."""

Part = tuple[int, int]
"""Samples ``first`` ... ``last - 1``: a stretch, or a half of which stretches are parts."""

K = TypeVar("K")
T = TypeVar("T")


def halves(part: Part) -> tuple[Part, Part] | None:
    """The two halves of a part, None of a stretch."""
    first, last = part
    if last - first < 2 * LEAST:
        return None
    middle = first + (last - first) // 2
    return (first, middle), (middle, last)


@lru_cache(maxsize=1024)
def stretches(part: Part, most: int = 0) -> tuple[Part, ...]:
    """The stretches of a part, in order; with ``most``, halves that have at most so many samples are not cut."""
    two = None if part[1] - part[0] <= most else halves(part)
    return (part,) if two is None else (*stretches(two[0], most), *stretches(two[1], most))


def largest_parts(part: Part, run: Part) -> list[Part]:
    """The fewest parts of ``part`` that make up ``run``, which begins and ends where stretches do; in order."""
    if run[0] >= run[1] or part[1] <= run[0] or run[1] <= part[0]:
        return []
    two = halves(part)
    if two is None or (run[0] <= part[0] and part[1] <= run[1]):
        return [part]
    return [*largest_parts(two[0], run), *largest_parts(two[1], run)]


def merges(n: int) -> np.ndarray:
    """After each stretch of n samples, how many times the last two sums are added into one; (stretches,)."""
    counts: list[int] = []

    def walk(part: Part) -> None:
        two = halves(part)
        if two is None:
            counts.append(0)
            return
        walk(two[0])
        walk(two[1])
        counts[-1] += 1

    walk((0, n))
    return np.array(counts)


def borders(n: int) -> np.ndarray:
    """Borders of the stretches of n samples, (stretches + 1,)."""
    return np.array([0, *(last for _, last in stretches((0, n)))])


def summed(part: Part, of: Callable[[Part], T | None], add: Callable[[T, T], T]) -> T:
    """The sum of a part. of : gives the sums that are known, else None; asked from the first sample on

    Raises LookupError : the sum of a stretch is not known.
    """
    known = of(part)
    if known is not None:
        return known
    two = halves(part)
    if two is None:
        raise LookupError(f"nobody has the sum of samples {part}.")
    return add(summed(two[0], of, add), summed(two[1], of, add))


def total(n: int, of_stretch: Callable[[int, int], dict[str, Floats]], threads: int = 1) -> dict[str, Floats]:
    """Sums over n samples by name, from those of each stretch, ``of_stretch(first, last)``: fresh arrays, added to.

    As many sums are held at once as a batch can be halved, and a few for each thread.
    """
    whole = (0, n)
    parts = [whole]
    while len(parts) < 2 * threads and threads > 1:
        finer = [half for part in parts for half in (halves(part) or (part,))]
        if len(finer) == len(parts):
            break
        parts = finer

    def one(part: Part) -> dict[str, Floats]:
        return summed(part, lambda p: None if halves(p) else of_stretch(*p), added)

    with workers(threads) as pool:
        results = iter(pool(one, parts))
        first = set(parts)
        return summed(whole, lambda p: next(results) if p in first else None, added)


def added(a: dict[K, Floats], b: dict[K, Floats]) -> dict[K, Floats]:
    """a + b by name, in the arrays of ``a``."""
    for name, values in b.items():
        a[name] += values
    return a


def stretches_times(a: Floats, b: Floats) -> Floats:
    """a @ b, (n, k) by (k, m), stretch by stretch: faster than ``rows_times``, of whole stretches the same bits."""
    return np.concatenate([a[first:last] @ b for first, last in stretches((0, len(a)))])


def rows_times(a: Floats, b: Floats) -> Floats:
    """a @ b, (n, k) by (k, m), in which no row depends on how many others there are, as it does in BLAS."""
    product: Floats = (a[:, None, :] @ b)[:, 0]
    return product
