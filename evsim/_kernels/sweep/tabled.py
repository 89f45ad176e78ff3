"""Factors of events by a table of exponentials, for lists that are many and short: each pixel of a map has its own.

exp(-x) = exp(-j/64) exp(-r) with j the whole part of 64 x and a series for 0 <= r < 1/64. Where little is lost it is
exp(-x) - 1 that has all its digits, as in ``groups``; nothing cancels. Each is wrong by two eps at most. With that,
rates in place of divisions, and one current, an event takes half to two thirds of what it takes in ``group_factors``.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import kernel, leaf, stage
from ..neurons.carried import LEAST, NEAR
from ..neurons.model import neuron_at
from .arrays import GROUP
from .groups import compose, split

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


@stage
def lost(x, table):
    """exp(-x) - 1, 0 <= x < 40."""
    j = int(x * _CELLS)
    e = _series(x - j / _CELLS)
    t = table[j, 1]
    return t + (e + t * e)


@stage
def left(x, table):
    """exp(-x), x >= 0."""
    if x >= _FURTHEST:
        return math.exp(-x)
    j = int(x * _CELLS)
    t = table[j, 0]
    return t + t * _series(x - j / _CELLS)


class Rates(NamedTuple):
    """Of neurons with one synaptic current. slow, fast : rates of the two time constants, per ms; difference : of the
    rates; gain : P is this times what of_slow loses, or, if the rates are equal, this times h; near : ms, below which a
    step is short; of_m_slow : is the membrane the slower one?"""

    slow: float
    fast: float
    difference: float
    gain: float
    near: float
    of_m_slow: bool


@leaf
def rates_of(neuron):
    """The Rates of a neuron."""
    tau_m, tau_s = neuron.tau_m, neuron.tau_exc
    slow, fast = max(tau_m, tau_s), min(tau_m, tau_s)
    difference = (slow - fast) / (slow * fast)
    gain = 1.0 / (difference * tau_m) if difference > 0.0 else 1.0 / tau_m
    return Rates(1.0 / slow, 1.0 / fast, difference, gain, NEAR * fast, tau_m >= tau_s)


@stage
def _factor(x, table):
    """As ``groups._factor``, of x time constants."""
    return lost(x, table) if x < NEAR else max(left(x, table), LEAST)


@stage
def _interval(h, factors, rates, table):
    """As ``groups._interval``, one synaptic current: factors of u and i, and P."""
    x = rates.difference * h
    more = lost(x, table) if x < 1.0 else left(x, table) - 1.0
    if h < rates.near:
        slow = lost(h * rates.slow, table)
        fast = slow + (more + slow * more)
        of_slow = 1.0 + slow
    else:
        slow, fast = _factor(h * rates.slow, table), _factor(h * rates.fast, table)
        of_slow = 1.0 + slow if slow <= 0.0 else slow
    factors[0], factors[1] = (slow, fast) if rates.of_m_slow else (fast, slow)
    factors[2] = rates.gain * of_slow * (-more if rates.difference > 0.0 else h)
    factors[3] = factors[4] = 0.0


@stage
def _compose_group(factors, first):
    """Columns 6, 7 and 8 of all events of a group but the last; see ``group_factors``. The currents that there are not
    have columns of 0."""
    lost_m = lost_a = p = 0.0
    m = a = 1.0
    for k in range(first + GROUP - 2, first - 1, -1):
        _, _, x = split(factors[k + 1, 0])
        _, _, y = split(factors[k + 1, 1])
        p = factors[k + 1, 2] * m + y * p
        lost_m, m = compose(lost_m, m, factors[k + 1, 0], x)
        lost_a, a = compose(lost_a, a, factors[k + 1, 1], y)
        factors[k, 6], factors[k, 7], factors[k, 8] = m, a, p
        factors[k, 9] = factors[k, 10] = 0.0


@leaf
def tabled_factors(times, factors, neurons, table):
    """As ``group_factors``, of neurons with one synaptic current; table : as ``decay_table`` gives it."""
    neuron = neuron_at(0, neurons)
    rates = rates_of(neuron)
    of_m = rates.slow if rates.of_m_slow else rates.fast
    before = 0.0
    for k in range(times.size):
        h = times[k] - before
        before = times[k]
        _interval(h, factors[k, :5], rates, table)
        factors[k, 5] = h * of_m
    for first in range(0, times.size, GROUP):
        start = times[first - 1] if first > 0 else 0.0
        _interval(times[first + GROUP - 1] - start, factors[first + GROUP - 1, 6:], rates, table)
        _compose_group(factors, first)
