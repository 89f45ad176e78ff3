"""What each input's spikes add to a Readout's values at many moments: forwards, and its derivative by arrival times."""

import math

import numpy as np

from evsim._kernels.jit import formula, kernel
from evsim._kernels.neurons.lif import decay, psp

from .readout import weighted_integral

POTENTIAL, INTEGRAL, COUNT = 0, 1, 2


@formula
def weighted_decay(length, tau_m, rate):
    """int_0^length exp(-rate x) exp(-x/tau_m) dx."""
    a = 1.0 / tau_m + rate
    return -math.expm1(-a * length) / a


@kernel
def carry(times, neurons, a, last, begin, end, tau_m, tau_s, rate, kind, u, current, share):
    """Arrivals a ... from ``begin`` to before ``end`` (ms; at most ``last`` - 1): the potential and current of a unit
    weight of each input, (n_in,), go from ``begin`` to ``end``, and to ``share``, (n_in,), is added what an integral or
    a count in between has of it. Returns the first arrival that is left."""
    if kind == COUNT:
        while a < last and times[a] < end:
            share[neurons[a]] += 1.0
            a += 1
        return a
    x = end - begin
    em = decay(x, tau_m)
    es = decay(x, tau_s)
    p = psp(x, tau_m, tau_s)
    if kind == INTEGRAL:
        shift = math.exp(-rate * begin)
        by_u = shift * weighted_decay(x, tau_m, rate)
        by_current = shift * weighted_integral(x, tau_m, tau_s, rate)
        for j in range(u.size):
            share[j] += u[j] * by_u + current[j] * by_current
    for j in range(u.size):
        u[j] = u[j] * em + current[j] * p
        current[j] *= es
    while a < last and times[a] < end:
        y = end - times[a]
        j = neurons[a]
        u[j] += psp(y, tau_m, tau_s)
        current[j] += decay(y, tau_s)
        if kind == INTEGRAL:
            share[j] += math.exp(-rate * times[a]) * weighted_integral(y, tau_m, tau_s, rate)
        a += 1
    return a


@kernel
def moment_shares(times, neurons, offsets, first, last, borders, tau_m, tau_s, rate, kind, u, current, shares):
    """Shares of unit weights in the values of samples ``first`` ... ``last - 1``.

    times, neurons, offsets : arrivals; borders : (m + 1,), sorted; a potential is taken at ``borders[k]``, before the
    arrivals of that instant; an integral of exp(-rate t) v(t), or a count of arrivals, from ``borders[k]`` to before
    ``borders[k + 1]``. u, current : (n_in,), scratch. Written: shares, (samples, m, n_in), which are 0
    """
    before = np.zeros(u.size)
    for sample in range(first, last):
        u[:] = 0.0
        current[:] = 0.0
        end = offsets[sample + 1]
        a = carry(
            times, neurons, offsets[sample], end, 0.0, borders[0], tau_m, tau_s, rate, kind, u, current, before
        )  # fmt: skip
        for k in range(borders.size - 1):
            share = shares[sample, k]
            if kind == POTENTIAL:
                share[:] = u
            a = carry(
                times, neurons, a, end, borders[k], borders[k + 1], tau_m, tau_s, rate, kind, u, current, share
            )  # fmt: skip


@kernel
def moment_pushes(times, neurons, offsets, first, last, borders, tau_m, tau_s, rate, kind, push, by_u, by_current, out):
    """dL/dt of every arrival; potentials and integrals as in ``moment_shares``.

    push : (samples, m, n_in), dL/d value times weight, summed over the neurons; by_u, by_current : (n_in,), scratch,
    the adjoint of potential and current. Written: out, (n_arrivals,)
    """
    m = borders.size - 1
    for sample in range(first, last):
        by_u[:] = 0.0
        by_current[:] = 0.0
        a = offsets[sample + 1] - 1
        start = offsets[sample]
        while a >= start and times[a] >= borders[m]:
            out[a] = 0.0
            a -= 1
        for k in range(m - 1, -2, -1):
            goal = borders[k + 1]
            begin = borders[k] if k >= 0 else 0.0
            within = kind == INTEGRAL and k >= 0
            if kind == POTENTIAL and k + 1 < m:
                for j in range(by_u.size):
                    by_u[j] += push[sample, k + 1, j]
            while a >= start and times[a] >= begin:
                y = goal - times[a]
                j = neurons[a]
                c = by_current[j] * decay(y, tau_s) + by_u[j] * psp(y, tau_m, tau_s)
                v = by_u[j] * decay(y, tau_m)
                if within:
                    q = push[sample, k, j] * math.exp(-rate * times[a])
                    c += q * weighted_integral(y, tau_m, tau_s, rate)
                    v += q * weighted_decay(y, tau_m, rate)
                out[a] = c / tau_s - v / tau_m
                a -= 1
            x = goal - begin
            em = decay(x, tau_m)
            es = decay(x, tau_s)
            p = psp(x, tau_m, tau_s)
            for j in range(by_u.size):
                by_current[j] = by_current[j] * es + by_u[j] * p
                by_u[j] *= em
            if within:
                shift = math.exp(-rate * begin)
                c = shift * weighted_integral(x, tau_m, tau_s, rate)
                v = shift * weighted_decay(x, tau_m, rate)
                for j in range(by_u.size):
                    by_current[j] += push[sample, k, j] * c
                    by_u[j] += push[sample, k, j] * v


@kernel
def responses(times, left, tau_m, tau_s, rate, out):
    """int exp(-rate t) v(t) dt from an arrival of weight 1 at ``times`` until ``left`` (ms) later, all (q,)."""
    for k in range(times.size):
        x = max(left[k], 0.0)
        out[k] = math.exp(-rate * times[k]) * weighted_integral(x, tau_m, tau_s, rate)
