"""Rate-based backpropagation: int psi(u) F dt of every neuron and window, along the recorded spikes of a layer.

All neurons of a sample share the pieces between arrivals and window borders, and their factors; a neuron's own spikes
and releases cut them further, for that neuron alone.
"""

import math

import numpy as np

from evsim._kernels.jit import kernel

from .rate_pieces import A_I, A_U, CURRENT, M_I, M_U, N_STATE, F, J, V, advance, advance_kept, flow, node_factors

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
    y, t, end, spikes, spike, release, kept, b0, origin_time, x, weight, integral, em, es, p, gauss,
    tau_m, tau_s, theta, u_reset, t_ref, keep_input, shape, slope, height, hard, in_graph, origin,
):  # fmt: skip
    """A neuron with spikes or a release of its own in [t, end): returns the next spike's index and its release.

    b0 : 1 or 0, as in ``rate_pieces``; origin_time : where the window began; kept[0] : the potential that kicks during
    refractoriness left
    """
    n = x.size
    while t < end:
        b = b0 * math.exp(-(t - origin_time) / tau_s) if b0 > 0.0 else 0.0
        if release > t:
            to = min(release, end)
            node_factors(to - t, x, weight, tau_m, tau_s, em, es, p, gauss)
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


@kernel
def responses(
    in_times, in_neurons, in_offsets, out_times, out_starts, weight_t, found, first, last, t_stop, windows,
    theta, u_reset, u_init, t_ref, tau_m, tau_s, keep_input, filtered,
    few, few_weights, few_integral, many, many_weights, many_integral, shape, slope, height, hard, in_graph,
):  # fmt: skip
    """Samples ``first`` ... ``last - 1``; found : (samples, n_out, windows, N_FOUND), written.

    in_* : arrivals; out_times : the layer's spikes ordered by (sample, neuron, time), out_starts where each begins
    weight_t : (n_out, n_in), of an exponential current or (tau_s = 0) of kicks; theta ... t_ref : (n_out,)
    filtered : does a drive pass through the synaptic current; few, many : Gauss-Legendre nodes in (0, 1)
    """
    n_out = theta.size
    fastest = min(tau_m, tau_s) if tau_s > 0.0 else tau_m
    longest = 0.5 * fastest
    most = many.size + 1
    em, es, p, gauss = np.empty(most), np.empty(most), np.empty(most), np.empty(most)
    y = np.empty(N_STATE)
    kept = np.empty(1)
    b0 = 1.0 if filtered and tau_s > 0.0 else 0.0
    for sample in range(first, last):
        times = in_times[in_offsets[sample] : in_offsets[sample + 1]]
        sources = in_neurons[in_offsets[sample] : in_offsets[sample + 1]]
        room = 2 * (times.size + windows) + int(t_stop / longest) + 2
        start, length = np.empty(room), np.empty(room)
        arrival, window = np.empty(room, np.int64), np.empty(room, np.int64)
        n_pieces = cut(times, t_stop, windows, longest, start, length, arrival, window)
        ems, ess = np.empty((n_pieces, most)), np.empty((n_pieces, most))
        ps, weights, before = np.empty((n_pieces, most)), np.empty((n_pieces, most)), np.zeros(n_pieces)
        for s in range(n_pieces):
            short = length[s] <= _SHORT * fastest
            x, w = (few, few_weights) if short else (many, many_weights)
            node_factors(length[s], x, w, tau_m, tau_s, ems[s], ess[s], ps[s], weights[s])
            if b0 > 0.0:
                before[s] = math.exp(-(start[s] - t_stop * window[s] / windows) / tau_s)
        for n in range(n_out):
            spikes = out_times[out_starts[sample * n_out + n] : out_starts[sample * n_out + n + 1]]
            origin = u_reset[n] if hard else math.nan
            scale = height / theta[n]
            spike = 0
            release = -1.0
            y[:] = 0.0
            y[V] = u_init[n]
            y[A_U] = 1.0
            kept[0] = 0.0
            for s in range(n_pieces):
                if arrival[s] >= 0:
                    jump = weight_t[n, sources[arrival[s]]]
                    if tau_s > 0.0:
                        y[CURRENT] += jump
                    elif release <= start[s]:
                        y[V] += jump
                    elif keep_input:
                        kept[0] += jump
                end = start[s] + length[s]
                if release > start[s] or (spike < spikes.size and spikes[spike] < end):
                    spike, release = _own_events(
                        y, start[s], end, spikes, spike, release, kept, b0, t_stop * window[s] / windows,
                        many, many_weights, many_integral, em, es, p, gauss, tau_m, tau_s, theta[n], u_reset[n],
                        t_ref[n], keep_input, shape, slope, scale, hard, in_graph, origin,
                    )  # fmt: skip
                elif length[s] > 0.0:
                    short = length[s] <= _SHORT * fastest
                    count = few.size if short else many.size
                    if in_graph:
                        advance_kept(
                            y, before[s], count, ems[s], ess[s], ps[s], weights[s],
                            few_integral if short else many_integral, length[s], theta[n], shape, slope, scale, origin,
                        )  # fmt: skip
                    else:
                        advance(
                            y, before[s], count, ems[s], ess[s], ps[s], weights[s], tau_m, theta[n], shape, slope, scale
                        )
                if s + 1 == n_pieces or window[s + 1] != window[s]:
                    got = found[sample, n, window[s]]
                    got[JACOBIAN], got[LATER_U], got[LATER_I] = y[J], y[M_U], y[M_I]
                    got[LEFT], got[KEPT_U], got[KEPT_I] = y[F], y[A_U], y[A_I]
                    y[F] = y[A_I] = y[J] = y[M_U] = y[M_I] = 0.0
                    # A neuron held at its reset forgets what its potential was when the window began.
                    y[A_U] = 0.0 if hard and release > end else 1.0
