"""Rate-based backpropagation: int psi(u) F dt of every neuron and window, along the recorded spikes of a layer.

All neurons of a sample share the pieces between arrivals and window borders, and their factors; a neuron's own spikes
and releases cut them further, for that neuron alone.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage

from .arrays import Surrogate
from .rate_pieces import (
    A_I,
    A_U,
    CURRENT,
    M_I,
    M_U,
    N_STATE,
    F,
    J,
    PieceFactors,
    V,
    advance,
    advance_with_reset,
    fill_factors,
    flow,
)
from .surrogates import SIGMOID, surrogate

JACOBIAN, LATER_U, LATER_I, LEFT, KEPT_U, KEPT_I, N_RESPONSES = range(7)
"""The responses of a window: int psi F; int psi of what a unit potential and current at its beginning leave; F at its
end; what those leave of the potential at its end."""

_SHORT = 0.1
"""Pieces below this many time constants need half of the nodes."""


class NeuronSpikes(NamedTuple):
    """Spikes ordered by (sample, neuron, time), and where those of each (sample, neuron) begin."""

    times: np.ndarray
    starts: np.ndarray


class Settings(NamedTuple):
    """How the rule counts.

    few, many : Nodes, for short and for long pieces; psi : Surrogate, height per ms at a threshold of 1
    filtered : does a drive pass through the synaptic current; hard : does a reset forget all; in_graph : is the reset
    part of the gradient
    """

    few: NamedTuple
    many: NamedTuple
    psi: NamedTuple
    filtered: bool
    hard: bool
    in_graph: bool


class _Scales(NamedTuple):
    """Of the layer. tau_s : 0 of a delta synapse; brief : ms, pieces up to this take the few nodes; b0 : 1 or 0, as b
    in ``rate_pieces`` at a window's beginning."""

    tau_m: float
    tau_s: float
    brief: float
    b0: float


class _Pieces(NamedTuple):
    """Pieces of the sample: start and length, ms; the arrival at its beginning, -1: none; its window."""

    start: np.ndarray
    length: np.ndarray
    arrival: np.ndarray
    window: np.ndarray


class _Layer(NamedTuple):
    """State of the neurons, (n,) unless said.

    state : (N_STATE, n); next_spike : its index; release : ms; kicks : what kicks during refractoriness left of the
    potential; per_theta : 1/theta
    Scratch: psi; apart, (n, N_STATE), and busy: states and numbers of the neurons with own events in a piece; shared,
    single : PieceFactors of all neurons, and of one alone
    """

    state: np.ndarray
    next_spike: np.ndarray
    release: np.ndarray
    kicks: np.ndarray
    per_theta: np.ndarray
    psi: np.ndarray
    apart: np.ndarray
    busy: np.ndarray
    shared: NamedTuple
    single: NamedTuple


@leaf
def _cut(pieces, times, t_stop, windows, longest):
    """Pieces of [0, t_stop) between arrivals and window borders, none longer than ``longest``; returns their number."""
    n = 0
    k = 0
    w = 0
    t = 0.0
    while w < windows:
        border = t_stop * (w + 1) / windows if w + 1 < windows else t_stop
        pieces.arrival[n] = -1
        if k < times.size and times[k] <= t:
            pieces.arrival[n] = k
            k += 1
        end = min(border, t + longest)
        if k < times.size:
            end = min(end, times[k])
        pieces.start[n], pieces.length[n], pieces.window[n] = t, end - t, w
        n += 1
        t = end
        if t >= border:
            w += 1
    return n


@stage
def _held(y, n, until, t, b, neurons, settings, scales, layer):
    """A refractory neuron from t until its release, or the piece's end."""
    x = settings.few.x
    fill_factors(layer.single, until - t, x, settings.few.weight, scales.tau_m, scales.tau_s)
    em = layer.single.em[x.size]
    flow(y, b, em, layer.single.es[x.size], layer.single.p[x.size], scales.tau_m, False)
    if settings.hard:
        y[F] = y[A_U] = y[A_I] = 0.0
    layer.kicks[n] *= em
    y[V] = neurons.u_reset[n]
    if until == layer.release[n] and neurons.keep_input[0]:
        y[V] = neurons.u_reset[n] + layer.kicks[n]


@stage
def _count(y, n, length, b, neurons, settings, scales, layer):
    """A stretch of one neuron without own events."""
    theta = neurons.theta[n]
    psi = Surrogate(settings.psi.shape, settings.psi.slope, settings.psi.height / theta)
    x, weight, integral = settings.few.x, settings.few.weight, settings.few.integral
    if length > scales.brief:
        x, weight, integral = settings.many.x, settings.many.weight, settings.many.integral
    fill_factors(layer.single, length, x, weight, scales.tau_m, scales.tau_s)
    if settings.in_graph:
        origin = neurons.u_reset[n] if settings.hard else math.nan
        advance_with_reset(y, b, x.size, layer.single, integral, length, theta, psi, origin)
    else:
        advance(y, b, x.size, layer.single, scales.tau_m, theta, psi)


@stage
def _reset(y, n, t, neurons, settings, layer):
    """The neuron spikes at t."""
    layer.next_spike[n] += 1
    layer.release[n] = t + neurons.t_ref[n]
    y[V] = neurons.u_reset[n]
    layer.kicks[n] = 0.0
    if settings.hard:
        y[F] = y[A_U] = y[A_I] = 0.0


@stage
def _own_events(y, n, begin, end, since, spikes, last_spike, neurons, settings, scales, layer):
    """Carry the state y of neuron n, which has spikes or a release of its own, from ``begin`` to ``end``.

    since : where the window began; last_spike : end of the neuron's spikes in this sample
    """
    t = begin
    while t < end:
        b = scales.b0 * math.exp(-(t - since) / scales.tau_s) if scales.b0 > 0.0 else 0.0
        if layer.release[n] > t:
            until = min(layer.release[n], end)
            _held(y, n, until, t, b, neurons, settings, scales, layer)
            t = until
            continue
        k = layer.next_spike[n]
        fires = k < last_spike and spikes.times[k] < end
        until = max(spikes.times[k], t) if fires else end
        _count(y, n, until - t, b, neurons, settings, scales, layer)
        t = until
        if fires:
            _reset(y, n, t, neurons, settings, layer)


@leaf
def _fill_psi(potential, current, em, p, per_theta, shape, slope, psi):
    """Secondary activation of all neurons at a node, for a height of 1: by the potential, hence 1/theta."""
    if shape == SIGMOID:
        # exp(-z) as the 256th power of its series at z/256: products only, so that several neurons go at a time. Its
        # relative error is 2e-9 at z = 40, where it is 4e-18, and below 1e-12 up to z = 15.
        for n in range(psi.size):
            z = abs(slope * ((potential[n] * em + current[n] * p) * per_theta[n] - 1.0))
            x = (z if z < 40.0 else 40.0) / 256.0
            e = 1.0 - x * (1.0 / 5.0) * (1.0 - x * (1.0 / 6.0) * (1.0 - x * (1.0 / 7.0)))
            e = 1.0 - x * (1.0 - x * 0.5 * (1.0 - x * (1.0 / 3.0) * (1.0 - x * 0.25 * e)))
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            psi[n] = 4.0 * e * per_theta[n] / ((1.0 + e) * (1.0 + e))
    else:
        for n in range(psi.size):
            z = slope * ((potential[n] * em + current[n] * p) * per_theta[n] - 1.0)
            psi[n] = per_theta[n] * surrogate(shape, z)


@leaf
def _add(total, psi, state, weight, em, grown):
    for n in range(total.size):
        total[n] += weight * psi[n] * (state[n] * em + grown)


@leaf
def _scale_shift(state, factor, shift):
    for n in range(state.size):
        state[n] = state[n] * factor + shift


@leaf
def _flow_potential(potential, current, em, es, p):
    for n in range(potential.size):
        potential[n] = potential[n] * em + current[n] * p
        current[n] *= es


@leaf
def _advance_all(state, room, b, count, factors, tau_m, per_theta, psi, later):
    """As ``rate_pieces.advance`` of all neurons together, in passes over one array at a time. room : (n,), scratch;
    later : are there later windows"""
    em, p, gauss = factors.em, factors.p, factors.gauss
    for k in range(count):
        _fill_psi(state[V], state[CURRENT], em[k], p[k], per_theta, psi.shape, psi.slope, room)
        _add(state[J], room, state[F], gauss[k], em[k], tau_m * (1.0 - em[k]) - b * tau_m * p[k])
        if later:
            _add(state[M_U], room, state[A_U], gauss[k], em[k], 0.0)
            _add(state[M_I], room, state[A_I], gauss[k], em[k], b * tau_m * p[k])
    _scale_shift(state[F], em[count], tau_m * (1.0 - em[count]) - b * tau_m * p[count])
    if later:
        _scale_shift(state[A_U], em[count], 0.0)
        _scale_shift(state[A_I], em[count], b * tau_m * p[count])
    _flow_potential(state[V], state[CURRENT], em[count], factors.es[count], p[count])


@stage
def _arrive(row, t, neurons, tau_s, layer):
    """A spike with these weights, (n,), arrives at t."""
    if tau_s > 0.0:
        for n in range(row.size):
            layer.state[CURRENT, n] += row[n]
    else:
        for n in range(row.size):
            if layer.release[n] <= t:
                layer.state[V, n] += row[n]
            elif neurons.keep_input[0]:
                layer.kicks[n] += row[n]


@stage
def _advance_busy(begin, end, since, spikes, starts, neurons, settings, scales, layer):
    """Carry each neuron that has own events in a piece, or a reset in the gradient, into ``apart``; returns their
    number. The others' states are not touched."""
    n_busy = 0
    for n in range(neurons.theta.size):
        k = layer.next_spike[n]
        fires = k < starts[n + 1] and spikes.times[k] < end
        if settings.in_graph or fires or layer.release[n] > begin:
            y = layer.apart[n_busy]
            for row in range(N_STATE):
                y[row] = layer.state[row, n]
            _own_events(y, n, begin, end, since, spikes, starts[n + 1], neurons, settings, scales, layer)
            layer.busy[n_busy] = n
            n_busy += 1
    return n_busy


@stage
def _advance_others(length, b, settings, scales, layer, later):
    """Carry all neurons over a piece as if none had an event of its own."""
    x, weight = settings.few.x, settings.few.weight
    if length > scales.brief:
        x, weight = settings.many.x, settings.many.weight
    fill_factors(layer.shared, length, x, weight, scales.tau_m, scales.tau_s)
    for k in range(x.size):
        layer.shared.gauss[k] *= settings.psi.height
    _advance_all(layer.state, layer.psi, b, x.size, layer.shared, scales.tau_m, layer.per_theta, settings.psi, later)


@stage
def _close_window(out, end, hard, layer):
    """Write the responses of a window, (n, N_RESPONSES) of all windows' second axis; the next begins."""
    state = layer.state
    for n in range(out.shape[0]):
        out[n, JACOBIAN], out[n, LATER_U], out[n, LATER_I] = state[J, n], state[M_U, n], state[M_I, n]
        out[n, LEFT], out[n, KEPT_U], out[n, KEPT_I] = state[F, n], state[A_U, n], state[A_I, n]
        # A neuron held at its reset forgets what its potential was when the window began.
        state[A_U, n] = 0.0 if hard and layer.release[n] > end else 1.0
    for k in (F, A_I, J, M_U, M_I):
        state[k, :] = 0.0


@leaf
def _follow(pieces, n_pieces, sources, starts, spikes, neurons, weight, settings, scales, layer, out, borders):
    """One sample through its pieces; out : (n, windows, N_RESPONSES), written; borders : (windows + 1,), ms."""
    later = borders.size > 2
    for s in range(n_pieces):
        begin = pieces.start[s]
        window = pieces.window[s]
        end = begin + pieces.length[s]
        if pieces.arrival[s] >= 0:
            _arrive(weight[sources[pieces.arrival[s]]], begin, neurons, scales.tau_s, layer)
        if pieces.length[s] > 0.0:
            since = borders[window]
            n_busy = _advance_busy(begin, end, since, spikes, starts, neurons, settings, scales, layer)
            if n_busy < neurons.theta.size:
                b = scales.b0 * math.exp(-(begin - since) / scales.tau_s) if scales.b0 > 0.0 else 0.0
                _advance_others(pieces.length[s], b, settings, scales, layer, later)
            for k in range(n_busy):
                for row in range(N_STATE):
                    layer.state[row, layer.busy[k]] = layer.apart[k, row]
        if s + 1 == n_pieces or pieces.window[s + 1] != window:
            _close_window(out[:, window], end, settings.hard, layer)


@kernel
def _new_factors(most):
    room = most + 1
    return PieceFactors(
        np.empty(room), np.empty(room), np.empty(room), np.empty(room), np.empty(room), np.empty(room), np.empty(room)
    )


@kernel
def responses(arrivals, spikes, neurons, weight, settings, out, first, last, t_stop, windows):
    """Samples ``first`` ... ``last - 1``; out : (samples, n_out, windows, N_RESPONSES), written.

    arrivals : Batch; spikes : NeuronSpikes of the layer; neurons : NeuronArrays, weight : (n_in, n_out), of one
    exponential current or of kicks; settings : Settings
    """
    n_out = neurons.theta.size
    tau_m = neurons.tau_m[0]
    tau_s = neurons.tau_exc[0] if neurons.n_receptors[0] > 0 else 0.0
    fastest = min(tau_m, tau_s) if tau_s > 0.0 else tau_m
    longest = 0.5 * fastest
    scales = _Scales(tau_m, tau_s, _SHORT * fastest, 1.0 if settings.filtered and tau_s > 0.0 else 0.0)
    most = settings.many.x.size
    layer = _Layer(
        np.empty((N_STATE, n_out)), np.empty(n_out, np.int64), np.empty(n_out), np.empty(n_out), 1.0 / neurons.theta,
        np.empty(n_out), np.empty((n_out, N_STATE)), np.empty(n_out, np.int64), _new_factors(most), _new_factors(most),
    )  # fmt: skip
    borders = t_stop * np.arange(windows + 1) / windows
    for sample in range(first, last):
        part = slice(arrivals.offsets[sample], arrivals.offsets[sample + 1])
        starts = spikes.starts[sample * n_out : (sample + 1) * n_out + 1]
        times = arrivals.times[part]
        room = 2 * (times.size + windows) + int(t_stop / longest) + 2
        pieces = _Pieces(np.empty(room), np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64))
        n_pieces = _cut(pieces, times, t_stop, windows, longest)
        layer.next_spike[:] = starts[:-1]
        layer.release[:] = -1.0
        layer.kicks[:] = 0.0
        layer.state[:] = 0.0
        layer.state[V] = neurons.u_init
        layer.state[A_U] = 1.0
        _follow(
            pieces, n_pieces, arrivals.neurons[part], starts, spikes, neurons, weight, settings, scales, layer,
            out[sample], borders,
        )  # fmt: skip
