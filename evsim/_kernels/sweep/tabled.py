"""Factors of events by a table of exponentials, for lists that are many and short: each pixel of a map has its own.

exp(-x) = exp(-j/64) exp(-r) with j the whole part of 64 x and a series for 0 <= r < 1/64. Where little is lost it is
exp(-x) - 1 that has all its digits, as in ``groups``; nothing cancels. Wrong by two or three eps at most, which is what
the C library's functions are allowed, at a third of their time.
"""

import math

import numpy as np

from ..jit import kernel, leaf, stage
from ..neurons.carried import LEAST, NEAR
from ..neurons.model import neuron_at
from .arrays import GROUP
from .groups import compose_groups

_CELLS = 64
"""Cells of the table for each unit of x."""

_FURTHEST = 40
"""Beyond this x the C library is asked."""


@kernel
def decay_table():
    """exp(-j/64) and exp(-j/64) - 1, (cells, 2)."""
    table = np.empty((_FURTHEST * _CELLS, 2))
    for j in range(table.shape[0]):
        table[j, 0] = math.exp(-j / _CELLS)
        table[j, 1] = math.expm1(-j / _CELLS)
    return table


@stage
def _series(r):
    """exp(-r) - 1, 0 <= r < 1/64."""
    tail = 1.0 - r * (1.0 / 5.0) * (1.0 - r * (1.0 / 6.0) * (1.0 - r * (1.0 / 7.0)))
    return -r * (1.0 - r * 0.5 * (1.0 - r * (1.0 / 3.0) * (1.0 - r * 0.25 * tail)))


@leaf
def lost(x, table):
    """exp(-x) - 1, 0 <= x < 40."""
    j = int(x * _CELLS)
    e = _series(x - j / _CELLS)
    t = table[j, 1]
    return t + (e + t * e)


@leaf
def left(x, table):
    """exp(-x), x >= 0."""
    if x >= _FURTHEST:
        return math.exp(-x)
    j = int(x * _CELLS)
    t = table[j, 0]
    return t + t * _series(x - j / _CELLS)


@leaf
def _factor(h, tau, table):
    """As ``groups._factor``."""
    if h < NEAR * tau:
        return lost(h / tau, table)
    return max(left(h / tau, table), LEAST)


@leaf
def _interval(h, factors, tau_m, tau_s, table):
    """As ``groups._interval``, one synaptic current: factors of u and i, and P."""
    slow, fast = max(tau_m, tau_s), min(tau_m, tau_s)
    x = (slow - fast) / (slow * fast) * h
    more = lost(x, table) if x < 1.0 else left(x, table) - 1.0
    if h < NEAR * fast:
        little = lost(h / slow, table)
        both = little + (more + little * more)
        factors[0], factors[1] = (little, both) if tau_m >= tau_s else (both, little)
        of_slow = 1.0 + little
    else:
        factors[0], factors[1] = _factor(h, tau_m, table), _factor(h, tau_s, table)
        of_slow = left(h / slow, table)
    response = h / tau_m * of_slow
    factors[2] = response * (-more / x) if x > 0.0 else response
    factors[3] = factors[4] = 0.0


@leaf
def tabled_factors(times, factors, neurons, table):
    """As ``group_factors``, of neurons with one synaptic current; table : as ``decay_table`` gives it."""
    neuron = neuron_at(0, neurons)
    before = 0.0
    for k in range(times.size):
        h = times[k] - before
        before = times[k]
        _interval(h, factors[k, :5], neuron.tau_m, neuron.tau_exc, table)
        factors[k, 5] = h / neuron.tau_m
    for last in range(GROUP - 1, times.size, GROUP):
        start = times[last - GROUP] if last >= GROUP else 0.0
        _interval(times[last] - start, factors[last, 6:], neuron.tau_m, neuron.tau_exc, table)
    compose_groups(factors)
