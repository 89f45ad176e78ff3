"""Traces of S-TLLR at exact times: potentials at given instants, and eligibilities by one sweep there and one back.

Nothing grows: every exponential has an argument <= 0. A stretch of time begins from a state and leaves one, so that a
sample can be learned in one piece or in many.
"""

import math

import numpy as np

from evsim._kernels.jit import kernel
from evsim._kernels.neurons.lif import decay, psp

from .surrogates import TRIANGLE, surrogate

LEFT, RIGHT = 0.5 - 0.5 / math.sqrt(3.0), 0.5 + 0.5 / math.sqrt(3.0)
"""Nodes of the two-point Gauss rule on [0, 1]; each weighs 1/2."""


@kernel
def potentials(
    query, arrivals, sources, spikes, neurons, weight, u_reset, t_ref, tau_m, tau_s, delta,
    start, u, current, release, out,
):  # fmt: skip
    """u of a layer at sorted instants: after the arrivals of an instant, before its resets.

    arrivals, sources; spikes, neurons : of one sample, from ``start`` on, sorted; weight : (n_sources, n)
    u, current, release : (n,), state at ``start``, left as it is after the last query; out : (n_query, n), written
    delta : do arrivals kick the potential? Else they add to the current. Resets at the last query are left to do.
    """
    n = u.size
    now = start
    a = 0
    s = 0
    free = start
    for k in range(n):
        free = max(free, release[k])
    for q in range(query.size):
        goal = query[q]
        while True:
            arrives = a < arrivals.size and arrivals[a] <= goal
            fires = s < spikes.size and spikes[s] < goal
            if arrives and fires:
                # At one instant arrivals come first.
                arrives = arrivals[a] <= spikes[s]
                fires = not arrives
            t = goal
            if arrives:
                t = arrivals[a]
            elif fires:
                t = spikes[s]
            if t > now:
                x = t - now
                em = decay(x, tau_m)
                es = 0.0 if delta else decay(x, tau_s)
                p = 0.0 if delta else psp(x, tau_m, tau_s)
                if free <= now:
                    for k in range(n):
                        u[k] = u[k] * em + current[k] * p
                        current[k] *= es
                else:
                    for k in range(n):
                        if release[k] <= now:
                            u[k] = u[k] * em + current[k] * p
                        elif release[k] < t:
                            y = t - release[k]
                            u[k] = u_reset[k] * decay(y, tau_m)
                            if not delta:
                                u[k] += current[k] * decay(x - y, tau_s) * psp(y, tau_m, tau_s)
                        current[k] *= es
                now = t
            if arrives:
                row = weight[sources[a]]
                if not delta:
                    for k in range(n):
                        current[k] += row[k]
                else:
                    for k in range(n):
                        if release[k] <= t:
                            u[k] += row[k]
                a += 1
            elif fires:
                k = neurons[s]
                u[k] = u_reset[k]
                release[k] = t + t_ref[k]
                free = max(free, release[k])
                s += 1
            else:
                break
        out[q] = u


@kernel
def eligibility(
    edges, arrival_edge, sources, spike_edge, neurons, u, theta, shape, slope, height, spiking,
    coefficients, row, phi, tau_pre, tau_post, tau_s, with_psp, a_pre, a_post,
    after, filtered, before, before_current, gradient,
):  # fmt: skip
    """Adds sum_ij of learning signal times eligibility over the pieces between ``edges`` to ``gradient``.

    edges : (p + 1,); arrival_edge, spike_edge : the edge of each arrival and spike, sorted, < p
    u : (3 p, n), potentials at each piece's beginning and its two Gauss nodes (not read if ``spiking``)
    coefficients : (rows, n); row, phi : (3 p,): the learning signal there is phi coefficients[row]
    with_psp : the trace of an arrival is the PSP with tau_pre, tau_s; else exp(-t/tau_pre)
    State, changed: after : (n,), the filtered psi or spikes of a neuron; before, before_current : (n_sources,), traces
    Scratch: filtered : (2 p, n)
    """
    p = edges.size - 1
    n = after.size
    n_sources = before.size
    x = np.empty(2)
    if not spiking:
        for q in range(p):
            for node in range(2):
                v = u[3 * q + 1 + node]
                out = filtered[2 * q + node]
                if shape == TRIANGLE:
                    # A loop without a call, for SIMD.
                    for k in range(n):
                        out[k] = height * max(1.0 - abs(slope * (v[k] / theta[k] - 1.0)), 0.0)
                else:
                    for k in range(n):
                        out[k] = height * surrogate(shape, slope * (v[k] / theta[k] - 1.0))
    if a_post != 0.0:
        a = 0
        s = 0
        for q in range(p):
            while a < arrival_edge.size and arrival_edge[a] == q:
                c = coefficients[row[3 * q]]
                d = a_post * phi[3 * q]
                g = gradient[sources[a]]
                if d != 0.0:
                    for k in range(n):
                        g[k] += d * c[k] * after[k]
                a += 1
            h = edges[q + 1] - edges[q]
            whole = decay(h, tau_post)
            if spiking:
                while s < spike_edge.size and spike_edge[s] == q:
                    after[neurons[s]] += 1.0
                    s += 1
                for k in range(n):
                    after[k] *= whole
            else:
                one = 0.5 * h * decay(RIGHT * h, tau_post)
                two = 0.5 * h * decay(LEFT * h, tau_post)
                f = filtered[2 * q]
                g = filtered[2 * q + 1]
                for k in range(n):
                    after[k] = after[k] * whole + one * f[k] + two * g[k]
    if a_pre == 0.0:
        return
    back = np.zeros(n)
    back_current = np.zeros(n)
    a = arrival_edge.size - 1
    s = spike_edge.size - 1
    for q in range(p - 1, -1, -1):
        h = edges[q + 1] - edges[q]
        whole = decay(h, tau_pre)
        if with_psp:
            fade = decay(h, tau_s)
            drive = psp(h, tau_pre, tau_s)
            for k in range(n):
                back_current[k] = back_current[k] * fade + back[k] * drive
        for k in range(n):
            back[k] *= whole
        if spiking:
            while s >= 0 and spike_edge[s] == q:
                k = neurons[s]
                back[k] += a_pre * phi[3 * q] * coefficients[row[3 * q], k]
                s -= 1
        else:
            x[0] = LEFT * h
            x[1] = RIGHT * h
            for node in range(2):
                at = 3 * q + 1 + node
                d = 0.5 * h * a_pre * phi[at]
                if d == 0.0:
                    continue
                c = coefficients[row[at]]
                f = filtered[2 * q + node]
                e = d * decay(x[node], tau_pre)
                for k in range(n):
                    back[k] += e * c[k] * f[k]
                if with_psp:
                    e = d * psp(x[node], tau_pre, tau_s)
                    for k in range(n):
                        back_current[k] += e * c[k] * f[k]
        while a >= 0 and arrival_edge[a] == q:
            g = gradient[sources[a]]
            if with_psp:
                for k in range(n):
                    g[k] += back_current[k]
            else:
                for k in range(n):
                    g[k] += back[k]
            a -= 1
    for j in range(n_sources):
        if before[j] != 0.0 or before_current[j] != 0.0:
            g = gradient[j]
            for k in range(n):
                g[k] += before[j] * back[k] + before_current[j] * back_current[k]
    h = edges[p] - edges[0]
    whole = decay(h, tau_pre)
    fade = decay(h, tau_s) if with_psp else 0.0
    drive = psp(h, tau_pre, tau_s) if with_psp else 0.0
    for j in range(n_sources):
        before[j] = before[j] * whole + before_current[j] * drive
        before_current[j] *= fade
    for a in range(arrival_edge.size):
        h = edges[p] - edges[arrival_edge[a]]
        if with_psp:
            before[sources[a]] += psp(h, tau_pre, tau_s)
            before_current[sources[a]] += decay(h, tau_s)
        else:
            before[sources[a]] += decay(h, tau_pre)
