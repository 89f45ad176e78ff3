"""Traces of S-TLLR at exact times: potentials at given instants, and eligibilities by one sweep there and one back.

Nothing grows: every exponential has an argument <= 0. A stretch of time begins from a state and leaves one, so that a
sample can be learned in one piece or in many.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage
from evsim._kernels.neurons.lif import decay, psp

from .surrogates import TRIANGLE, surrogate

LEFT, RIGHT = 0.5 - 0.5 / math.sqrt(3.0), 0.5 + 0.5 / math.sqrt(3.0)
"""Nodes of the two-point Gauss rule on [0, 1]; each weighs 1/2."""


@stage
def _flow_all(state, now, t, neurons, delta, any_held):
    """Carry all neurons from now to t, without input; any_held : may some be refractory at the beginning."""
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    u, current, release = state.u, state.current, state.release
    x = t - now
    em = decay(x, tau_m)
    es = 0.0 if delta else decay(x, tau_s)
    p = 0.0 if delta else psp(x, tau_m, tau_s)
    if not any_held:
        for k in range(u.size):
            u[k] = u[k] * em + current[k] * p
            current[k] *= es
    else:
        for k in range(u.size):
            if release[k] <= now:
                u[k] = u[k] * em + current[k] * p
            elif release[k] < t:
                y = t - release[k]
                u[k] = neurons.u_reset[k] * decay(y, tau_m)
                if not delta:
                    u[k] += current[k] * decay(x - y, tau_s) * psp(y, tau_m, tau_s)
            current[k] *= es


@stage
def _arrive(row, t, state, delta):
    """A spike with these weights, (n,), arrives at t; a kick of a refractory neuron is lost."""
    if not delta:
        for k in range(row.size):
            state.current[k] += row[k]
    else:
        for k in range(row.size):
            if state.release[k] <= t:
                state.u[k] += row[k]


@leaf
def potentials(query, arrivals, spikes, neurons, weight, state, start, out):
    """u of a layer at sorted instants: after the arrivals of an instant, before its resets.

    arrivals, spikes : Train, of one sample, from ``start`` on; neurons : NeuronArrays of one current or none (kicks of
    the potential); weight : (n_sources, n); out : (n_query, n), written
    state : MembraneState at ``start``, left as it is after the last query. Resets at the last query are left to do.
    """
    delta = neurons.n_receptors[0] == 0
    now = start
    a = 0
    s = 0
    free = start
    for k in range(state.u.size):
        free = max(free, state.release[k])
    for q in range(query.size):
        goal = query[q]
        while True:
            arrives = a < arrivals.times.size and arrivals.times[a] <= goal
            fires = s < spikes.times.size and spikes.times[s] < goal
            if arrives and fires:
                # At one instant arrivals come first.
                arrives = arrivals.times[a] <= spikes.times[s]
                fires = not arrives
            t = goal
            if arrives:
                t = arrivals.times[a]
            elif fires:
                t = spikes.times[s]
            if t > now:
                _flow_all(state, now, t, neurons, delta, free > now)
                now = t
            if arrives:
                _arrive(weight[arrivals.neurons[a]], t, state, delta)
                a += 1
            elif fires:
                k = spikes.neurons[s]
                state.u[k] = neurons.u_reset[k]
                state.release[k] = t + neurons.t_ref[k]
                free = max(free, state.release[k])
                s += 1
            else:
                break
        for k in range(state.u.size):
            out[q, k] = state.u[k]


class Pieces(NamedTuple):
    """A stretch of time cut at its events: (p + 1,) edges, ms; of arrivals and spikes the edge of each, sorted, < p,
    and its source or neuron."""

    edges: np.ndarray
    arrival_edge: np.ndarray
    sources: np.ndarray
    spike_edge: np.ndarray
    neurons: np.ndarray


class Signal(NamedTuple):
    """The learning signal at each piece's beginning and its two Gauss nodes, (3 p,): phi coefficients[row];
    coefficients : (rows, n)."""

    coefficients: np.ndarray
    row: np.ndarray
    phi: np.ndarray


class TraceSettings(NamedTuple):
    """Time constants (ms) and amplitudes of the causal (pre) and the non-causal (post) term.

    with_psp : the trace of an arrival is the PSP with tau_pre, tau_s; else exp(-t/tau_pre)
    spiking : the neuron's spikes stand in place of psi
    """

    tau_pre: float
    tau_post: float
    tau_s: float
    a_pre: float
    a_post: float
    with_psp: bool
    spiking: bool


class TraceState(NamedTuple):
    """after : (n,), the filtered psi or spikes of a neuron; before, before_current : (n_sources,), of the arrivals."""

    after: np.ndarray
    before: np.ndarray
    before_current: np.ndarray


class _Back(NamedTuple):
    """(n,) each: what a unit trace of a source at this instant will still give, and one of its current."""

    trace: np.ndarray
    current: np.ndarray


@leaf
def _fill_psi(u, theta, psi, filtered):
    """psi at the Gauss nodes, (2 p, n), from potentials at beginnings and nodes, (3 p, n)."""
    for q in range(filtered.shape[0] // 2):
        for node in range(2):
            v = u[3 * q + 1 + node]
            out = filtered[2 * q + node]
            if psi.shape == TRIANGLE:
                # A loop without a call, for SIMD.
                for k in range(theta.size):
                    out[k] = psi.height * max(1.0 - abs(psi.slope * (v[k] / theta[k] - 1.0)), 0.0)
            else:
                for k in range(theta.size):
                    out[k] = psi.height * surrogate(psi.shape, psi.slope * (v[k] / theta[k] - 1.0))


@leaf
def _sweep_there(pieces, signal, filtered, after, settings, gradient):
    """The non-causal term: each arrival meets what the neurons have gathered before it."""
    n = after.size
    a = 0
    s = 0
    for q in range(pieces.edges.size - 1):
        while a < pieces.arrival_edge.size and pieces.arrival_edge[a] == q:
            c = signal.coefficients[signal.row[3 * q]]
            d = settings.a_post * signal.phi[3 * q]
            g = gradient[pieces.sources[a]]
            if d != 0.0:
                for k in range(n):
                    g[k] += d * c[k] * after[k]
            a += 1
        h = pieces.edges[q + 1] - pieces.edges[q]
        whole = decay(h, settings.tau_post)
        if settings.spiking:
            while s < pieces.spike_edge.size and pieces.spike_edge[s] == q:
                after[pieces.neurons[s]] += 1.0
                s += 1
            for k in range(n):
                after[k] *= whole
        else:
            one = 0.5 * h * decay(RIGHT * h, settings.tau_post)
            two = 0.5 * h * decay(LEFT * h, settings.tau_post)
            f = filtered[2 * q]
            g = filtered[2 * q + 1]
            for k in range(n):
                after[k] = after[k] * whole + one * f[k] + two * g[k]


@stage
def _meet_psi(q, h, signal, filtered, back, settings):
    """psi of piece q, of length h, meets the traces of arrivals before it."""
    n = back.trace.size
    for node in range(2):
        at = 3 * q + 1 + node
        d = 0.5 * h * settings.a_pre * signal.phi[at]
        if d == 0.0:
            continue
        x = (LEFT if node == 0 else RIGHT) * h
        c = signal.coefficients[signal.row[at]]
        f = filtered[2 * q + node]
        e = d * decay(x, settings.tau_pre)
        for k in range(n):
            back.trace[k] += e * c[k] * f[k]
        if settings.with_psp:
            e = d * psp(x, settings.tau_pre, settings.tau_s)
            for k in range(n):
                back.current[k] += e * c[k] * f[k]


@leaf
def _sweep_back(pieces, signal, filtered, back, settings, gradient):
    """The causal term: each arrival is given what its trace meets from then on."""
    n = back.trace.size
    a = pieces.arrival_edge.size - 1
    s = pieces.spike_edge.size - 1
    for q in range(pieces.edges.size - 2, -1, -1):
        h = pieces.edges[q + 1] - pieces.edges[q]
        whole = decay(h, settings.tau_pre)
        if settings.with_psp:
            fade = decay(h, settings.tau_s)
            drive = psp(h, settings.tau_pre, settings.tau_s)
            for k in range(n):
                back.current[k] = back.current[k] * fade + back.trace[k] * drive
        for k in range(n):
            back.trace[k] *= whole
        if settings.spiking:
            while s >= 0 and pieces.spike_edge[s] == q:
                k = pieces.neurons[s]
                back.trace[k] += settings.a_pre * signal.phi[3 * q] * signal.coefficients[signal.row[3 * q], k]
                s -= 1
        else:
            _meet_psi(q, h, signal, filtered, back, settings)
        while a >= 0 and pieces.arrival_edge[a] == q:
            g = gradient[pieces.sources[a]]
            if settings.with_psp:
                for k in range(n):
                    g[k] += back.current[k]
            else:
                for k in range(n):
                    g[k] += back.trace[k]
            a -= 1


@leaf
def _close_stretch(pieces, back, state, settings, gradient):
    """Give the traces of the stretch's beginning what they met in it, and carry them to its end."""
    edges, before, before_current = pieces.edges, state.before, state.before_current
    end = edges[edges.size - 1]
    for j in range(before.size):
        if before[j] != 0.0 or before_current[j] != 0.0:
            g = gradient[j]
            for k in range(back.trace.size):
                g[k] += before[j] * back.trace[k] + before_current[j] * back.current[k]
    h = end - edges[0]
    whole = decay(h, settings.tau_pre)
    fade = decay(h, settings.tau_s) if settings.with_psp else 0.0
    drive = psp(h, settings.tau_pre, settings.tau_s) if settings.with_psp else 0.0
    for j in range(before.size):
        before[j] = before[j] * whole + before_current[j] * drive
        before_current[j] *= fade
    for a in range(pieces.arrival_edge.size):
        h = end - edges[pieces.arrival_edge[a]]
        j = pieces.sources[a]
        if settings.with_psp:
            before[j] += psp(h, settings.tau_pre, settings.tau_s)
            before_current[j] += decay(h, settings.tau_s)
        else:
            before[j] += decay(h, settings.tau_pre)


@kernel
def eligibility(pieces, signal, u, theta, psi, settings, state, gradient):
    """Adds sum_ij of learning signal times eligibility over a stretch to ``gradient``, (n_sources, n).

    pieces : Pieces; signal : Signal; settings : TraceSettings; state : TraceState, changed
    u : (3 p, n), potentials at each piece's beginning and its two Gauss nodes, psi : Surrogate (not read if spiking)
    """
    n = state.after.size
    filtered = np.empty((0 if settings.spiking else 2 * (pieces.edges.size - 1), n))
    if not settings.spiking:
        _fill_psi(u, theta, psi, filtered)
    if settings.a_post != 0.0:
        _sweep_there(pieces, signal, filtered, state.after, settings, gradient)
    if settings.a_pre != 0.0:
        back = _Back(np.zeros(n), np.zeros(n))
        _sweep_back(pieces, signal, filtered, back, settings, gradient)
        _close_stretch(pieces, back, state, settings, gradient)
