"""Sums over the samples of a batch that come out the same for any number of threads.

The samples are cut into stretches that depend on their number alone; each is summed by one thread, and the parts are
added in order.
"""

from __future__ import annotations

import numpy as np

from evsim.types import Floats

_MOST_PARTS, _LEAST_SAMPLES = 8, 8


def borders(n: int) -> np.ndarray:
    """Borders of the stretches of n samples, (parts + 1,)."""
    pieces = min(max(n // _LEAST_SAMPLES, 1), _MOST_PARTS)
    return np.array([n * k // pieces for k in range(pieces + 1)])


def added(parts: Floats) -> Floats:
    """Sum over the first axis, first part first; overwrites it."""
    out = parts[0]
    for part in parts[1:]:
        out += part
    return out
