"""LIF neurons on a time step: forward with exact propagators, and back through time with a surrogate slope.

Arrays are (steps, samples n_neurons), flat in the last axis; neuron k of it is k % n. Between grid points
    u- = leak u + psp i,   i = leak_syn i + drive,   spike where u- >= theta,   u = u_reset there, else u-
u above v_rest + bias. A held (refractory) neuron has the potential -inf in the record.
"""

import math

from evsim._kernels.jit import leaf

from .surrogates import surrogate


@leaf
def deliver(weight, rows, neurons, drive):
    """drive[row] += weight[neuron] for each spike; drive : (steps samples, n_out)."""
    n = weight.shape[1]
    for s in range(rows.size):
        w = weight[neurons[s]]
        to = drive[rows[s]]
        for j in range(n):
            to[j] += w[j]


@leaf
def collect(signal, rows, neurons, gradient):
    """gradient[neuron] += signal[row] for each spike: the transpose of ``deliver``."""
    n = gradient.shape[1]
    for s in range(rows.size):
        g = signal[rows[s]]
        to = gradient[neurons[s]]
        for j in range(n):
            to[j] += g[j]


@leaf
def run_steps(drive, theta, u_reset, u, i, held, spikes, potentials, first, last, leak, leak_syn, psp, hold):
    """Steps ``first`` ... ``last - 1``. u, i, held (steps to go) : state, (samples n,); spikes : (steps, samples n);
    potentials : u- likewise, or with no rows, where it is not wanted.
    """
    n = theta.size
    keep = potentials.shape[0] > 0
    for step in range(first, last):
        for begin in range(0, u.size, n):
            for j in range(n):
                k = begin + j
                x = leak * u[k] + psp * i[k]
                i[k] = leak_syn * i[k] + drive[step, k]
                rests = held[k] > 0
                fires = x >= theta[j] and not rests
                held[k] = hold if fires else held[k] - rests
                u[k] = u_reset[j] if fires or rests else x
                spikes[step, k] = fires
                if keep:
                    potentials[step, k] = -math.inf if rests else x


@leaf
def run_back(
    by_spike, potentials, theta, u_reset, by_u, by_i, by_drive, first, last, leak, leak_syn, psp, shape, slope, height,
    through_reset,
):  # fmt: skip
    """Steps ``last - 1`` ... ``first``, backwards: from dL/d spike to dL/d drive, both (steps, samples n).

    by_u, by_i : dL/du and dL/di behind step ``last - 1``, (samples n,); on return those behind ``first - 1``.
    A spike has the slope psi(u-)/theta in place of a derivative; ``through_reset``: the reset has it too.
    """
    n = theta.size
    for step in range(last - 1, first - 1, -1):
        for begin in range(0, by_u.size, n):
            for j in range(n):
                k = begin + j
                x = potentials[step, k]
                g = 0.0
                if x != -math.inf:
                    fires = x >= theta[j]
                    pull = by_spike[step, k]
                    if through_reset:
                        pull += by_u[k] * (u_reset[j] - x)
                    g = pull * height * surrogate(shape, slope * (x / theta[j] - 1.0)) / theta[j]
                    if not fires:
                        g += by_u[k]
                by_drive[step, k] = by_i[k]
                by_u[k] = leak * g
                by_i[k] = leak_syn * by_i[k] + psp * g
