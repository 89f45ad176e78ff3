"""EventProp on a dense layer with one synaptic current: all neurons go back together and share their factors.

The same equations as ``adjoint_events``, without the time constants' gradients. Between two events of the layer every
neuron's adjoint is carried back with the same three factors, in one pass without branches.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage
from evsim._kernels.neurons.lif import decay

from .adjoint import adjoint_k


class LayerSpikes(NamedTuple):
    """Spikes of the layer, offsets as in ``Batch``; the current at each, and dL/dt of each: or, of neurons that do not
    spike, dL/dv at that instant."""

    times: np.ndarray
    neurons: np.ndarray
    offsets: np.ndarray
    currents: np.ndarray
    signal: np.ndarray


class LayerGradient(NamedTuple):
    """dL/d arrival, (n_arrivals,), written if wanted; the others, weight (n_in, n_out), else (n_out,), are added to."""

    arrival: np.ndarray
    weight: np.ndarray
    theta: np.ndarray
    u_reset: np.ndarray
    u_init: np.ndarray
    t_ref: np.ndarray


class _Adjoint(NamedTuple):
    """State of the way back, (n_out,) each.

    held : lam_V just after the latest release, decayed like the current: what input before that release still does
    shift : dL/d release so far, of the currents that are there at the release
    """

    lam_v: np.ndarray
    lam_i: np.ndarray
    held: np.ndarray
    shift: np.ndarray


class _Releases(NamedTuple):
    """When each spike's neuron is released, and the order of these times; empty if no neuron is ever held."""

    times: np.ndarray
    order: np.ndarray


@leaf
def _carry(lam_v, lam_i, held, em, es, k, refractory):
    for n in range(lam_v.size):
        lam_i[n] = lam_i[n] * es + lam_v[n] * k
        lam_v[n] *= em
    if refractory:
        for n in range(held.size):
            held[n] *= es


@leaf
def _carry_to_arrival(lam_v, lam_i, row, em, es, k, tau_s):
    """Carry back to an arrival and add to its source's row of the gradient."""
    for n in range(lam_v.size):
        i = lam_i[n] * es + lam_v[n] * k
        lam_i[n] = i
        lam_v[n] *= em
        row[n] -= tau_s * i


@leaf
def _by_arrival_time(lam_v, lam_i, weights):
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


@stage
def _release(n, neurons, adjoint, gradient):
    """Back through a neuron's release: what its potential was before has no effect on what comes after."""
    lam = adjoint.lam_v[n]
    adjoint.held[n] = lam
    adjoint.shift[n] = -lam * neurons.u_reset[n]
    gradient.u_reset[n] -= neurons.tau_m[0] * lam
    adjoint.lam_v[n] = 0.0


@stage
def _fire(n, t, s, spikes, neurons, adjoint, gradient, min_slope):
    """Back through spike s of neuron n at t: its release moves with it, and it moves with the potential before it."""
    delayed = adjoint.shift[n] + adjoint.held[n] * spikes.currents[s]
    gradient.t_ref[n] += delayed
    adjoint.held[n] = adjoint.shift[n] = 0.0
    # A neuron that starts above its threshold fires at 0, whatever its input.
    if not (t == 0.0 and neurons.u_init[n] >= neurons.theta[n]):
        lam = (spikes.signal[s] + delayed) / max(spikes.currents[s] - neurons.theta[n], min_slope)
        adjoint.lam_v[n] = lam
        gradient.theta[n] += neurons.tau_m[0] * lam


@leaf
def _back_through(
    sample, arrivals, spikes, releases, neurons, weight, adjoint, gradient, t_stop, min_slope, spiking, wants_signal
):
    """One sample, from its last event to its first; returns the time of that."""
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    d = 1.0 / tau_s - 1.0 / tau_m
    refractory = releases.order.size > 0
    lam_v, lam_i, held, shift = adjoint.lam_v, adjoint.lam_i, adjoint.held, adjoint.shift
    a0, a = arrivals.offsets[sample], arrivals.offsets[sample + 1] - 1
    s0, s = spikes.offsets[sample], spikes.offsets[sample + 1] - 1
    r = releases.order.size - 1
    now = t_stop
    while a >= a0 and arrivals.times[a] >= t_stop:
        a -= 1
    while r >= 0 and releases.times[releases.order[r]] >= t_stop:
        r -= 1
    while a >= a0 or s >= s0:
        t_in = arrivals.times[a] if a >= a0 else -math.inf
        t_out = spikes.times[s] if s >= s0 else -math.inf
        t_release = releases.times[releases.order[r]] if r >= 0 else -math.inf
        t = max(t_in, t_out, t_release)
        x = now - t
        now = t
        em = math.exp(-x / tau_m)
        es = math.exp(-x / tau_s)
        k = (em - es) / (tau_s * d) if abs(d) * x > 0.1 else adjoint_k(x, tau_m, tau_s)
        if t_in == t:
            row = arrivals.neurons[a]
            _carry_to_arrival(lam_v, lam_i, gradient.weight[row], em, es, k, tau_s)
            if refractory:
                for n in range(held.size):
                    held[n] *= es
                    shift[n] += held[n] * weight[row, n]
            if wants_signal:
                gradient.arrival[a] = _by_arrival_time(lam_v, lam_i, weight[row])
            a -= 1
            continue
        _carry(lam_v, lam_i, held, em, es, k, refractory)
        if not spiking:
            lam_v[spikes.neurons[s]] -= spikes.signal[s] / tau_m
            s -= 1
        elif t_release == t:
            _release(spikes.neurons[releases.order[r] + s0], neurons, adjoint, gradient)
            r -= 1
        else:
            n = spikes.neurons[s]
            if not refractory:
                # Released at once.
                _release(n, neurons, adjoint, gradient)
            _fire(n, t, s, spikes, neurons, adjoint, gradient, min_slope)
            s -= 1
    return now


@kernel
def adjoint_layer(
    arrivals, spikes, neurons, weight, gradient, first, last, t_stop, min_slope, spiking, wants_signal
):  # fmt: skip
    """Gradients of samples ``first`` ... ``last - 1``, added up in their order.

    arrivals : Batch; spikes : LayerSpikes; neurons : NeuronArrays of one tau_m and one tau_exc; weight : (n_in, n_out)
    gradient : LayerGradient; spiking : do the neurons spike; wants_signal : is dL/d arrival wanted
    """
    n_out = neurons.theta.size
    adjoint = _Adjoint(np.empty(n_out), np.empty(n_out), np.empty(n_out), np.empty(n_out))
    refractory = spiking and np.any(neurons.t_ref > 0.0)
    for sample in range(first, last):
        if wants_signal:
            gradient.arrival[arrivals.offsets[sample] : arrivals.offsets[sample + 1]] = 0.0
        s0, s1 = spikes.offsets[sample], spikes.offsets[sample + 1]
        if s1 == s0:
            continue
        adjoint.lam_v[:] = 0.0
        adjoint.lam_i[:] = 0.0
        adjoint.held[:] = 0.0
        adjoint.shift[:] = 0.0
        releases = _Releases(np.empty(0), np.empty(0, np.int64))
        if refractory:
            times = spikes.times[s0:s1] + neurons.t_ref[spikes.neurons[s0:s1]]
            releases = _Releases(times, np.argsort(times, kind="mergesort"))
        now = _back_through(
            sample, arrivals, spikes, releases, neurons, weight, adjoint, gradient, t_stop, min_slope, spiking,
            wants_signal,
        )  # fmt: skip
        em = decay(now, neurons.tau_m[0])
        for n in range(n_out):
            gradient.u_init[n] -= neurons.tau_m[0] * adjoint.lam_v[n] * em
