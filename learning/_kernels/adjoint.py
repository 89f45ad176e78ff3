"""Formulas of the adjoint flow, backward in time, between two events of a neuron.

With s = the time gone back (ms), lam_V = -(1/tau_m) dL/dV and lam_I = -(1/tau_s) dL/dI (Wunderlich and Pehle 2021):

    tau_m lam_V' = -lam_V,        tau_s lam_I' = -lam_I + lam_V

so lam_I gains lam_V K(s), K(s) = (s/tau_s) exp(-s/max(tau_m, tau_s)) phi(|1/tau_s - 1/tau_m| s). What time constants
need is linear in weights and resets too, with the filtered adjoints

    N' = -N/tau_m + lam_V,    M' = -M/tau_s + lam_I,    B' = -B/tau_s + N

(derived in docs/rules/eventprop.md). All integrals are written so that they hold for every ratio of time constants.
"""

import math

from evsim._kernels.jit import formula
from evsim._kernels.neurons.lif import psp

_SERIES = 0.7
"""Below this the closed forms of g and h lose digits; their series needs 15 terms."""


@formula
def adjoint_k(s, tau_m, tau_s):
    """K(s): lam_I after s ms of a unit lam_V. The membrane drives the current: the PSP with exchanged constants."""
    return psp(s, tau_s, tau_m)


@formula
def moment(z):
    """int_0^1 y exp(-z y) dy, z >= 0."""
    if z > _SERIES:
        return (1.0 - (1.0 + z) * math.exp(-z)) / (z * z)
    term = 1.0
    total = 0.5
    for k in range(1, 17):
        term *= -z / k
        total += term / (k + 2)
    return total


@formula
def comoment(z):
    """int_0^1 (1 - y) exp(-z y) dy, z >= 0."""
    if z > _SERIES:
        return (z + math.expm1(-z)) / (z * z)
    term = 1.0
    total = 0.5
    for k in range(1, 17):
        term *= -z / k
        total += term / ((k + 1) * (k + 2))
    return total


@formula
def weighted_convolution(s, tau_a, tau_b):
    """int_0^s x exp(-x/tau_a) exp(-(s - x)/tau_b) dx."""
    if tau_a <= tau_b:
        return s * s * math.exp(-s / tau_b) * moment((tau_b - tau_a) / (tau_a * tau_b) * s)
    return s * s * math.exp(-s / tau_a) * comoment((tau_a - tau_b) / (tau_a * tau_b) * s)
