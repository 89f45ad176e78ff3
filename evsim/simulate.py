"""Simulate a declared network in one piece, or in chunks: see ``engine/simulation`` for what both are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evsim.checks import number
from evsim.description.network import NetworkDescription
from evsim.engine.simulation import Simulation
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains


def simulate(
    network: NetworkDescription,
    t_stop: float,
    inputs: Mapping[str, SpikeTrains] | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    driver: str = "auto",
    record: Mapping[str, ArrayLike] | None = None,
    comm: Any = None,
    progress: Callable[[float], None] | None = None,
) -> Recording:
    """Simulate [0, t_stop) ms.

    Parameters
    ----------
    inputs : spikes of every declared input, at times >= 0; those at or after t_stop are not used
    seed : integer >= 0, of random connectivity and Poisson drive
    threads : used by the sweep and the window engine; the result does not depend on it
    driver : "auto", "queue" (any network), "window" (delays > 0 between neurons) or "sweep" (feed-forward)
    record : population name -> neuron numbers whose spikes are kept; populations not named are kept whole
    comm : a communicator of mpi4py (MPI.COMM_WORLD) whose ranks share the network; see docs/clusters.md
    progress : called with the time reached, ms; by the sweep once, at the end

    Raises
    ------
    ValueError : t_stop not finite and > 0, inputs missing, unknown, of the wrong size or before 0 ms
    NetworkError : a zero-delay cycle of delta synapses; an engine for a network it cannot run; too little memory
    """
    t_stop = number("t_stop", t_stop, unit="ms", above=0.0)
    simulation = Simulation(network, seed=seed, threads=threads, driver=driver, record=record, once=True, comm=comm)
    return simulation.advance(t_stop, inputs, progress=progress)


def run(
    network: NetworkDescription,
    t_stop: float,
    chunk: float,
    inputs: Mapping[str, SpikeTrains] | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    driver: str = "auto",
    record: Mapping[str, ArrayLike] | None = None,
    comm: Any = None,
) -> Iterator[Recording]:
    """Simulate [0, t_stop) ms in chunks, as they are asked for; together they are what ``simulate`` gives.

    chunk : length of a chunk, ms. Other parameters and errors: see ``simulate``.
    """
    t_stop = number("t_stop", t_stop, unit="ms", above=0.0)
    chunk = number("chunk", chunk, unit="ms", above=0.0)
    simulation = Simulation(network, seed=seed, threads=threads, driver=driver, record=record, comm=comm)
    n_chunks = int(np.ceil(t_stop / chunk))
    given = inputs
    for k in range(n_chunks):
        stop = min((k + 1) * chunk, t_stop)
        if stop > simulation.time:
            yield simulation.advance_to(stop, given)
            given = None
