"""Factors of the flow back to the start of a cell, by short series that vectorise.

An input of weight w at time t after a cell's start acts on everything later as if the cell had started with
``i`` larger by w exp(t/tau_s) and ``u`` larger by w P(-t): P(t - s) = P(-s) exp(-t/tau_m) + exp(s/tau_s) P(t).
So inputs of a cell are sums of constants, in any order, and one flow at the end serves them all.
"""

from ..jit import formula, leaf

LONG = 0.25
"""Largest argument of the series (cell length over time constant): their error stays below 1e-16."""

_SHORT = 1.0 / 64.0


# Reciprocals of factorials; a division costs as much as the rest of a series.
_2, _3, _4, _5, _6, _7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
_8, _9, _10, _11, _12 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600


@formula
def _exp_short(x):
    return 1.0 + x * (1.0 + x * (_2 + x * (_3 + x * (_4 + x * (_5 + x * _6)))))


@formula
def _exp_long(x):
    tail = _6 + x * (_7 + x * (_8 + x * (_9 + x * (_10 + x * _11))))
    return 1.0 + x * (1.0 + x * (_2 + x * (_3 + x * (_4 + x * (_5 + x * tail)))))


@formula
def _phi_short(x):
    """(exp(x) - 1) / x."""
    return 1.0 + x * (_2 + x * (_3 + x * (_4 + x * (_5 + x * (_6 + x * _7)))))


@formula
def _phi_long(x):
    tail = _7 + x * (_8 + x * (_9 + x * (_10 + x * (_11 + x * _12))))
    return 1.0 + x * (_2 + x * (_3 + x * (_4 + x * (_5 + x * (_6 + x * tail)))))


@leaf
def kick_factors(t, n, decay, tau_m, h):
    """decay[k] = exp(t[k]/tau_m) for times in [0, h], h <= LONG tau_m."""
    rate = 1.0 / tau_m
    if h * rate <= _SHORT:
        for k in range(n):
            decay[k] = _exp_short(t[k] * rate)
    else:
        for k in range(n):
            decay[k] = _exp_long(t[k] * rate)


@leaf
def current_factors(t, n, decay, psp, tau_m, tau_s, h):
    """decay[k] = exp(t[k]/tau_s), psp[k] = P(-t[k]) for times in [0, h], h <= LONG min(tau_m, tau_s)."""
    rate = 1.0 / tau_m
    slow = 1.0 / max(tau_m, tau_s)
    gap = abs(tau_m - tau_s) / (tau_m * tau_s)
    # The faster exponential is the slower one times 1 + x phi(x): no digit is lost near equal constants.
    faster = 1.0 if tau_s < tau_m else 0.0
    if h * max(slow, gap) <= _SHORT:
        for k in range(n):
            x = t[k] * gap
            phi = _phi_short(x)
            e = _exp_short(t[k] * slow)
            decay[k] = e + e * (faster * x * phi)
            psp[k] = -t[k] * rate * e * phi
    elif h * slow <= _SHORT:
        for k in range(n):
            x = t[k] * gap
            phi = _phi_long(x)
            e = _exp_short(t[k] * slow)
            decay[k] = e + e * (faster * x * phi)
            psp[k] = -t[k] * rate * e * phi
    else:
        for k in range(n):
            x = t[k] * gap
            phi = _phi_long(x)
            e = _exp_long(t[k] * slow)
            decay[k] = e + e * (faster * x * phi)
            psp[k] = -t[k] * rate * e * phi
