"""Rate-based backpropagation: int psi(u) F dt of every neuron and window, along the recorded spikes of a layer.

All neurons of a sample share the pieces between arrivals and window borders, and their factors; a neuron's own spikes
and releases cut them further, for that neuron alone.
"""

import math

import numpy as np

from evsim._kernels.jit import kernel, leaf

from .rate_pieces import A_I, A_U, CURRENT, M_I, M_U, N_STATE, F, J, V, advance, advance_kept, flow, node_factors
from .surrogates import SIGMOID, surrogate

JACOBIAN, LATER_U, LATER_I, LEFT, KEPT_U, KEPT_I, N_FOUND = range(7)
"""What is found of a window: int psi F; int psi of what a unit potential and current at its beginning leave; F at its
end; what those leave of the potential at its end."""

_SHORT = 0.1
"""Pieces below this many time constants need half of the nodes."""


@kernel
def cut(times, t_stop, windows, longest, start, length, arrival, window):
    """Pieces of [0, t_stop) between arrivals and window borders, none longer than ``longest``; returns their number.

    Written: start, length; arrival, index of the arrival at the piece's beginning or -1; window.
    """
    n = 0
    k = 0
    w = 0
    t = 0.0
    while w < windows:
        border = t_stop * (w + 1) / windows if w + 1 < windows else t_stop
        arrival[n] = -1
        if k < times.size and times[k] <= t:
            arrival[n] = k
            k += 1
        end = min(border, t + longest)
        if k < times.size:
            end = min(end, times[k])
        start[n], length[n], window[n] = t, end - t, w
        n += 1
        t = end
        if t >= border:
            w += 1
    return n


@kernel
def _own_events(
    y, t, end, spikes, spike, release, kept, b0, origin_time,
    few, few_weights, few_integral, many, many_weights, many_integral, brief, em, es, p, gauss,
    tau_m, tau_s, theta, u_reset, t_ref, keep_input, shape, slope, height, hard, in_graph, origin,
):  # fmt: skip
    """A neuron with spikes or a release of its own in [t, end): returns the next spike's index and its release.

    b0 : 1 or 0, as in ``rate_pieces``; origin_time : where the window began; kept[0] : the potential that kicks during
    refractoriness left; brief : ms, pieces up to this take the few nodes
    """
    while t < end:
        b = b0 * math.exp(-(t - origin_time) / tau_s) if b0 > 0.0 else 0.0
        if release > t:
            to = min(release, end)
            n = few.size
            node_factors(to - t, few, few_weights, tau_m, tau_s, em, es, p, gauss)
            flow(y, b, em[n], es[n], p[n], tau_m, False)
            if hard:
                y[F] = y[A_U] = y[A_I] = 0.0
            kept[0] *= em[n]
            y[V] = u_reset
            if to == release and keep_input:
                y[V] = u_reset + kept[0]
            t = to
            continue
        fires = spike < spikes.size and spikes[spike] < end
        to = max(spikes[spike], t) if fires else end
        x, weight, integral = few, few_weights, few_integral
        if to - t > brief:
            x, weight, integral = many, many_weights, many_integral
        n = x.size
        node_factors(to - t, x, weight, tau_m, tau_s, em, es, p, gauss)
        if in_graph:
            advance_kept(y, b, n, em, es, p, gauss, integral, to - t, theta, shape, slope, height, origin)
        else:
            advance(y, b, n, em, es, p, gauss, tau_m, theta, shape, slope, height)
        t = to
        if fires:
            spike += 1
            release = t + t_ref
            y[V] = u_reset
            kept[0] = 0.0
            if hard:
                y[F] = y[A_U] = y[A_I] = 0.0
    return spike, release


@leaf
def _psi(potential, current, em, p, per_theta, shape, slope, psi):
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
def _advance_all(state, psi, b, count, em, es, p, gauss, tau_m, per_theta, shape, slope, later):
    """As ``rate_pieces.advance`` of all neurons together; psi : room. later : are there later windows"""
    for k in range(count):
        _psi(state[V], state[CURRENT], em[k], p[k], per_theta, shape, slope, psi)
        _add(state[J], psi, state[F], gauss[k], em[k], tau_m * (1.0 - em[k]) - b * tau_m * p[k])
        if later:
            _add(state[M_U], psi, state[A_U], gauss[k], em[k], 0.0)
            _add(state[M_I], psi, state[A_I], gauss[k], em[k], b * tau_m * p[k])
    _scale_shift(state[F], em[count], tau_m * (1.0 - em[count]) - b * tau_m * p[count])
    if later:
        _scale_shift(state[A_U], em[count], 0.0)
        _scale_shift(state[A_I], em[count], b * tau_m * p[count])
    _flow_potential(state[V], state[CURRENT], em[count], es[count], p[count])


@kernel
def responses(
    in_times, in_neurons, in_offsets, out_times, out_starts, weight, found, first, last, t_stop, windows,
    theta, u_reset, u_init, t_ref, tau_m, tau_s, keep_input, filtered,
    few, few_weights, few_integral, many, many_weights, many_integral, shape, slope, height, hard, in_graph,
):  # fmt: skip
    """Samples ``first`` ... ``last - 1``; found : (samples, n_out, windows, N_FOUND), written.

    in_* : arrivals; out_times : the layer's spikes ordered by (sample, neuron, time), out_starts where each begins
    weight : (n_in, n_out), of an exponential current or (tau_s = 0) of kicks; theta ... t_ref : (n_out,)
    filtered : does a drive pass through the synaptic current; few, many : Gauss-Legendre nodes in (0, 1); height : psi
    at a threshold of 1, per ms
    """
    n_out = theta.size
    fastest = min(tau_m, tau_s) if tau_s > 0.0 else tau_m
    longest = 0.5 * fastest
    most = many.size + 1
    em, es, p, gauss = np.empty(most), np.empty(most), np.empty(most), np.empty(most)
    own_em, own_es, own_p, own_gauss = np.empty(most), np.empty(most), np.empty(most), np.empty(most)
    state, own = np.empty((N_STATE, n_out)), np.empty((n_out, N_STATE))
    psi, per_theta = np.empty(n_out), 1.0 / theta
    spike, release, kept = np.empty(n_out, np.int64), np.empty(n_out), np.empty((n_out, 1))
    busy = np.empty(n_out, np.int64)
    b0 = 1.0 if filtered and tau_s > 0.0 else 0.0
    for sample in range(first, last):
        arrivals = slice(in_offsets[sample], in_offsets[sample + 1])
        times, sources = in_times[arrivals], in_neurons[arrivals]
        starts = out_starts[sample * n_out : (sample + 1) * n_out + 1]
        room = 2 * (times.size + windows) + int(t_stop / longest) + 2
        start, length = np.empty(room), np.empty(room)
        arrival, window = np.empty(room, np.int64), np.empty(room, np.int64)
        n_pieces = cut(times, t_stop, windows, longest, start, length, arrival, window)
        spike[:] = starts[:-1]
        release[:] = -1.0
        kept[:] = 0.0
        state[:] = 0.0
        state[V] = u_init
        state[A_U] = 1.0
        for s in range(n_pieces):
            if arrival[s] >= 0:
                row = weight[sources[arrival[s]]]
                if tau_s > 0.0:
                    state[CURRENT] += row
                else:
                    for n in range(n_out):
                        if release[n] <= start[s]:
                            state[V, n] += row[n]
                        elif keep_input:
                            kept[n, 0] += row[n]
            if length[s] > 0.0:
                end = start[s] + length[s]
                origin = t_stop * window[s] / windows
                n_busy = 0
                for n in range(n_out):
                    fires = spike[n] < starts[n + 1] and out_times[spike[n]] < end
                    if in_graph or fires or release[n] > start[s]:
                        y = own[n_busy]
                        y[:] = state[:, n]
                        spikes = out_times[spike[n] : starts[n + 1]]
                        goes_to = u_reset[n] if hard else math.nan
                        done, release[n] = _own_events(
                            y, start[s], end, spikes, 0, release[n], kept[n], b0, origin,
                            few, few_weights, few_integral, many, many_weights, many_integral, _SHORT * fastest,
                            own_em, own_es, own_p, own_gauss,
                            tau_m, tau_s, theta[n], u_reset[n], t_ref[n], keep_input,
                            shape, slope, height / theta[n], hard, in_graph, goes_to,
                        )  # fmt: skip
                        spike[n] += done
                        busy[n_busy] = n
                        n_busy += 1
                if n_busy < n_out:
                    short = length[s] <= _SHORT * fastest
                    x, w = (few, few_weights) if short else (many, many_weights)
                    node_factors(length[s], x, w, tau_m, tau_s, em, es, p, gauss)
                    for k in range(x.size):
                        gauss[k] *= height
                    b = b0 * math.exp(-(start[s] - origin) / tau_s) if b0 > 0.0 else 0.0
                    _advance_all(
                        state, psi, b, x.size, em, es, p, gauss, tau_m, per_theta, shape, slope, windows > 1
                    )
                for k in range(n_busy):
                    state[:, busy[k]] = own[k]
            if s + 1 == n_pieces or window[s + 1] != window[s]:
                for n in range(n_out):
                    got = found[sample, n, window[s]]
                    got[JACOBIAN], got[LATER_U], got[LATER_I] = state[J, n], state[M_U, n], state[M_I, n]
                    got[LEFT], got[KEPT_U], got[KEPT_I] = state[F, n], state[A_U, n], state[A_I, n]
                    # A neuron held at its reset forgets what its potential was when the window began.
                    state[A_U, n] = 0.0 if hard and release[n] > start[s] + length[s] else 1.0
                for k in (F, A_I, J, M_U, M_I):
                    state[k] = 0.0
