"""What a simulation returns: exact spike times of every population, and voltages on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from evsim.checks import whole
from evsim.description.network import NetworkDescription
from evsim.errors import InputError
from evsim.spikes import SpikeTrains
from evsim.synapses.sampling import Synapses, sample_synapses
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class Recording(Mapping[str, SpikeTrains]):
    """Spikes by population: ``rec["out"].times``, ``.neurons``, ``.counts()``; ms, ascending.

    network : as it was when it was simulated; it cannot be changed
    t_stop, t_start : the simulated interval [t_start, t_stop), ms
    inputs : the spikes that were fed in
    currents : total synaptic current at each spike, by population, threshold units
    driver : which engine ran; seed : of random connectivity and Poisson drive; cell : of the drive, ms
    synaptic_events : spikes delivered to synapses (the window engine counts a cell of time once it is complete: what
        arrived in the cell of t_stop is counted in the next chunk); grazing : peaks within 1e-12 of threshold
    complete : all neurons were recorded
    weights : of plastic projections at t_stop, by the number that ``connect`` gave; see ``synapses``
    """

    spikes: dict[str, SpikeTrains]
    t_stop: float
    inputs: dict[str, SpikeTrains]
    currents: dict[str, Floats]
    network: NetworkDescription
    driver: str
    seed: int
    synaptic_events: int
    grazing: int
    t_start: float = 0.0
    cell: float = 0.0
    complete: bool = True
    weights: dict[int, Floats] = field(default_factory=dict)

    def __getitem__(self, name: str) -> SpikeTrains:
        if name not in self.spikes:
            raise KeyError(f"no population {name!r} was recorded; there are {', '.join(self.spikes)}.")
        return self.spikes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.spikes)

    def __len__(self) -> int:
        return len(self.spikes)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {len(x):,} spikes of {x.size:,} neurons" for name, x in self.spikes.items())
        part = "" if self.complete else ", some neurons only"
        return f"Recording([{self.t_start:g}, {self.t_stop:g}) ms by {self.driver!r}; {shown}{part})"

    def synapses(self, number: int) -> Synapses:
        """Synapses of a projection by the number that ``connect`` gave: pre, post, weight at t_stop, delay (ms)."""
        if not 0 <= whole("number", number) < len(self.network.projections):
            raise InputError(f"projections are 0 ... {len(self.network.projections) - 1}; got {number}.")
        p = self.network.projections[number]
        s = sample_synapses(p, number, self.network.size_of(p.source), self.network.size_of(p.target), self.seed)
        return replace(s, weight=self.weights.get(number, s.weight))

    def voltage(self, population: str, neuron: int | ArrayLike, times: ArrayLike) -> Floats:
        """Membrane potential of one neuron, or of several, at any instants, from the closed form.

        neuron : its number, or (n,) numbers, which are replayed together: that is faster than one by one
        times : ms, any shape and order, within [0, t_stop]

        Returned in the order of the times, for several neurons a row each: the left limit v(t-), and v_th at the
        neuron's own spikes.

        Raises
        ------
        KeyError, IndexError : a population or neuron that does not exist
        ValueError : instants outside, a chunk that does not begin at 0 (``evsim.join`` the chunks first), or neurons
            that were not recorded
        """
        from evsim.results.voltage import Run, voltage

        self[population]
        if self.t_start > 0.0:
            raise InputError(
                f"voltages are replayed from 0 ms, but this chunk begins at {self.t_start} ms; join the chunks first "
                "(evsim.join)."
            )
        if not self.complete:
            raise InputError("voltages are replayed from all spikes, but not all were recorded; leave out record=.")
        run = Run(self.network, {**self.spikes, **self.inputs}, self.seed, self.t_stop, self.cell)
        return voltage(run, population, neuron, times)


def join(chunks: Sequence[Recording]) -> Recording:
    """One recording of chunks that follow each other, as ``Network.run`` gives them.

    Raises ValueError : no chunks, a gap between two, or chunks of different runs.
    """
    if not chunks:
        raise InputError("there are no chunks to join; pass those of one run, in order.")
    for a, b in pairwise(chunks):
        if a.t_stop != b.t_start:
            raise InputError(
                f"a chunk ends at {a.t_stop} ms, but the next begins at {b.t_start} ms; pass all, in order."
            )
        if _run_of(a) != _run_of(b):
            raise InputError(
                "these are not chunks of one run: their populations, inputs, seed or driver differ. Pass those of one "
                "simulation, in order."
            )
    return replace(
        chunks[0],
        t_stop=chunks[-1].t_stop,
        spikes={name: _joined([c[name] for c in chunks]) for name in chunks[0]},
        inputs={name: _joined([c.inputs[name] for c in chunks]) for name in chunks[0].inputs},
        currents={name: np.concatenate([c.currents[name] for c in chunks]) for name in chunks[0]},
        synaptic_events=sum(c.synaptic_events for c in chunks),
        grazing=sum(c.grazing for c in chunks),
        complete=all(c.complete for c in chunks),
        weights=chunks[-1].weights,
    )


def _run_of(rec: Recording) -> tuple[object, ...]:
    sizes = {name: train.size for name, train in (*rec.spikes.items(), *rec.inputs.items())}
    return sizes, rec.seed, rec.driver, rec.cell


def _joined(trains: Sequence[SpikeTrains]) -> SpikeTrains:
    return SpikeTrains(
        np.concatenate([t.times for t in trains]), np.concatenate([t.neurons for t in trains]), trains[0].size
    )
