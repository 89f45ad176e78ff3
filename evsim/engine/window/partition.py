"""Which rank owns which blocks of neurons: stretches of blocks whose expected work is as equal as whole blocks allow.

It follows from the declared network and the number of ranks alone; no result depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsim.description.network import NetworkDescription
from evsim.description.projections import expected_synapses
from evsim.engine.cells import NOMINAL_RATE
from evsim.types import Floats

_OF_A_NEURON = 1.0
"""Work on a neuron that no event reaches, in events a ms."""


@dataclass(frozen=True, eq=False)
class Part:
    """What each rank owns: stretches of blocks, neurons and bundles, (ranks + 1,) cuts each. rank : this one"""

    block_cuts: np.ndarray
    neuron_cuts: np.ndarray
    bundle_cuts: np.ndarray
    rank: int

    @property
    def blocks(self) -> slice:
        """Of this rank, among all."""
        return self._of_rank(self.block_cuts)

    @property
    def neurons(self) -> slice:
        """Of this rank, among all."""
        return self._of_rank(self.neuron_cuts)

    @property
    def bundles(self) -> slice:
        """Of this rank, among all."""
        return self._of_rank(self.bundle_cuts)

    def _of_rank(self, cuts: np.ndarray) -> slice:
        return slice(int(cuts[self.rank]), int(cuts[self.rank + 1]))


def work_of_blocks(network: NetworkDescription, population: np.ndarray, begin: np.ndarray, width: np.ndarray) -> Floats:
    """Expected events a ms of each block, (n_blocks,), with what its neurons take without any.

    population : (n_blocks,) number of a block's population; begin : its first neuron there; width : its neurons
    """
    work = np.zeros(width.size)
    for k, (name, p) in enumerate(network.populations.items()):
        projections = [x for x in network.projections if x.target == name]
        synapses = sum(expected_synapses(x, network.size_of(x.source), p.size) for x in projections)
        each = np.full(p.size, _OF_A_NEURON + synapses / p.size * NOMINAL_RATE / 1000.0)
        for drive in network.drives:
            if drive.target == name:
                each += drive.highest(p.size) / 1000.0
        total = np.append(0.0, np.cumsum(each))
        of = population == k
        work[of] = total[begin[of] + width[of]] - total[begin[of]]
    return work


def cuts_of_ranks(work: Floats, ranks: int) -> np.ndarray:
    """Rank r owns the blocks ``cuts[r]:cuts[r + 1]``; none where there are fewer blocks than ranks. (ranks + 1,)"""
    before = np.append(0.0, np.cumsum(work))
    wanted = before[-1] * np.arange(1, ranks) / ranks
    after = np.clip(np.searchsorted(before, wanted), 1, before.size - 1)
    nearer = wanted - before[after - 1] < before[after] - wanted
    return np.concatenate([[0], after - nearer, [work.size]]).astype(np.int64)
