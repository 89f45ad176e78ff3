"""What a simulation asks of an engine. Three implement it: queue, window and sweep."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from evsim.engine.feed import Feed
from evsim.types import Floats


class Engine(Protocol):
    """A network being simulated: ``run_to`` carries it on, ``spikes`` tells what it emitted.

    name : as in ``driver=``
    c : length of a cell of time, ms, by which drives are drawn; 0 where there are none
    pause : ms; at multiples of it a run may best pause
    n_inputs, n_synapses : of the network; offset : by name, the number of the first source of an input or a population,
        inputs first
    events, grazing : synaptic events, those of drives among them, and peaks within 1e-12 of threshold, so far
    """

    name: str
    c: float
    pause: float
    n_inputs: int
    n_synapses: int
    offset: dict[str, int]

    @property
    def events(self) -> int: ...

    @property
    def grazing(self) -> int: ...

    def run_to(self, stop: float, feed: Feed, returned: float) -> None:
        """Carry on to ``stop`` ms; interrupted, by any exception, it can be called again and goes on.

        feed : inputs to take before, at or after the time reached; returned : spikes before it were asked for, and
        need not be kept, ms
        """

    def spikes(self, since: float, until: float) -> tuple[Floats, np.ndarray, Floats]:
        """Times, neurons counted over all populations, and currents of the spikes of [since, until) ms; those of a
        population are ordered by (time, neuron)."""

    def weights(self) -> dict[int, Floats]:
        """Present weights of the plastic projections, by their number."""

    def state(self) -> dict[str, Any]:
        """Arrays and numbers to continue from."""

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Continue from what ``state`` gave at ``time`` ms. Raises ValueError : no state of this network."""
