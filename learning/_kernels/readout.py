"""A non-spiking readout: the highest potential over a sample, and the weighted integral of a potential."""

import math

import numpy as np

from evsim._kernels.jit import formula, kernel
from evsim._kernels.neurons.crossing import peak_time
from evsim._kernels.neurons.lif import decay, phi, psp

from .adjoint import moment, weighted_convolution


@kernel
def highest(
    times, neurons, offsets, first, last, t_stop, weight, u_init, tau_m, tau_s, value, when, corner, slope
):  # fmt: skip
    """Highest u of each neuron over [0, t_stop] in samples ``first`` ... ``last - 1``.

    times, neurons, offsets : arrivals; weight : (n_in, n_out). Written, (samples, n_out): value; when, the first
    instant that reaches it; corner, the arrival at which the trace stops rising (-1: a smooth peak, or an end); slope,
    du/dt there
    """
    n_out = u_init.size
    u = np.empty(n_out)
    i = np.empty(n_out)
    for sample in range(first, last):
        top, at = value[sample], when[sample]
        u[:] = u_init
        i[:] = 0.0
        top[:] = u_init
        at[:] = 0.0
        corner[sample, :] = -1
        slope[sample, :] = 0.0
        now = 0.0
        for k in range(offsets[sample], offsets[sample + 1] + 1):
            ends = k == offsets[sample + 1] or times[k] >= t_stop
            t = t_stop if ends else times[k]
            x = t - now
            em = decay(x, tau_m)
            es = decay(x, tau_s)
            p = psp(x, tau_m, tau_s)
            for n in range(n_out):
                u1 = u[n] * em + i[n] * p
                i1 = i[n] * es
                if i[n] > max(u[n], top[n]) and i1 < u1 and i[n] > 0.0:
                    y = min(peak_time(u[n], i[n], 0.0, tau_m, tau_s, tau_s, 1, x), x)
                    peak = i[n] * decay(y, tau_s)
                    if peak > top[n]:
                        top[n] = peak
                        at[n] = now + y
                        corner[sample, n] = -1
                if u1 > top[n]:
                    top[n] = u1
                    at[n] = t
                    corner[sample, n] = -1 if ends else k
                    slope[sample, n] = (i1 - u1) / tau_m
                u[n] = u1
                i[n] = i1
            now = t
            if ends:
                break
            row = weight[neurons[k]]
            for n in range(n_out):
                i[n] += row[n]


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
def highest_by_taus(times, neurons, offsets, when, error, weight, u_init, tau_m, tau_s, d_tau_m, d_tau_s):
    """Derivatives of sum(error * highest u) by the time constants of each neuron, (n_out,), added to."""
    for sample in range(when.shape[0]):
        for n in range(when.shape[1]):
            e = error[sample, n]
            if e == 0.0:
                continue
            t = when[sample, n]
            d_tau_m[n] += e * u_init[n] * decay(t, tau_m) * t / (tau_m * tau_m)
            for k in range(offsets[sample], offsets[sample + 1]):
                x = t - times[k]
                if x <= 0.0:
                    break
                w = e * weight[neurons[k], n]
                d_tau_m[n] += w * psp_by_tau_m(x, tau_m, tau_s)
                d_tau_s[n] += w * psp_by_tau_s(x, tau_m, tau_s)
