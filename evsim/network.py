"""A network that its user declares and simulates: the one noun that knows verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import ArrayLike

from evsim.description.network import NetworkDescription
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains


class Network(NetworkDescription):
    """Inputs, populations and projections, to be declared and then simulated."""

    def simulate(
        self,
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
        """Simulate [0, t_stop) ms and return all spikes.

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
        ValueError : t_stop not finite and > 0, inputs missing, unknown, of the wrong size or before 0 ms, an option
            out of its range
        NetworkError : a zero-delay cycle of delta synapses; an engine for a network it cannot run; too little memory
        """
        from evsim.simulate import simulate

        return simulate(
            self, t_stop, inputs, seed=seed, threads=threads, driver=driver, record=record, comm=comm,
            progress=progress,
        )  # fmt: skip

    def run(
        self,
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
        """Simulate [0, t_stop) ms in chunks of ``chunk`` ms, as they are asked for; together they are ``simulate``'s.

        Parameters and errors are those of ``simulate``; there is no engine "sweep", and no progress, which
        the chunks show.
        """
        from evsim.simulate import run

        return run(self, t_stop, chunk, inputs, seed=seed, threads=threads, driver=driver, record=record, comm=comm)
