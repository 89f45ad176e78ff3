"""A non-spiking readout: the highest potential over a sample, and the weighted integral of a potential."""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import formula, kernel, leaf, stage
from evsim._kernels.neurons.crossing import peak_time
from evsim._kernels.neurons.lif import decay, phi, psp

from .adjoint import moment, weighted_convolution


class Peaks(NamedTuple):
    """Written of each sample and neuron, (samples, n_out): the highest u; the first instant that reaches it; corner,
    the arrival at which the trace stops rising (-1: a smooth peak, or an end); du/dt there."""

    value: np.ndarray
    when: np.ndarray
    corner: np.ndarray
    slope: np.ndarray


@stage
def _inner_peak(n, now, x, u, i, tau_m, tau_s, peaks, sample):
    """A smooth maximum within x ms of now, if it is the highest so far; u, i : of the neuron now."""
    y = min(peak_time(u, i, 0.0, tau_m, tau_s, tau_s, 1, x), x)
    peak = i * decay(y, tau_s)
    if peak > peaks.value[sample, n]:
        peaks.value[sample, n] = peak
        peaks.when[sample, n] = now + y
        peaks.corner[sample, n] = -1


@leaf
def _highest_of_sample(sample, arrivals, weight, u, i, peaks, tau_m, tau_s, t_stop):
    """From arrival to arrival; u, i : (n_out,), at 0 ms, changed."""
    top, at = peaks.value[sample], peaks.when[sample]
    corner, slope = peaks.corner[sample], peaks.slope[sample]
    now = 0.0
    for k in range(arrivals.offsets[sample], arrivals.offsets[sample + 1] + 1):
        ends = k == arrivals.offsets[sample + 1] or arrivals.times[k] >= t_stop
        t = t_stop if ends else arrivals.times[k]
        x = t - now
        em = decay(x, tau_m)
        es = decay(x, tau_s)
        p = psp(x, tau_m, tau_s)
        for n in range(u.size):
            u1 = u[n] * em + i[n] * p
            i1 = i[n] * es
            if i[n] > max(u[n], top[n]) and i1 < u1 and i[n] > 0.0:
                _inner_peak(n, now, x, u[n], i[n], tau_m, tau_s, peaks, sample)
            if u1 > top[n]:
                top[n] = u1
                at[n] = t
                corner[n] = -1 if ends else k
                slope[n] = (i1 - u1) / tau_m
            u[n] = u1
            i[n] = i1
        now = t
        if ends:
            break
        row = weight[arrivals.neurons[k]]
        for n in range(u.size):
            i[n] += row[n]


@kernel
def highest(arrivals, neurons, weight, peaks, first, last, t_stop):
    """Highest u of each neuron over [0, t_stop] in samples ``first`` ... ``last - 1``.

    arrivals : Batch; neurons : NeuronArrays of one tau_m and one tau_exc; weight : (n_in, n_out); peaks : Peaks
    """
    n_out = neurons.u_init.size
    u, i = np.empty(n_out), np.empty(n_out)
    for sample in range(first, last):
        u[:] = neurons.u_init
        i[:] = 0.0
        peaks.value[sample] = neurons.u_init
        peaks.when[sample] = 0.0
        peaks.corner[sample] = -1
        peaks.slope[sample] = 0.0
        _highest_of_sample(sample, arrivals, weight, u, i, peaks, neurons.tau_m[0], neurons.tau_exc[0], t_stop)


@formula
def weighted_integral(length, tau_m, tau_s, rate):
    """int_0^length exp(-rate x) P(x) dx, rate >= 0 per ms."""
    a = 1.0 / tau_m + rate
    b = 1.0 / tau_s + rate
    return (length * phi(b * length) - psp(length, 1.0 / a, 1.0 / b) / a) / (1.0 + rate * tau_m)


@formula
def weighted_integral_by_tau_m(length, tau_m, tau_s, rate):
    """Derivative of ``weighted_integral`` by tau_m."""
    a = 1.0 / tau_m + rate
    b = 1.0 / tau_s + rate
    scale = 1.0 + rate * tau_m
    whole = weighted_integral(length, tau_m, tau_s, rate)
    return -rate * whole / scale - weighted_convolution(length, 1.0 / a, 1.0 / b) / (tau_m * tau_m * scale)


@formula
def weighted_integral_by_tau_s(length, tau_m, tau_s, rate):
    """Derivative of ``weighted_integral`` by tau_s."""
    a = 1.0 / tau_m + rate
    b = 1.0 / tau_s + rate
    inner = length * length * moment(b * length) - weighted_convolution(length, 1.0 / b, 1.0 / a)
    return inner / (tau_s * tau_s * (1.0 + rate * tau_m))


@formula
def psp_by_tau_m(x, tau_m, tau_s):
    """Derivative of P(x) by tau_m."""
    return -psp(x, tau_m, tau_s) / tau_m + weighted_convolution(x, tau_m, tau_s) / tau_m**3


@formula
def psp_by_tau_s(x, tau_m, tau_s):
    """Derivative of P(x) by tau_s."""
    return weighted_convolution(x, tau_s, tau_m) / (tau_m * tau_s * tau_s)


@kernel
def integral_factors(times, t_stop, tau_m, tau_s, rate, out):
    """(n, k) for arrivals at ``times``: the integral's share of a unit weight, its derivatives by the arrival time and,
    with k = 4, by tau_m and by tau_s. The integral is of exp(-rate t) v(t) over [0, t_stop]."""
    for k in range(times.size):
        x = t_stop - times[k]
        if x <= 0.0:
            out[k] = 0.0
            continue
        shift = math.exp(-rate * times[k])
        out[k, 0] = shift * weighted_integral(x, tau_m, tau_s, rate)
        out[k, 1] = -rate * out[k, 0] - shift * math.exp(-rate * x) * psp(x, tau_m, tau_s)
        if out.shape[1] == 4:
            out[k, 2] = shift * weighted_integral_by_tau_m(x, tau_m, tau_s, rate)
            out[k, 3] = shift * weighted_integral_by_tau_s(x, tau_m, tau_s, rate)


@kernel
def highest_by_taus(arrivals, neurons, weight, when, error, d_tau_m, d_tau_s):
    """Derivatives of sum(error * highest u) by the time constants of each neuron, (n_out,), added to; when, error :
    (samples, n_out)."""
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    times, sources, offsets = arrivals
    for sample in range(when.shape[0]):
        for n in range(when.shape[1]):
            e = error[sample, n]
            if e == 0.0:
                continue
            t = when[sample, n]
            d_tau_m[n] += e * neurons.u_init[n] * decay(t, tau_m) * t / (tau_m * tau_m)
            for k in range(offsets[sample], offsets[sample + 1]):
                x = t - times[k]
                if x <= 0.0:
                    break
                w = e * weight[sources[k], n]
                d_tau_m[n] += w * psp_by_tau_m(x, tau_m, tau_s)
                d_tau_s[n] += w * psp_by_tau_s(x, tau_m, tau_s)
