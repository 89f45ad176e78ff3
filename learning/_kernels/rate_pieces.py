"""One piece of a neuron's trace between two events: what a secondary activation sees of the response to a drive.

With F(t) the potential's response (ms) to a unit drive c (threshold units per ms) that begins with the window,

    F' = -F/tau_m + F_I - k(u) F,        F_I = 1 - b exp(-x/tau_s)

b is 1 where the drive passes through the synaptic current from the window's beginning on, 0 where it acts at once.
k(u) = 0 if the reset is kept out of the gradient, else distance(u) psi(u), the distance that a reset would jump.
Beside F a piece carries what is left of the potential (A_U) and the synaptic current (A_I) of the window's beginning.

Gauss-Legendre nodes; with k(u) the linear equation is solved at the nodes themselves (collocation).
"""

import math

import numpy as np

from evsim._kernels.jit import formula, kernel, leaf
from evsim._kernels.neurons.lif import psp

from .surrogates import surrogate

V, CURRENT, F, A_U, A_I, J, M_U, M_I, N_STATE = range(9)
"""Potential, current; F, A_U, A_I; int psi F, int psi A_U, int psi A_I over the window so far."""


@leaf
def node_factors(length, x, weight, tau_m, tau_s, em, es, p, gauss):
    """Factors at nodes x in (0, 1) of a piece: decays of membrane and current, P, and the weights; all written.

    tau_s = 0 : a delta synapse. The last entry of em, es, p is for the piece's end.
    """
    n = x.size
    for k in range(n + 1):
        t = length if k == n else x[k] * length
        em[k] = math.exp(-t / tau_m)
        es[k] = math.exp(-t / tau_s) if tau_s > 0.0 else 0.0
        p[k] = psp(t, tau_m, tau_s) if tau_s > 0.0 else 0.0
        if k < n:
            gauss[k] = weight[k] * length


@formula
def response(f, b, em, p, tau_m):
    """F after a piece without k(u), from F and b at its beginning."""
    return f * em + tau_m * (1.0 - em) - b * tau_m * p


@leaf
def flow(y, b, em, es, p, tau_m, potential):
    """Carry the state over a piece in which nothing is counted; the potential too, unless it is held."""
    y[F] = response(y[F], b, em, p, tau_m)
    y[A_I] = y[A_I] * em + b * tau_m * p
    y[A_U] *= em
    if potential:
        y[V] = y[V] * em + y[CURRENT] * p
    y[CURRENT] *= es


@leaf
def advance(y, b, n, em, es, p, gauss, tau_m, theta, shape, slope, height):
    """Count a piece with the reset kept out of the gradient; height : psi at the threshold, per unit and ms."""
    for k in range(n):
        u = y[V] * em[k] + y[CURRENT] * p[k]
        w = gauss[k] * height * surrogate(shape, slope * (u / theta - 1.0))
        y[J] += w * response(y[F], b, em[k], p[k], tau_m)
        y[M_U] += w * y[A_U] * em[k]
        y[M_I] += w * (y[A_I] * em[k] + b * tau_m * p[k])
    flow(y, b, em[n], es[n], p[n], tau_m, True)


@kernel
def advance_kept(y, b, n, em, es, p, gauss, integral, length, theta, shape, slope, height, origin):
    """Count a piece with the reset in the gradient. integral : (n, n), from 0 to each node, of a unit piece.

    origin : the potential that a hard reset goes to, so that k = (u - origin) psi; NaN: soft, k = theta psi
    """
    psi = np.empty(n)
    jump = np.empty(n)
    for k in range(n):
        u = y[V] * em[k] + y[CURRENT] * p[k]
        psi[k] = height * surrogate(shape, slope * (u / theta - 1.0))
        jump[k] = psi[k] * (theta if math.isnan(origin) else u - origin)
    fade = np.empty(n + 1)
    for i in range(n + 1):
        total = 0.0
        for k in range(n):
            total += jump[k] * (gauss[k] if i == n else length * integral[i, k])
        fade[i] = em[i] * math.exp(-total)
    f = y[F]
    a_u = y[A_U]
    a_i = y[A_I]
    for i in range(n + 1):
        grown = 0.0
        late = 0.0
        for k in range(n):
            w = (gauss[k] if i == n else length * integral[i, k]) / fade[k]
            grown += w * (1.0 - b * es[k])
            late += w * b * es[k]
        if i == n:
            y[F] = fade[i] * (f + grown)
            y[A_U] = fade[i] * a_u
            y[A_I] = fade[i] * (a_i + late)
        else:
            w = gauss[i] * psi[i]
            y[J] += w * fade[i] * (f + grown)
            y[M_U] += w * fade[i] * a_u
            y[M_I] += w * fade[i] * (a_i + late)
    y[V] = y[V] * em[n] + y[CURRENT] * p[n]
    y[CURRENT] *= es[n]
