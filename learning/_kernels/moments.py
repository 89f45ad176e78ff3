"""What each input's spikes add to a Readout's values at many moments: forwards, and its derivative by arrival times."""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import formula, kernel, leaf, stage
from evsim._kernels.neurons.lif import decay, psp

from .arrays import Train
from .readout import weighted_integral

POTENTIAL, INTEGRAL, COUNT = 0, 1, 2


class Feature(NamedTuple):
    """What is taken of the arrivals: POTENTIAL, INTEGRAL (of exp(-rate t) v(t)) or COUNT; time constants, ms."""

    kind: int
    tau_m: float
    tau_s: float
    rate: float


class UnitTraces(NamedTuple):
    """Potential and current of a unit weight of each input, or, on the way back, dL/d of these: (n_in,)."""

    u: np.ndarray
    current: np.ndarray


@formula
def weighted_decay(length, tau_m, rate):
    """int_0^length exp(-rate x) exp(-x/tau_m) dx."""
    a = 1.0 / tau_m + rate
    return -math.expm1(-a * length) / a


@stage
def _flow(traces, begin, end, feature, share):
    """Carry the traces from ``begin`` to ``end``; an integral in between has its share of them."""
    u, current = traces.u, traces.current
    tau_m, tau_s, rate = feature.tau_m, feature.tau_s, feature.rate
    x = end - begin
    em = decay(x, tau_m)
    es = decay(x, tau_s)
    p = psp(x, tau_m, tau_s)
    if feature.kind == INTEGRAL:
        shift = math.exp(-rate * begin)
        by_u = shift * weighted_decay(x, tau_m, rate)
        by_current = shift * weighted_integral(x, tau_m, tau_s, rate)
        for j in range(u.size):
            share[j] += u[j] * by_u + current[j] * by_current
    for j in range(u.size):
        u[j] = u[j] * em + current[j] * p
        current[j] *= es


@leaf
def carry(arrivals, a, last, begin, end, feature, traces, share):
    """Arrivals a ... from ``begin`` to before ``end`` (ms; at most ``last`` - 1): the traces go from ``begin`` to
    ``end``, and to ``share``, (n_in,), is added what an integral or a count in between has of them. Returns the first
    arrival that is left.

    arrivals : Train; feature : Feature; traces : UnitTraces
    """
    times, sources = arrivals
    if feature.kind == COUNT:
        while a < last and times[a] < end:
            share[sources[a]] += 1.0
            a += 1
        return a
    _flow(traces, begin, end, feature, share)
    while a < last and times[a] < end:
        y = end - times[a]
        j = sources[a]
        traces.u[j] += psp(y, feature.tau_m, feature.tau_s)
        traces.current[j] += decay(y, feature.tau_s)
        if feature.kind == INTEGRAL:
            shift = math.exp(-feature.rate * times[a])
            share[j] += shift * weighted_integral(y, feature.tau_m, feature.tau_s, feature.rate)
        a += 1
    return a


@kernel
def moment_shares(arrivals, borders, feature, shares, first, last):
    """Shares of unit weights in the values of samples ``first`` ... ``last - 1``.

    arrivals : Batch; borders : (m + 1,), sorted; a potential is taken at ``borders[k]``, before the arrivals of that
    instant; an integral, or a count of arrivals, from ``borders[k]`` to before ``borders[k + 1]``
    shares : (samples, m, n_in), which are 0, written
    """
    n_in = shares.shape[2]
    traces = UnitTraces(np.empty(n_in), np.empty(n_in))
    before = np.zeros(n_in)
    train = Train(arrivals.times, arrivals.neurons)
    for sample in range(first, last):
        traces.u[:] = 0.0
        traces.current[:] = 0.0
        end = arrivals.offsets[sample + 1]
        a = carry(train, arrivals.offsets[sample], end, 0.0, borders[0], feature, traces, before)
        for k in range(borders.size - 1):
            share = shares[sample, k]
            if feature.kind == POTENTIAL:
                share[:] = traces.u
            a = carry(train, a, end, borders[k], borders[k + 1], feature, traces, share)


@stage
def _by_arrival(t, j, goal, feature, back, push, within):
    """dL/dt of an arrival of source j at t, which the window or the time before ends at ``goal``; push : (n_in,), of
    an integral over the window, if the arrival lies ``within`` one."""
    y = goal - t
    c = back.current[j] * decay(y, feature.tau_s) + back.u[j] * psp(y, feature.tau_m, feature.tau_s)
    v = back.u[j] * decay(y, feature.tau_m)
    if within:
        q = push[j] * math.exp(-feature.rate * t)
        c += q * weighted_integral(y, feature.tau_m, feature.tau_s, feature.rate)
        v += q * weighted_decay(y, feature.tau_m, feature.rate)
    return c / feature.tau_s - v / feature.tau_m


@stage
def _flow_back(begin, goal, feature, back, push, within):
    """Carry dL/d potential and current back from ``goal`` to ``begin``; push and within as in ``_by_arrival``."""
    x = goal - begin
    em = decay(x, feature.tau_m)
    es = decay(x, feature.tau_s)
    p = psp(x, feature.tau_m, feature.tau_s)
    for j in range(back.u.size):
        back.current[j] = back.current[j] * es + back.u[j] * p
        back.u[j] *= em
    if within:
        shift = math.exp(-feature.rate * begin)
        c = shift * weighted_integral(x, feature.tau_m, feature.tau_s, feature.rate)
        v = shift * weighted_decay(x, feature.tau_m, feature.rate)
        for j in range(back.u.size):
            back.current[j] += push[j] * c
            back.u[j] += push[j] * v


@leaf
def _push_sample(arrivals, start, end, borders, feature, push, back, out):
    """Arrivals ``start`` ... ``end - 1``; push : (m, n_in)."""
    m = borders.size - 1
    a = end - 1
    while a >= start and arrivals.times[a] >= borders[m]:
        out[a] = 0.0
        a -= 1
    for k in range(m - 1, -2, -1):
        # Window k, or, with k = -1, what is before the first.
        goal = borders[k + 1]
        begin = borders[k] if k >= 0 else 0.0
        within = feature.kind == INTEGRAL and k >= 0
        if feature.kind == POTENTIAL and k + 1 < m:
            for j in range(back.u.size):
                back.u[j] += push[k + 1, j]
        by_window = push[max(k, 0)]
        while a >= start and arrivals.times[a] >= begin:
            out[a] = _by_arrival(arrivals.times[a], arrivals.neurons[a], goal, feature, back, by_window, within)
            a -= 1
        _flow_back(begin, goal, feature, back, by_window, within)


@kernel
def moment_pushes(arrivals, borders, feature, push, out, first, last):
    """dL/dt of every arrival of samples ``first`` ... ``last - 1``; potentials and integrals as in ``moment_shares``.

    push : (samples, m, n_in), dL/d value times weight, summed over the neurons; out : (n_arrivals,), written
    """
    back = UnitTraces(np.empty(push.shape[2]), np.empty(push.shape[2]))
    for sample in range(first, last):
        back.u[:] = 0.0
        back.current[:] = 0.0
        start, end = arrivals.offsets[sample], arrivals.offsets[sample + 1]
        _push_sample(arrivals, start, end, borders, feature, push[sample], back, out)


@kernel
def responses(times, left, tau_m, tau_s, rate, out):
    """int exp(-rate t) v(t) dt from an arrival of weight 1 at ``times`` until ``left`` (ms) later, all (q,)."""
    for k in range(times.size):
        x = max(left[k], 0.0)
        out[k] = math.exp(-rate * times[k]) * weighted_integral(x, tau_m, tau_s, rate)
