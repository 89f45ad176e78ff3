"""The one exchange of a window: every rank's spikes to all ranks.

A slot of fixed size for the number of spikes and the first of them goes by one message; where some rank has more, which
all see, a second one brings all. The union is the same on every rank, and so is the list that it is sorted into.
"""

from __future__ import annotations

import time

import numpy as np

from evsim._kernels.window.arrays import WindowSpikes
from evsim._kernels.window.windows import take_window
from evsim.ranks.protocol import Communicator
from evsim.types import Floats

SLOT = 170
"""Spikes of a rank in the first message: about 4 kB."""


class Exchange:
    """The exchange of windows, and what it has cost: windows, messages and bytes that this rank sent, seconds."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._slot = np.zeros((SLOT + 1, 3))
        self._slots = np.zeros((comm.size, SLOT + 1, 3))
        self.windows = self.messages = self.bytes = 0
        self.seconds = 0.0

    def spikes(self, window: WindowSpikes) -> Floats:
        """Spikes of all ranks in a window, (n, 3): time, source, current. Those of this rank are taken out of it."""
        began = time.perf_counter()
        n = take_window(window, self._slot[1:])
        self._slot[0, 0] = n
        self._comm.equal(self._slot, self._slots)
        counts = self._slots[:, 0, 0].astype(np.int64).tolist()
        self.windows += 1
        self.messages += 1
        self.bytes += self._slot.nbytes
        if max(counts) <= SLOT:
            rows = [slot[1 : n + 1] for slot, n in zip(self._slots, counts)]
        else:
            mine = np.empty((n, 3))
            take_window(window, mine)
            rows = self._comm.unequal(mine)
            self.messages += 1
            self.bytes += mine.nbytes
        window.n[:] = 0
        union = np.concatenate(rows)
        self.seconds += time.perf_counter() - began
        return union
