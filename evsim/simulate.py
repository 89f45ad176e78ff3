"""Simulate a declared network: check once at the door, choose a driver, wrap its spikes.

Drivers: ``queue`` runs everything; ``window`` runs networks whose neurons have one set of time constants per
population and delays > 0 between them; ``sweep`` runs feed-forward networks layer by layer, where each projection
has one delay. All give the same spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import numpy as np
from numpy.typing import ArrayLike

from evsim.connect import dense_weights, expected_synapses, single_delay
from evsim.errors import NetworkError, warn_of_grazing
from evsim.network import Network
from evsim.recording import Recording
from evsim.simulation import Simulation, check_inputs
from evsim.sweep import pack_layer, run_layer, sweepable
from evsim.types import Floats, SpikeTrains

DRIVERS = ("auto", "queue", "window", "sweep")


def simulate(
    network: Network,
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
    seed : of random connectivity and Poisson drive
    threads : used by the sweep and the window driver; the result does not depend on it
    driver : "auto", "queue" (any network), "window" (delays > 0 between neurons) or "sweep" (feed-forward)
    record : population name -> neuron numbers whose spikes are kept; populations not named are kept whole
    progress : called with the time reached, ms; not by the sweep

    Raises
    ------
    ValueError : t_stop not finite and > 0, inputs missing, unknown, of the wrong size or before 0 ms
    NetworkError : a zero-delay cycle of delta synapses; a driver for a network it cannot run; too little memory
    """
    if not (np.isfinite(t_stop) and t_stop > 0):
        raise ValueError(f"t_stop must be finite and > 0 ms; got {t_stop}.")
    if threads < 1:
        raise ValueError(f"threads must be >= 1; got {threads}.")
    if driver not in DRIVERS:
        raise ValueError(f"driver must be one of {', '.join(DRIVERS)}; got {driver!r}.")
    if not network.populations:
        raise NetworkError("the network has no population to simulate; add one with add_population.")
    trains = dict(inputs or {})
    check_inputs(network, trains, 0.0)
    for name in network.inputs:
        if name not in trains:
            raise ValueError(f"no spikes were given for input {name!r}; pass inputs={{{name!r}: SpikeTrains}}.")
    order, why_not = _sweep_order(network)
    if driver == "sweep" and why_not:
        raise NetworkError(f"driver 'sweep' cannot run this network: {why_not}. Use driver='queue'.")
    if driver != "sweep" and (driver != "auto" or why_not or record or not _mostly_dense(network)):
        simulation = Simulation(network, seed=seed, threads=threads, driver=driver, record=record)
        return simulation.advance(t_stop, trains, progress=progress)
    recording = _sweep(network, t_stop, trains, order, seed, threads)
    warn_of_grazing(recording.grazing)
    return recording


def run(
    network: Network,
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
    if not (np.isfinite(chunk) and chunk > 0 and np.isfinite(t_stop) and t_stop > 0):
        raise ValueError(f"chunk and t_stop must be finite and > 0 ms; got {chunk} and {t_stop}.")
    simulation = Simulation(network, seed=seed, threads=threads, driver=driver, record=record)
    n_chunks = int(np.ceil(t_stop / chunk))
    given = inputs
    for k in range(n_chunks):
        stop = min((k + 1) * chunk, t_stop)
        if stop > simulation.time:
            yield simulation.advance_to(stop, given)
            given = None


def _sweep_order(network: Network) -> tuple[list[str], str]:
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


def _mostly_dense(network: Network) -> bool:
    for p in network.projections:
        n_pre, n_post = network.size_of(p.source), network.size_of(p.target)
        if expected_synapses(p, n_pre, n_post) < 0.2 * n_pre * n_post:
            return False
    return True


def _sweep(
    network: Network, t_stop: float, trains: dict[str, SpikeTrains], order: list[str], seed: int, threads: int
) -> Recording:
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
        out = run_layer(layer, t[use], s[use], t_stop, threads)
        spikes[name] = SpikeTrains(out.times, out.neurons, population.size)
        currents[name] = out.currents
        grazing += out.grazing
        events += use.size * population.size
    ordered = {name: spikes[name] for name in network.populations}
    return Recording(ordered, t_stop, trains, currents, network, "sweep", seed, events, grazing)
