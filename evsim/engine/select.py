"""Which driver can run a network, which one suits it, and how long the cells of time are.

Light: nothing here needs a kernel, so that ``import evsim`` stays fast.
"""

from __future__ import annotations

import numpy as np

from evsim.description.network import NetworkDescription
from evsim.description.projections import expected_synapses, is_distribution, single_delay
from evsim.synapses.sampling import sample_synapses

_SMALL = 64
"""Neurons of a network for which passes over all of them are not worth it."""


def choose(network: NetworkDescription) -> str:
    """"window" for networks that it can run, that are not tiny, and whose delays are not; else "queue".

    Delays that are drawn are not known here: see ``too_fine``.
    """
    n = sum(p.size for p in network.populations.values())
    if n < _SMALL or why_not_window(network):
        return "queue"
    known = [single_delay(p) for p in network.projections if p.source in network.populations]
    shortest = min((d for d in known if d is not None), default=np.inf)
    return "queue" if too_fine(network, cell_length(network, shortest)) else "window"


_SECONDS_A_CELL, _SECONDS_A_NEURON, _SECONDS_AN_EVENT = 1e-6, 3e-9, 1e-7
"""Rough costs: of a cell and of each of its neurons in the window driver, of an event in the queue."""

_MUCH = 30.0


def too_fine(network: NetworkDescription, c: float) -> bool:
    """Would cells of c ms cost the window driver far more than the queue takes for the events, at nominal rates?"""
    n = sum(p.size for p in network.populations.values())
    window = (_SECONDS_A_CELL + n * _SECONDS_A_NEURON) / c
    events = n * _NOMINAL_RATE / 1000.0
    for p in network.projections:
        events += expected_synapses(p, network.size_of(p.source), network.size_of(p.target)) * _NOMINAL_RATE / 1000.0
    for drive in network.drives:
        events += float(drive.highest(network.size_of(drive.target)).sum()) / 1000.0
    return window > _MUCH * _SECONDS_AN_EVENT * events


def smallest_delay(network: NetworkDescription, seed: int) -> float:
    """Smallest delay of all synapses between neurons, ms; inf if there are none. Drawn delays are drawn."""
    smallest = np.inf
    for k, p in enumerate(network.projections):
        if p.source not in network.populations:
            continue
        if is_distribution(p.delay) or np.ndim(p.delay) > 0 or hasattr(p.delay, "tocoo"):
            delays = sample_synapses(p, k, network.size_of(p.source), network.size_of(p.target), seed).delay
        else:
            delays = np.array([p.delay], dtype=np.float64)
        smallest = min(smallest, float(delays.min(initial=np.inf)))
    return smallest


_NOMINAL_RATE = 5.0
"""Hz, of every source, to guess how many inputs a neuron gets."""

_INPUTS_A_CELL = 4.0
"""So many inputs a neuron pay for one pass over all neurons."""

_LONGEST_CELL = 1.0


def cell_length(network: NetworkDescription, min_delay: float) -> float:
    """Length of a cell, ms: a number of 7 bits, so that every multiple of it is exact.

    It is at most the smallest delay and LONG times the smallest time constant, and shorter where neurons get
    many inputs. It depends on the declared network and, where delays are drawn, on the smallest of them. Where that is
    0 no delay bounds it: only the queue runs such a network, which needs cells for drives alone.
    """
    from evsim._kernels.window.series import LONG

    taus = [population.neuron.tau_m for population in network.populations.values()]
    taus += [tau for population in network.populations.values() for tau in population.neuron.receptor_taus()]
    limit = min(min_delay if min_delay > 0.0 else np.inf, _LONGEST_CELL, LONG * min(float(np.min(tau)) for tau in taus))
    busiest = 0.0
    for name, population in network.populations.items():
        inputs = sum(float(d.highest(population.size).mean()) for d in network.drives if d.target == name)
        for p in network.projections:
            if p.target == name:
                inputs += expected_synapses(p, network.size_of(p.source), population.size) / population.size * (
                    _NOMINAL_RATE
                )
        busiest = max(busiest, inputs / 1000.0)
    if busiest > 0.0:
        limit = min(limit, _INPUTS_A_CELL / busiest)
    mantissa, exponent = np.frexp(limit)
    return float(np.ldexp(np.floor(mantissa * 128.0), int(exponent) - 7))


def why_not_window(network: NetworkDescription) -> str:
    """What forbids the window driver, "" if nothing does that can be seen without drawing."""
    for name, population in network.populations.items():
        neuron = population.neuron
        for tau in (neuron.tau_m, *neuron.receptor_taus()):
            if np.size(np.unique(np.asarray(tau))) > 1:
                return f"the neurons of {name!r} have different time constants"
    for p in network.projections:
        if p.plasticity is not None:
            return f"the projection {p.source!r} to {p.target!r} is plastic"
        if p.source in network.populations and single_delay(p) == 0.0:
            return f"the projection {p.source!r} to {p.target!r} has no delay"
    return ""
