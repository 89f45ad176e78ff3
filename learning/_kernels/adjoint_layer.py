"""EventProp on a dense layer with one synaptic current: all neurons go back together and share their factors.

The same equations as ``adjoint_events``, without the time constants' gradients. Between two events of the layer every
neuron's adjoint is carried back with the same three factors, in one pass without branches.
"""

import math

import numpy as np

from evsim._kernels.jit import kernel, leaf
from evsim._kernels.neurons.lif import decay

from .adjoint import adjoint_k


@leaf
def _carry(lam_v, lam_i, held, em, es, k, refractory):
    for n in range(lam_v.size):
        lam_i[n] = lam_i[n] * es + lam_v[n] * k
        lam_v[n] *= em
    if refractory:
        for n in range(held.size):
            held[n] *= es


@leaf
def _carry_and_credit(lam_v, lam_i, row, em, es, k, tau_s):
    """Carry back to an arrival and add to its source's row of the gradient."""
    for n in range(lam_v.size):
        i = lam_i[n] * es + lam_v[n] * k
        lam_i[n] = i
        lam_v[n] *= em
        row[n] -= tau_s * i


@leaf
def _credit_spike(lam_v, lam_i, weights):
    """dL/d arrival time of a spike that reaches all neurons; four partial sums in a fixed order."""
    whole = lam_v.size // 4 * 4
    a = b = c = d = 0.0
    for n in range(0, whole, 4):
        a += weights[n] * (lam_v[n] - lam_i[n])
        b += weights[n + 1] * (lam_v[n + 1] - lam_i[n + 1])
        c += weights[n + 2] * (lam_v[n + 2] - lam_i[n + 2])
        d += weights[n + 3] * (lam_v[n + 3] - lam_i[n + 3])
    total = (a + b) + (c + d)
    for n in range(whole, lam_v.size):
        total += weights[n] * (lam_v[n] - lam_i[n])
    return total


@kernel
def adjoint_layer(
    in_times, in_neurons, in_offsets, out_times, out_neurons, out_currents, out_offsets, signal, first, last, t_stop,
    theta, u_reset, u_init, t_ref, tau_m, tau_s, weight, min_slope, spiking, wants_signal,
    d_input, d_weight, d_theta, d_reset, d_init, d_t_ref,
):  # fmt: skip
    """Gradients of samples ``first`` ... ``last - 1``, added up in their order.

    in_* : arrivals, sorted within a sample; out_* : spikes of the layer and the current at each; signal : dL/dt of
    each, or, if not ``spiking``, dL/dv of the neuron at that instant
    theta ... t_ref : (n_out,); weight, d_weight : (n_in, n_out), added to; d_theta ... d_t_ref : (n_out,), added to
    d_input : dL/dt of each arrival, written if ``wants_signal``
    """
    n_out = theta.size
    lam_v = np.empty(n_out)
    lam_i = np.empty(n_out)
    held = np.empty(n_out)
    shift = np.empty(n_out)
    refractory = False
    if spiking:
        for n in range(n_out):
            refractory = refractory or t_ref[n] > 0.0
    d = 1.0 / tau_s - 1.0 / tau_m
    for sample in range(first, last):
        a0, a = in_offsets[sample], in_offsets[sample + 1] - 1
        s0, s = out_offsets[sample], out_offsets[sample + 1] - 1
        if wants_signal:
            d_input[a0 : a + 1] = 0.0
        if s < s0:
            continue
        lam_v[:] = 0.0
        lam_i[:] = 0.0
        held[:] = 0.0
        shift[:] = 0.0
        releases = out_times[:0]
        of_spike = np.empty(0, np.int64)
        if refractory:
            releases = out_times[s0 : s + 1] + t_ref[out_neurons[s0 : s + 1]]
            of_spike = np.argsort(releases, kind="mergesort")
        now = t_stop
        r = of_spike.size - 1
        while a >= a0 and in_times[a] >= t_stop:
            a -= 1
        while r >= 0 and releases[of_spike[r]] >= t_stop:
            r -= 1
        while a >= a0 or s >= s0:
            t_in = in_times[a] if a >= a0 else -math.inf
            t_out = out_times[s] if s >= s0 else -math.inf
            t_release = releases[of_spike[r]] if r >= 0 else -math.inf
            t = max(t_in, t_out, t_release)
            x = now - t
            now = t
            em = math.exp(-x / tau_m)
            es = math.exp(-x / tau_s)
            k = (em - es) / (tau_s * d) if abs(d) * x > 0.1 else adjoint_k(x, tau_m, tau_s)
            if t_in == t:
                row = in_neurons[a]
                _carry_and_credit(lam_v, lam_i, d_weight[row], em, es, k, tau_s)
                if refractory:
                    for n in range(n_out):
                        held[n] *= es
                        shift[n] += held[n] * weight[row, n]
                if wants_signal:
                    d_input[a] = _credit_spike(lam_v, lam_i, weight[row])
                a -= 1
                continue
            _carry(lam_v, lam_i, held, em, es, k, refractory)
            if not spiking:
                lam_v[out_neurons[s]] -= signal[s] / tau_m
                s -= 1
                continue
            releasing = t_release == t
            n = out_neurons[of_spike[r] + s0] if releasing else out_neurons[s]
            if releasing or not refractory:
                lam = lam_v[n]
                held[n] = lam
                shift[n] = -lam * u_reset[n]
                d_reset[n] -= tau_m * lam
                lam_v[n] = 0.0
                r -= 1
            if not releasing:
                delayed = shift[n] + held[n] * out_currents[s]
                d_t_ref[n] += delayed
                held[n] = shift[n] = 0.0
                if not (t == 0.0 and u_init[n] >= theta[n]):
                    lam = (signal[s] + delayed) / max(out_currents[s] - theta[n], min_slope)
                    lam_v[n] = lam
                    d_theta[n] += tau_m * lam
                s -= 1
        em = decay(now, tau_m)
        for n in range(n_out):
            d_init[n] -= tau_m * lam_v[n] * em
