"""Steps of a state that carry what rounding loses.

Dense input takes a state through thousands of short steps within one time constant. A factor exp(-t/tau) near 1,
rounded, is wrong by the same amount at each regular step, and so is a rounded sum: errors add up to as many eps as
there are steps. Here a step adds a change, made of the factor's distance from 1 (which has all its digits), and the
rounding error of that sum is kept beside the state as its rest. What remains is the rounding of the changes, which are
small against the state: together they err by a few eps of it, for any number of steps.

A step longer than NEAR of a time constant multiplies instead. Few such steps are remembered, and there a state that
fades by a large factor keeps its digits.
"""

import math

from ..jit import formula
from .lif import psp

NEAR = 0.5

LEAST = 5e-324
"""The smallest number above 0."""


@formula
def add(a, rest, x):
    """a + x and the rest (Knuth's two-sum): only what rounding loses is added to ``rest``."""
    total = a + x
    part = total - a
    return total, rest + ((a - (total - part)) + (x - part))


@formula
def short_step(t, tau_m, tau_s):
    """exp(-t/tau_m) - 1, exp(-t/tau_s) - 1 and P(t), by two exponentials; t < NEAR min(tau_m, tau_s).

    exp(-t/fast) = exp(-t/slow) exp(-x), x = t/fast - t/slow.
    """
    slow = max(tau_m, tau_s)
    fast = min(tau_m, tau_s)
    x = (slow - fast) / (slow * fast) * t
    lost = math.expm1(-t / slow)
    more = math.expm1(-x)
    both = lost + (more + lost * more)
    response = t / tau_m * (1.0 + lost)
    if x > 0.0:
        response *= -more / x
    if tau_m >= tau_s:
        return lost, both, response
    return both, lost, response


@formula
def flow_carried(t, u, rest_u, i, rest_i, tau_m, tau_s):
    """u and one current after t ms without input or spike, each with its rest: (u, rest_u, i, rest_i)."""
    current = i + rest_i
    if current == 0.0:
        u, rest_u = leak(t, u, rest_u, 0.0, tau_m)
        return u, rest_u, 0.0, 0.0
    if t >= NEAR * min(tau_m, tau_s):
        u, rest_u = leak(t, u, rest_u, current * psp(t, tau_m, tau_s), tau_m)
        i, rest_i = fade_carried(t, i, rest_i, tau_s)
        return u, rest_u, i, rest_i
    lost_m, lost_s, response = short_step(t, tau_m, tau_s)
    u, rest_u = add(u, 0.0, rest_u + (u * lost_m + current * response))
    i, rest_i = add(i, 0.0, rest_i + current * lost_s)
    return u, rest_u, i, rest_i


@formula
def fade_carried(t, i, rest, tau):
    """A current and its rest after t ms; a current of 0 costs no exponential."""
    current = i + rest
    if current == 0.0:
        return 0.0, 0.0
    if t >= NEAR * tau:
        return current * math.exp(-t / tau), 0.0
    return add(i, 0.0, rest + current * math.expm1(-t / tau))


@formula
def leak(t, u, rest, gain, tau_m):
    """u and its rest after t ms, in which currents give ``gain``."""
    if t >= NEAR * tau_m:
        v = u * math.exp(-t / tau_m)
        # A potential that fades towards 0 from below never reaches it: threshold 0 must not be met by underflow.
        if v == 0.0 and u < 0.0:
            v = -LEAST
        return v + gain, 0.0
    return add(u, 0.0, rest + (u * math.expm1(-t / tau_m) + gain))


@formula
def flow_potential(t, u, rest, i, j, tau_m, tau_i, tau_j, n_receptors):
    """u and its rest after t ms; i, j : the currents at its start."""
    gain = 0.0
    if n_receptors > 0 and i != 0.0:
        gain = i * psp(t, tau_m, tau_i)
    if n_receptors > 1 and j != 0.0:
        gain += j * psp(t, tau_m, tau_j)
    return leak(t, u, rest, gain, tau_m)


@formula
def step(t, u, rest_u, i, rest_i, j, rest_j, tau_m, tau_i, tau_j, n_receptors):
    """The whole state after t ms, each part with its rest. n_receptors: 0 (delta), 1, or 2 (i, j)."""
    if n_receptors == 0:
        u, rest_u = leak(t, u, rest_u, 0.0, tau_m)
    elif n_receptors == 1 or j + rest_j == 0.0:
        u, rest_u, i, rest_i = flow_carried(t, u, rest_u, i, rest_i, tau_m, tau_i)
    else:
        u, rest_u = flow_potential(t, u, rest_u, i + rest_i, j + rest_j, tau_m, tau_i, tau_j, 2)
        i, rest_i = fade_carried(t, i, rest_i, tau_i)
        j, rest_j = fade_carried(t, j, rest_j, tau_j)
    return u, rest_u, i, rest_i, j, rest_j
