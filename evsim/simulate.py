"""Simulate a declared network: check once at the door, choose a driver, wrap its spikes.

Drivers: ``queue`` runs everything; ``window`` runs networks whose neurons have one set of time constants per
population and delays > 0 between them; ``sweep`` runs feed-forward networks layer by layer, where each projection
has one delay. All give the same spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evsim.checks import number
from evsim.description.network import NetworkDescription
from evsim.description.projections import expected_synapses, single_delay
from evsim.description.snapshot import take_snapshot
from evsim.engine.door import check_options, checked_inputs, recorded_neurons
from evsim.engine.simulation import Simulation
from evsim.engine.sweep.layers import pack_layer, run_layer, sweepable
from evsim.errors import InputError, NetworkError, warn_of_grazing
from evsim.memory import NEURON_BYTES, check_memory, free_memory
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains
from evsim.synapses.sampling import dense_weights
from evsim.types import Floats

_LARGE = 2.0**26
"""Bytes that are asked for before they are taken."""

DRIVERS = ("auto", "queue", "window", "sweep")


def simulate(
    network: NetworkDescription,
    t_stop: float,
    inputs: Mapping[str, SpikeTrains] | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    driver: str = "auto",
    record: Mapping[str, ArrayLike] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Recording:
    """Simulate [0, t_stop) ms.

    Parameters
    ----------
    inputs : spikes of every declared input, at times >= 0; those at or after t_stop are not used
    seed : integer >= 0, of random connectivity and Poisson drive
    threads : used by the sweep and the window driver; the result does not depend on it
    driver : "auto", "queue" (any network), "window" (delays > 0 between neurons) or "sweep" (feed-forward)
    record : population name -> neuron numbers whose spikes are kept; populations not named are kept whole
    progress : called with the time reached, ms; by the sweep once, at the end

    Raises
    ------
    ValueError : t_stop not finite and > 0, inputs missing, unknown, of the wrong size or before 0 ms
    NetworkError : a zero-delay cycle of delta synapses; a driver for a network it cannot run; too little memory
    """
    t_stop = number("t_stop", t_stop, unit="ms", above=0.0)
    check_options(seed, threads, driver, DRIVERS)
    if not network.populations:
        raise NetworkError("the network has no population to simulate; add one with add_population.")
    network = take_snapshot(network)
    trains = checked_inputs(network, inputs, 0.0)
    for name in network.inputs:
        if name not in trains:
            raise InputError(f"no spikes were given for input {name!r}; pass inputs={{{name!r}: SpikeTrains}}.")
    kept = recorded_neurons(network, record)
    order, why_not = _sweep_order(network)
    if driver == "sweep" and why_not:
        raise NetworkError(f"driver 'sweep' cannot run this network: {why_not}. Use driver='queue'.")
    need = 0.0 if why_not else _sweep_bytes(network)
    large = need > _LARGE
    if driver != "sweep" and (
        driver != "auto" or why_not or not _mostly_dense(network) or (large and need > free_memory())
    ):
        simulation = Simulation(network, seed=seed, threads=threads, driver=driver, record=record)
        return simulation.advance(t_stop, trains, progress=progress)
    if large:
        check_memory(need, "the sweep, which keeps whole matrices of weights,")
    recording = _only(kept, _sweep(network, t_stop, trains, order, int(seed), int(threads)))
    if progress is not None:
        progress(t_stop)
    warn_of_grazing(recording.grazing)
    return recording


def _only(kept: Mapping[str, NDArray[np.bool_]], rec: Recording) -> Recording:
    """The recording of some neurons; ``kept`` : (size,) bool by population."""
    spikes, currents = dict(rec.spikes), dict(rec.currents)
    for name, chosen in kept.items():
        train = spikes[name]
        mine = chosen[train.neurons]
        spikes[name] = SpikeTrains.owning(train.times[mine], train.neurons[mine], train.size)
        currents[name] = currents[name][mine]
    return replace(rec, spikes=spikes, currents=currents, complete=not kept)


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
) -> Iterator[Recording]:
    """Simulate [0, t_stop) ms in chunks, as they are asked for; together they are what ``simulate`` gives.

    chunk : length of a chunk, ms. Other parameters and errors: see ``simulate``.
    """
    t_stop = number("t_stop", t_stop, unit="ms", above=0.0)
    chunk = number("chunk", chunk, unit="ms", above=0.0)
    simulation = Simulation(network, seed=seed, threads=threads, driver=driver, record=record)
    n_chunks = int(np.ceil(t_stop / chunk))
    given = inputs
    for k in range(n_chunks):
        stop = min((k + 1) * chunk, t_stop)
        if stop > simulation.time:
            yield simulation.advance_to(stop, given)
            given = None


def _sweep_order(network: NetworkDescription) -> tuple[list[str], str]:
    """Populations from first to last layer, and what forbids a sweep ("" if nothing does)."""
    graph: dict[str, set[str]] = {name: set() for name in network.populations}
    if network.drives:
        return [], "it has Poisson drives"
    for p in network.projections:
        if p.plasticity is not None:
            return [], f"the projection {p.source!r} to {p.target!r} is plastic"
        if p.source in graph:
            graph[p.target].add(p.source)
        if single_delay(p) is None:
            return [], f"the projection {p.source!r} to {p.target!r} has several delays"
    for name, population in network.populations.items():
        if not sweepable(population.neuron):
            return [], f"the neurons of {name!r} have different time constants"
    try:
        return list(TopologicalSorter(graph).static_order()), ""
    except CycleError:
        return [], "it is recurrent"


def _mostly_dense(network: NetworkDescription) -> bool:
    for p in network.projections:
        n_pre, n_post = network.size_of(p.source), network.size_of(p.target)
        if expected_synapses(p, n_pre, n_post) < 0.2 * n_pre * n_post:
            return False
    return True


def _sweep_bytes(network: NetworkDescription) -> float:
    """At the worst moment of the sweep: the weights of one population three times, and what its neurons take."""
    return max(
        (NEURON_BYTES + 24.0 * sum(network.size_of(p.source) for p in network.projections if p.target == name)) * n
        for name, n in ((name, population.size) for name, population in network.populations.items())
    )


def _sweep(
    network: NetworkDescription, t_stop: float, trains: dict[str, SpikeTrains], order: list[str], seed: int,
    threads: int,
) -> Recording:  # fmt: skip
    spikes: dict[str, SpikeTrains] = {}
    currents: dict[str, Floats] = {}
    grazing = events = 0
    for name in order:
        population = network.populations[name]
        weights, times, sources = [np.empty((0, population.size))], [np.empty(0)], [np.empty(0, np.int32)]
        n_pre = 0
        for k, p in enumerate(network.projections):
            if p.target != name:
                continue
            train = trains[p.source] if p.source in trains else spikes[p.source]
            receptors = len(population.neuron.receptor_taus())
            delay = single_delay(p)
            assert delay is not None
            for weight in dense_weights(p, k, train.size, population.size, seed, receptors):
                weights.append(weight)
                times.append(train.times + delay)
                sources.append(train.neurons + np.int32(n_pre))
                n_pre += train.size
        t, s = np.concatenate(times), np.concatenate(sources)
        use = np.lexsort((s, t))
        use = use[t[use] < t_stop]
        layer = pack_layer(np.concatenate(weights), population.neuron)
        out = run_layer(layer, t[use], s[use], t_stop, threads, repr(name))
        spikes[name] = SpikeTrains(out.times, out.neurons, population.size)
        currents[name] = out.currents
        grazing += out.grazing
        events += use.size * population.size
    ordered = {name: spikes[name] for name in network.populations}
    return Recording(ordered, t_stop, trains, currents, network, "sweep", seed, events, grazing)
