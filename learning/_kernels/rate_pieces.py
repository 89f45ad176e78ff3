"""One piece of a neuron's trace between two events: what a secondary activation sees of the response to a drive.

With F(t) the potential's response (ms) to a unit drive c (threshold units per ms) that begins with the window,

    F' = -F/tau_m + F_I - k(u) F,        F_I = 1 - b exp(-x/tau_s)

b is 1 where the drive passes through the synaptic current from the window's beginning on, 0 where it acts at once.
k(u) = 0 if the reset is kept out of the gradient, else distance(u) psi(u), the distance that a reset would jump.
Beside F a piece carries what is left of the potential (A_U) and the synaptic current (A_I) of the window's beginning.

Gauss-Legendre nodes; with k(u) the linear equation is solved at the nodes themselves (collocation).
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import formula, leaf, stage
from evsim._kernels.neurons.lif import psp

from .surrogates import surrogate

V, CURRENT, F, A_U, A_I, J, M_U, M_I, N_STATE = range(9)
"""Potential, current; F, A_U, A_I; int psi F, int psi A_U, int psi A_I over the window so far."""


class Nodes(NamedTuple):
    """Gauss-Legendre rule on (0, 1): nodes, weights, (n,); integral : (n, n), weights of the integrals from 0 to each
    node."""

    x: np.ndarray
    weight: np.ndarray
    integral: np.ndarray


class PieceFactors(NamedTuple):
    """Room for the factors of a piece at its n nodes and, last, at its end.

    em, es, p : decays of membrane and current, P; gauss : weights times the length
    psi, jump, fade : scratch of ``advance_with_reset``
    """

    em: np.ndarray
    es: np.ndarray
    p: np.ndarray
    gauss: np.ndarray
    psi: np.ndarray
    jump: np.ndarray
    fade: np.ndarray


@stage
def fill_factors(factors, length, x, weight, tau_m, tau_s):
    """Write the factors of a piece with nodes x in (0, 1) and their weights. tau_s = 0 : a delta synapse."""
    n = x.size
    for k in range(n + 1):
        t = length if k == n else x[k] * length
        factors.em[k] = math.exp(-t / tau_m)
        factors.es[k] = math.exp(-t / tau_s) if tau_s > 0.0 else 0.0
        factors.p[k] = psp(t, tau_m, tau_s) if tau_s > 0.0 else 0.0
        if k < n:
            factors.gauss[k] = weight[k] * length


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


@stage
def advance(y, b, n, factors, tau_m, theta, psi):
    """Count a piece with the reset kept out of the gradient; height of psi at the threshold: per unit and ms."""
    em, p = factors.em, factors.p
    for k in range(n):
        u = y[V] * em[k] + y[CURRENT] * p[k]
        z = psi.slope * (u / theta - 1.0)
        w = factors.gauss[k] * psi.height * surrogate(psi.shape, z)
        y[J] += w * response(y[F], b, em[k], p[k], tau_m)
        y[M_U] += w * y[A_U] * em[k]
        y[M_I] += w * (y[A_I] * em[k] + b * tau_m * p[k])
    flow(y, b, em[n], factors.es[n], p[n], tau_m, True)


@stage
def _fill_fade(y, n, factors, integral, length, theta, psi, origin):
    """psi at the nodes, and what is left of a potential of the beginning at the nodes and the end, resets included."""
    for k in range(n):
        u = y[V] * factors.em[k] + y[CURRENT] * factors.p[k]
        factors.psi[k] = psi.height * surrogate(psi.shape, psi.slope * (u / theta - 1.0))
        factors.jump[k] = factors.psi[k] * (theta if math.isnan(origin) else u - origin)
    for i in range(n + 1):
        total = 0.0
        for k in range(n):
            total += factors.jump[k] * (factors.gauss[k] if i == n else length * integral[i, k])
        factors.fade[i] = factors.em[i] * math.exp(-total)


@stage
def advance_with_reset(y, b, n, factors, integral, length, theta, psi, origin):
    """Count a piece with the reset in the gradient. integral : (n, n), from 0 to each node, of a unit piece.

    origin : the potential that a hard reset goes to, so that k = (u - origin) psi; NaN: soft, k = theta psi
    """
    _fill_fade(y, n, factors, integral, length, theta, psi, origin)
    fade, es, gauss = factors.fade, factors.es, factors.gauss
    f, a_u, a_i = y[F], y[A_U], y[A_I]
    for i in range(n + 1):
        # Collocation: the drive at each node, faded to this one.
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
            w = gauss[i] * factors.psi[i]
            y[J] += w * fade[i] * (f + grown)
            y[M_U] += w * fade[i] * a_u
            y[M_I] += w * fade[i] * (a_i + late)
    y[V] = y[V] * factors.em[n] + y[CURRENT] * factors.p[n]
    y[CURRENT] *= es[n]
