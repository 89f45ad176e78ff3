"""LIF neurons on a time step: forward with exact propagators, and back through time with a surrogate slope.

Arrays are (steps, samples n_neurons), flat in the last axis; neuron k of it is k % n. Between grid points
    u- = leak u + psp i,   i = leak_syn i + drive,   spike where u- >= theta,   u = u_reset there, else u-
u above v_rest + bias. A held (refractory) neuron has the potential -inf in the record.
"""

import math
from typing import NamedTuple

import numpy as np

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


class StepFactors(NamedTuple):
    """Of one step: leak of u, leak of i, and what u gets from i."""

    leak: float
    leak_syn: float
    psp: float


class GridState(NamedTuple):
    """(samples n,): u, i, and steps for which a neuron is still held."""

    u: np.ndarray
    i: np.ndarray
    held: np.ndarray


class GridAdjoint(NamedTuple):
    """dL/du and dL/di, (samples n,)."""

    u: np.ndarray
    i: np.ndarray


@leaf
def run_steps(drive, theta, u_reset, state, spikes, potentials, factors, hold, first, last):
    """Steps ``first`` ... ``last - 1``. state : GridState; spikes : (steps, samples n), written; potentials : u-
    likewise, or with no rows, where it is not wanted; factors : StepFactors; hold : steps that a spike holds a neuron
    """
    n = theta.size
    u, i, held = state
    wants_potentials = potentials.shape[0] > 0
    for step in range(first, last):
        for begin in range(0, u.size, n):
            for j in range(n):
                k = begin + j
                x = factors.leak * u[k] + factors.psp * i[k]
                i[k] = factors.leak_syn * i[k] + drive[step, k]
                rests = held[k] > 0
                fires = x >= theta[j] and not rests
                held[k] = hold if fires else held[k] - rests
                u[k] = u_reset[j] if fires or rests else x
                spikes[step, k] = fires
                if wants_potentials:
                    potentials[step, k] = -math.inf if rests else x


@leaf
def run_back(
    by_spike, potentials, theta, u_reset, adjoint, by_drive, factors, psi, through_reset, first, last
):  # fmt: skip
    """Steps ``last - 1`` ... ``first``, backwards: from dL/d spike to dL/d drive, both (steps, samples n).

    adjoint : GridAdjoint behind step ``last - 1``; on return that behind ``first - 1``.
    A spike has the slope psi(u-)/theta in place of a derivative; ``through_reset``: the reset has it too.
    """
    n = theta.size
    by_u, by_i = adjoint
    for step in range(last - 1, first - 1, -1):
        for begin in range(0, by_u.size, n):
            for j in range(n):
                k = begin + j
                x = potentials[step, k]
                g = 0.0
                if x != -math.inf:
                    fires = x >= theta[j]
                    push = by_spike[step, k]
                    if through_reset:
                        push += by_u[k] * (u_reset[j] - x)
                    g = push * psi.height * surrogate(psi.shape, psi.slope * (x / theta[j] - 1.0)) / theta[j]
                    if not fires:
                        g += by_u[k]
                by_drive[step, k] = by_i[k]
                by_u[k] = factors.leak * g
                by_i[k] = factors.leak_syn * by_i[k] + factors.psp * g
