"""TSSL-BP on recorded spikes: the errors of spikes and of quiet maxima of the potential, and the way back from them.

psi of an event is the derivative of the loss by the neuron's potential there, as the rule sees it. From there on all
is linear: with lam_V = -psi/tau_m at the event (a KICK: lam_I = -psi h/(tau_m tau_s), the current of one step h), 0
before the neuron's last release, and the adjoint flow of ``adjoint.py``,

    -tau_s lam_I (t) = sum over events of psi eps(t_event - release, t_event - t)            (the S-PSP summand)
    lam_V - lam_I    = its derivative by t
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage
from evsim._kernels.neurons.lif import decay, psp

from .adjoint import adjoint_k

TOP_OF_U, SPIKE, KICK = 0, 1, 2
"""Kinds of events."""

KEEP_NONE, KEEP_CODE, KEEP_EXACT = 0, 1, 2


class SpikeSignal(NamedTuple):
    """At each spike of a batch: its current; that at the release after it (read with KEEP_EXACT only); C or dC/dt."""

    currents: np.ndarray
    at_release: np.ndarray
    signal: np.ndarray


class SpikeFactors(NamedTuple):
    """psi of a spike = sign signal unit/u' + what the neuron's next spike hands back, by intra: KEEP_NONE, ..."""

    sign: float
    unit: float
    intra: int


class SpikeErrors(NamedTuple):
    """Of each spike, written: psi in two parts that add up; whether u' was below its least value, which was taken."""

    inter: np.ndarray
    intra: np.ndarray
    clipped: np.ndarray


@leaf
def _spike_error(k, later, spikes, at, neurons, least_slope, factors, errors):
    """psi of spike k; later : the neuron's next spike, -1 without."""
    n = spikes.neurons[k]
    t = spikes.times[k]
    errors.clipped[k] = False
    errors.inter[k] = errors.intra[k] = 0.0
    if t == 0.0 and neurons.u_init[n] >= neurons.theta[n]:
        # A neuron that starts above its threshold fires at 0, whatever its input.
        return
    tau_m = neurons.tau_m[0]
    slope = (at.currents[k] - neurons.theta[n]) / tau_m
    if not slope >= least_slope[n]:
        slope = least_slope[n]
        errors.clipped[k] = True
    errors.inter[k] = factors.sign * at.signal[k] * factors.unit / slope
    if later >= 0 and factors.intra != KEEP_NONE:
        released = t + neurons.t_ref[n]
        lost = (neurons.theta[n] if factors.intra == KEEP_CODE else at.at_release[k]) - neurons.u_reset[n]
        carried = (errors.inter[later] + errors.intra[later]) * decay(spikes.times[later] - released, tau_m)
        errors.intra[k] = carried * lost / (tau_m * slope)


@kernel
def spike_errors(spikes, at, neurons, least_slope, factors, errors, first, last):
    """psi of every spike of samples ``first`` ... ``last - 1``.

    spikes : Batch; at : SpikeSignal; least_slope : (n_out,), V per ms; factors : SpikeFactors; errors : SpikeErrors
    """
    following = np.empty(neurons.theta.size, np.int64)
    for sample in range(first, last):
        following[:] = -1
        for k in range(spikes.offsets[sample + 1] - 1, spikes.offsets[sample] - 1, -1):
            n = spikes.neurons[k]
            _spike_error(k, following[n], spikes, at, neurons, least_slope, factors, errors)
            following[n] = k


class ErrorEvents(NamedTuple):
    """Events of the layer, offsets as in ``Batch``: their kinds and psi."""

    times: np.ndarray
    neurons: np.ndarray
    offsets: np.ndarray
    kinds: np.ndarray
    psi: np.ndarray


class TSSLGradient(NamedTuple):
    """weight : (n_in, n_out), added to; by_psc, by_time : of each arrival, written: the derivatives by the size and by
    the time of the current that it starts."""

    weight: np.ndarray
    by_psc: np.ndarray
    by_time: np.ndarray


class _Adjoint(NamedTuple):
    """State of the way back, (n_out,) each."""

    lam_v: np.ndarray
    lam_i: np.ndarray


class _Releases(NamedTuple):
    """When each event's neuron would be released, and the order of these times; empty if no neuron is ever held."""

    times: np.ndarray
    order: np.ndarray


@leaf
def _carry(lam_v, lam_i, x, tau_m, tau_s):
    if x <= 0.0:
        return
    em = decay(x, tau_m)
    es = decay(x, tau_s)
    k = adjoint_k(x, tau_m, tau_s)
    for n in range(lam_v.size):
        lam_i[n] = lam_i[n] * es + lam_v[n] * k
        lam_v[n] *= em


@leaf
def _add_to_row(lam_i, row, tau_s):
    for n in range(lam_i.size):
        row[n] -= tau_s * lam_i[n]


@leaf
def _add_up(lam_v, lam_i, weights):
    """sum w lam_I and sum w lam_V."""
    whole = 0.0
    moved = 0.0
    for n in range(weights.size):
        whole += weights[n] * lam_i[n]
        moved += weights[n] * lam_v[n]
    return whole, moved


@stage
def _arrive(a, row, weight, adjoint, gradient, tau_s, by_weight, by_signal):
    """Arrival a, of source ``row``: the current that it starts has lam_I of all neurons."""
    if by_weight:
        _add_to_row(adjoint.lam_i, gradient.weight[row], tau_s)
    if by_signal:
        whole, moved = _add_up(adjoint.lam_v, adjoint.lam_i, weight[row])
        gradient.by_psc[a] = -tau_s * whole
        gradient.by_time[a] = moved - whole


@stage
def _start(s, events, adjoint, tau_m, tau_s, step):
    """The way back begins at event s of its neuron; a spike lets nothing of what comes after it pass."""
    n = events.neurons[s]
    if events.kinds[s] == KICK:
        adjoint.lam_i[n] -= events.psi[s] * step / (tau_m * tau_s)
    else:
        if events.kinds[s] == SPIKE:
            adjoint.lam_v[n] = 0.0
        adjoint.lam_v[n] -= events.psi[s] / tau_m


@leaf
def _back_through(
    sample, arrivals, events, releases, neurons, weight, adjoint, gradient, t_stop, step, by_weight, by_signal
):
    """One sample, from its last event to its first arrival."""
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    a0, a = arrivals.offsets[sample], arrivals.offsets[sample + 1] - 1
    s0, s = events.offsets[sample], events.offsets[sample + 1] - 1
    r = releases.order.size - 1
    now = t_stop
    while a >= a0 and arrivals.times[a] >= t_stop:
        a -= 1
    while r >= 0 and releases.times[releases.order[r]] >= t_stop:
        r -= 1
    while a >= a0:
        t_in = arrivals.times[a]
        t_event = events.times[s] if s >= s0 else -math.inf
        t_release = releases.times[releases.order[r]] if r >= 0 else -math.inf
        t = max(t_in, t_event, t_release)
        _carry(adjoint.lam_v, adjoint.lam_i, now - t, tau_m, tau_s)
        now = t
        if t_in == t:
            _arrive(a, arrivals.neurons[a], weight, adjoint, gradient, tau_s, by_weight, by_signal)
            a -= 1
        elif t_release == t:
            # Only a spike holds its neuron.
            if events.kinds[s0 + releases.order[r]] == SPIKE:
                adjoint.lam_v[events.neurons[s0 + releases.order[r]]] = 0.0
            r -= 1
        else:
            _start(s, events, adjoint, tau_m, tau_s, step)
            s -= 1


@kernel
def backpropagate(
    arrivals, events, neurons, weight, gradient, first, last, t_stop, step, by_weight, by_signal
):  # fmt: skip
    """Back from the events of samples ``first`` ... ``last - 1`` to their arrivals.

    arrivals : Batch; events : ErrorEvents; weight : (n_in, n_out); gradient : TSSLGradient, of which the weight is
    taken if ``by_weight``, the others if ``by_signal``; step : h of kicks, ms
    """
    n_out = neurons.theta.size
    adjoint = _Adjoint(np.empty(n_out), np.empty(n_out))
    refractory = np.any(neurons.t_ref > 0.0)
    for sample in range(first, last):
        if by_signal:
            part = slice(arrivals.offsets[sample], arrivals.offsets[sample + 1])
            gradient.by_psc[part] = 0.0
            gradient.by_time[part] = 0.0
        adjoint.lam_v[:] = 0.0
        adjoint.lam_i[:] = 0.0
        releases = _Releases(np.empty(0), np.empty(0, np.int64))
        if refractory:
            part = slice(events.offsets[sample], events.offsets[sample + 1])
            times = events.times[part] + neurons.t_ref[events.neurons[part]]
            releases = _Releases(times, np.argsort(times, kind="mergesort"))
        _back_through(
            sample, arrivals, events, releases, neurons, weight, adjoint, gradient, t_stop, step, by_weight, by_signal
        )


@kernel
def backpropagate_analog(events, neurons, first, last, step, d_final):
    """dL/dJ of samples ``first`` ... ``last - 1``, (samples, n_out), written: constant input that ends up as current J.

    The potential at a spike or top has J (1 - exp(-x/tau_m)) - J exp(-r/tau_s) P(x) of it, x after the release r; a
    kick has the current of one step, ms.
    """
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    release = np.empty(neurons.theta.size)
    for sample in range(first, last):
        release[:] = 0.0
        d_final[sample] = 0.0
        for k in range(events.offsets[sample], events.offsets[sample + 1]):
            n = events.neurons[k]
            t = events.times[k]
            if events.kinds[k] == KICK:
                d_final[sample, n] -= events.psi[k] * step / tau_m * math.expm1(-t / tau_s)
                continue
            x = t - release[n]
            share = -math.expm1(-x / tau_m) - decay(release[n], tau_s) * psp(x, tau_m, tau_s)
            d_final[sample, n] += events.psi[k] * share
            if events.kinds[k] == SPIKE:
                release[n] = t + neurons.t_ref[n]
