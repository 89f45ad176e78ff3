"""Scalar formulas of the LIF membrane between two events.

Shifted potential u = v - v_inf with v_inf = v_rest + bias; theta = v_th - v_inf. With currents I_r:

    u(t) = u0 exp(-t/tau_m) + sum_r I_r P_r(t),        I_r(t) = I_r exp(-t/tau_r)
    P(t) = (t/tau_m) exp(-t/max(tau_m, tau_s)) phi(|1/tau_s - 1/tau_m| t),    phi(x) = (1 - exp(-x))/x

P is the response to a unit current jump; written so, it holds for every ratio tau_m/tau_s, the equal one
included, without a switch (the textbook difference of exponentials loses all digits near 1), and the
slower exponential in front keeps tiny numbers from being multiplied by huge ones.
"""

import math

from ..jit import formula


@formula
def phi(x):
    """(1 - exp(-x)) / x, 1 at x = 0; any sign of x."""
    if x == 0.0:
        return 1.0
    return -math.expm1(-x) / x


@formula
def psp(t, tau_m, tau_s):
    """P(t): potential at t (ms, any sign) after a unit jump of the current at 0, from rest."""
    if tau_m >= tau_s:
        return t / tau_m * math.exp(-t / tau_m) * phi((tau_m - tau_s) / (tau_m * tau_s) * t)
    return t / tau_m * math.exp(-t / tau_s) * phi((tau_s - tau_m) / (tau_m * tau_s) * t)


@formula
def psp_peak(tau_m, tau_s):
    """Largest value of P: r^(-r/(r-1)) with r = tau_m/tau_s; 1/e at r = 1."""
    x = (tau_m - tau_s) / tau_s
    if abs(x) < 1e-7:
        return math.exp(-1.0 - 0.5 * x)
    return math.exp(-math.log1p(x) * (1.0 + x) / x)


@formula
def rise_bound(u, current, h_over_tau):
    """Upper bound of u over the next h = h_over_tau tau_m without input, for all time constants and signs.

    ``current`` is the sum of the positive currents. With those alone the trace lies above the true one,
    and where it rises it is concave, hence below its tangent. No exponential.
    """
    rise = current - u
    if rise <= 0.0:
        return u
    return u + rise * h_over_tau


@formula
def decay(t, tau):
    """exp(-t/tau)."""
    return math.exp(-t / tau)


@formula
def fade(t, current, tau):
    """A current after t ms; a current of 0 costs no exponential."""
    if current == 0.0:
        return 0.0
    return current * math.exp(-t / tau)


@formula
def flow_u(t, u, i_exc, i_inh, tau_m, tau_exc, tau_inh, n_receptors):
    """u after t ms without input or spike. n_receptors: 0 (delta), 1, or 2."""
    out = u * math.exp(-t / tau_m)
    if n_receptors > 0 and i_exc != 0.0:
        out += i_exc * psp(t, tau_m, tau_exc)
    if n_receptors > 1 and i_inh != 0.0:
        out += i_inh * psp(t, tau_m, tau_inh)
    return out
