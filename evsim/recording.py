"""What a simulation returns: exact spike times of every population, and voltages on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evsim.network import Network
from evsim.types import Floats, SpikeTrains


@dataclass(frozen=True, eq=False)
class Recording(Mapping[str, SpikeTrains]):
    """Spikes by population: ``rec["out"].times``, ``.neurons``, ``.counts()``; ms, ascending.

    t_stop : end of the simulated interval [0, t_stop), ms
    inputs : the spikes that were fed in
    currents : total synaptic current at each spike, by population, threshold units
    driver : which engine ran; seed : of random connectivity
    synaptic_events : spikes delivered to synapses; grazing : peaks within 1e-12 of threshold
    """

    spikes: dict[str, SpikeTrains]
    t_stop: float
    inputs: dict[str, SpikeTrains]
    currents: dict[str, Floats]
    network: Network
    driver: str
    seed: int
    synaptic_events: int
    grazing: int

    def __getitem__(self, name: str) -> SpikeTrains:
        if name not in self.spikes:
            raise KeyError(f"no population {name!r} was recorded; there are {', '.join(self.spikes)}.")
        return self.spikes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.spikes)

    def __len__(self) -> int:
        return len(self.spikes)

    def voltage(self, population: str, neuron: int, times: ArrayLike) -> Floats:
        """Membrane potential of one neuron at any instants, from the closed form.

        times : ms, any order, within [0, t_stop]. Returned in the same order: the left limit v(t-), and
        v_th at the neuron's own spikes.
        """
        from evsim.voltage import voltage

        return voltage(self, population, neuron, np.asarray(times, dtype=np.float64))
