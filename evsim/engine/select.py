"""Which engine can run a network, which one suits it, and why not the others.

Light: nothing here needs a kernel, so that ``import evsim`` stays fast.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import numpy as np

from evsim.description.network import NetworkDescription
from evsim.description.projections import expected_synapses, single_delay
from evsim.engine.cells import NOMINAL_RATE, cell_length
from evsim.memory import NEURON_BYTES, free_memory
from evsim.neurons.lif import one_tau_each

_SMALL = 64
"""Neurons of a network for which passes over all of them are not worth it."""


def choose(network: NetworkDescription, once: bool = False) -> str:
    """"sweep" for feed-forward networks, mostly dense, that are run ``once``, if their matrices fit into the memory;
    "window" for networks that it can run, that are not tiny, and whose delays are not; else "queue".

    Delays that are drawn are not known here: see ``too_fine``.
    """
    if once and not why_not_sweep(network) and _mostly_dense(network):
        need = sweep_bytes(network)
        if need <= LARGE or need <= free_memory():
            return "sweep"
    n = sum(p.size for p in network.populations.values())
    if n < _SMALL or why_not_window(network):
        return "queue"
    known = [single_delay(p) for p in network.projections if p.source in network.populations]
    shortest = min((d for d in known if d is not None), default=np.inf)
    return "queue" if too_fine(network, cell_length(network, shortest)) else "window"


_SECONDS_A_CELL, _SECONDS_A_NEURON, _SECONDS_AN_EVENT = 1e-6, 3e-9, 1e-7
"""Rough costs: of a cell and of each of its neurons in the window engine, of an event in the queue."""

_MUCH = 30.0


def too_fine(network: NetworkDescription, c: float) -> bool:
    """Would cells of c ms cost the window engine far more than the queue takes for the events, at nominal rates?"""
    n = sum(p.size for p in network.populations.values())
    window = (_SECONDS_A_CELL + n * _SECONDS_A_NEURON) / c
    events = n * NOMINAL_RATE / 1000.0
    for p in network.projections:
        events += expected_synapses(p, network.size_of(p.source), network.size_of(p.target)) * NOMINAL_RATE / 1000.0
    for drive in network.drives:
        events += float(drive.highest(network.size_of(drive.target)).sum()) / 1000.0
    return window > _MUCH * _SECONDS_AN_EVENT * events


def _mixed_taus(network: NetworkDescription) -> str:
    """What forbids shared factors of the flow, "" if nothing does."""
    for name, population in network.populations.items():
        if not one_tau_each(population.neuron):
            return f"the neurons of {name!r} have different time constants"
    return ""


def why_not_window(network: NetworkDescription) -> str:
    """What forbids the window engine, "" if nothing does that can be seen without drawing."""
    if why := _mixed_taus(network):
        return why
    for p in network.projections:
        if p.plasticity is not None:
            return f"the projection {p.source!r} to {p.target!r} is plastic"
        if p.source in network.populations and single_delay(p) == 0.0:
            return f"the projection {p.source!r} to {p.target!r} has no delay"
    return ""


LARGE = 2.0**26
"""Bytes that are asked for before they are taken."""


def layer_order(network: NetworkDescription) -> list[str]:
    """Populations from the first to the last layer. Raises CycleError : the network is recurrent."""
    graph: dict[str, set[str]] = {name: set() for name in network.populations}
    for p in network.projections:
        if p.source in graph:
            graph[p.target].add(p.source)
    return list(TopologicalSorter(graph).static_order())


def why_not_sweep(network: NetworkDescription) -> str:
    """What forbids the sweep, "" if nothing does."""
    if network.drives:
        return "it has Poisson drives"
    for p in network.projections:
        if p.plasticity is not None:
            return f"the projection {p.source!r} to {p.target!r} is plastic"
        if single_delay(p) is None:
            return f"the projection {p.source!r} to {p.target!r} has several delays"
    if why := _mixed_taus(network):
        return why
    try:
        layer_order(network)
    except CycleError:
        return "it is recurrent"
    return ""


def _mostly_dense(network: NetworkDescription) -> bool:
    for p in network.projections:
        n_pre, n_post = network.size_of(p.source), network.size_of(p.target)
        if expected_synapses(p, n_pre, n_post) < 0.2 * n_pre * n_post:
            return False
    return True


def sweep_bytes(network: NetworkDescription) -> float:
    """At the worst moment of the sweep: the weights of one population three times, and what its neurons take."""
    return max(
        (NEURON_BYTES + 24.0 * sum(network.size_of(p.source) for p in network.projections if p.target == name)) * n
        for name, n in ((name, population.size) for name, population in network.populations.items())
    )
