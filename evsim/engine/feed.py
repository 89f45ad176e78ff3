"""What a simulation hands to its engine: further input spikes, so that they are taken once, however often handed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evsim.types import Floats


class Feed(NamedTuple):
    """Spikes of inputs. number : counts the feeds of a simulation from 1; an engine takes each number once.

    times : (n,) ms, ordered or not; sources : (n,) int64, counted over all inputs
    """

    number: int
    times: Floats
    sources: np.ndarray


NOTHING = Feed(0, np.empty(0), np.empty(0, np.int64))
