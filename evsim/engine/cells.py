"""How long the cells of time are, by which windows are cut and drives are drawn.

Light: kernels are imported where they are used, so that ``import evsim`` stays fast.
"""

from __future__ import annotations

import numpy as np

from evsim.description.network import NetworkDescription
from evsim.description.projections import expected_synapses, is_distribution
from evsim.synapses.sampling import sample_synapses

NOMINAL_RATE = 5.0
"""Rate of every source, Hz, by which the number of inputs of a neuron is guessed."""

_INPUTS_A_CELL = 4.0
"""Inputs per neuron and cell from which a pass over all neurons is worth its cost."""

_LONGEST_CELL = 1.0
"""Longest cell, ms."""


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
                    NOMINAL_RATE
                )
        busiest = max(busiest, inputs / 1000.0)
    if busiest > 0.0:
        limit = min(limit, _INPUTS_A_CELL / busiest)
    mantissa, exponent = np.frexp(limit)
    return float(np.ldexp(np.floor(mantissa * 128.0), int(exponent) - 7))
