"""Simulate a declared network: check once at the door, choose a driver, wrap its spikes.

Drivers: ``queue`` runs everything; ``sweep`` runs feed-forward networks layer by layer, where each
projection has one delay and each population one set of time constants. Both give the same spikes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import numpy as np

from evsim.connect import dense_weight, single_delay
from evsim.errors import GrazingWarning, NetworkError
from evsim.network import Network
from evsim.plan import make_plan
from evsim.queue import run_plan
from evsim.recording import Recording
from evsim.sweep import pack_layer, run_layer, sweepable
from evsim.types import Floats, SpikeTrains

DRIVERS = ("auto", "queue", "sweep")


def simulate(
    network: Network,
    t_stop: float,
    inputs: Mapping[str, SpikeTrains] | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    driver: str = "auto",
) -> Recording:
    """Simulate [0, t_stop) ms.

    Parameters
    ----------
    inputs : spikes of every declared input, at times >= 0; those at or after t_stop are not used
    seed : of random connectivity
    threads : used by the sweep; the result does not depend on it
    driver : "auto", "queue" (any network) or "sweep" (feed-forward)

    Raises
    ------
    ValueError : t_stop not finite and > 0, inputs missing, unknown, of the wrong size or before 0 ms
    NetworkError : a zero-delay cycle of delta synapses; driver "sweep" for a network it cannot run
    """
    if not (np.isfinite(t_stop) and t_stop > 0):
        raise ValueError(f"t_stop must be finite and > 0 ms; got {t_stop}.")
    if threads < 1:
        raise ValueError(f"threads must be >= 1; got {threads}.")
    if driver not in DRIVERS:
        raise ValueError(f"driver must be one of {', '.join(DRIVERS)}; got {driver!r}.")
    if not network.populations:
        raise NetworkError("the network has no population to simulate; add one with add_population.")
    trains = _checked_inputs(network, inputs or {})
    order, obstacle = _sweep_order(network)
    if driver == "sweep" and obstacle:
        raise NetworkError(f"driver 'sweep' cannot run this network: {obstacle}. Use driver='queue'.")
    if driver == "sweep" or (driver == "auto" and not obstacle and _mostly_dense(network)):
        recording = _sweep(network, t_stop, trains, order, seed, threads)
    else:
        recording = _queue(network, t_stop, trains, seed)
    if recording.grazing:
        warnings.warn(
            f"{recording.grazing} peaks came within 1e-12 (relative) of threshold; whether these neurons "
            "spike cannot be decided in float64.",
            GrazingWarning,
            stacklevel=3,
        )
    return recording


def _checked_inputs(network: Network, inputs: Mapping[str, SpikeTrains]) -> dict[str, SpikeTrains]:
    for name in inputs:
        if name not in network.inputs:
            raise ValueError(f"spikes were given for {name!r}, which is no input of this network; "
                             f"inputs: {', '.join(network.inputs) or 'none'}.")  # fmt: skip
    for name, size in network.inputs.items():
        if name not in inputs:
            raise ValueError(f"no spikes were given for input {name!r}; pass inputs={{{name!r}: SpikeTrains}}.")
        train = inputs[name]
        if train.size != size:
            raise ValueError(f"input {name!r} has size {size}, but its spike trains have size {train.size}.")
        if len(train) and train.times[0] < 0.0:
            raise ValueError(
                f"input {name!r} has a spike at {train.times[0]} ms; a simulation starts at 0 ms: shift the times."
            )
    return dict(inputs)


def _sweep_order(network: Network) -> tuple[list[str], str]:
    """Populations from first to last layer, and what forbids a sweep ("" if nothing does)."""
    graph: dict[str, set[str]] = {name: set() for name in network.populations}
    for p in network.projections:
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
        pairs = network.size_of(p.source) * network.size_of(p.target)
        n = p.weight.nnz if hasattr(p.weight, "nnz") else pairs
        if p.rule is not None:
            rng = np.random.default_rng(0)
            n = p.rule.pairs(network.size_of(p.source), network.size_of(p.target), rng)[0].size
        if n < 0.2 * pairs:
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
            rng = np.random.default_rng([seed, k])
            weights.append(dense_weight(p, train.size, population.size, rng))
            delay = single_delay(p)
            assert delay is not None
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


def _queue(network: Network, t_stop: float, trains: dict[str, SpikeTrains], seed: int) -> Recording:
    plan = make_plan(network, seed)
    times = np.concatenate([np.empty(0), *(t.times for t in trains.values())])
    sources = np.concatenate(
        [np.empty(0, np.int64), *(t.neurons + plan.source_offset[k] for k, t in trains.items())]
    )
    order = np.lexsort((sources, times))
    run = run_plan(plan, times[order], sources[order], t_stop)
    spikes, currents = {}, {}
    for name, population in network.populations.items():
        first = plan.source_offset[name] - plan.n_inputs
        mine = (run.neurons >= first) & (run.neurons < first + population.size)
        spikes[name] = SpikeTrains(run.times[mine], run.neurons[mine] - np.int32(first), population.size)
        currents[name] = run.currents[mine]
    return Recording(spikes, t_stop, trains, currents, network, "queue", seed, run.events, run.grazing)
