"""Groups of input events: a block of neurons is advanced over GROUP events in one vectorised pass.

The state at the group's end is a sum over its events, each with the factor of the flow from the event to
the end; the same pass bounds the highest potential within the group, without a further exponential. What rounding
the state loses is carried to the next group as its rest (see ``carried``; here by Dekker's fast two-sum, which is exact
where the change is smaller than the state).
"""

import math

from ..jit import formula, leaf, stage
from ..neurons.carried import LEAST, NEAR, add, short_step
from ..neurons.lif import psp
from ..neurons.model import neuron_at
from .arrays import GROUP

FADED = 1e-280
"""Over a group with less than this left of a potential or current no bound can be read back from the group's end
(0 times inf), and a potential might fade to 0: all its neurons are walked through."""

MARGIN = 1e-14
"""Relative room for the rounding of sums in a bound that may be met exactly."""


@formula
def _factor(t, tau):
    """exp(-t/tau) - 1 of a short step, which is 0 or less; exp(-t/tau) of a long one, above 0 (LEAST stands for 0)."""
    if t < NEAR * tau:
        return math.expm1(-t / tau)
    return max(math.exp(-t / tau), LEAST)


@formula
def split(factor):
    """(share of the state that is kept as it is, factor of its change, factor of the whole) of a ``_factor``."""
    if factor <= 0.0:
        return 1.0, factor, 1.0 + factor
    if factor <= LEAST:
        return 0.0, 0.0, 0.0
    return 0.0, factor, factor


@formula
def compose(lost, left, factor, whole):
    """A decay, as what it loses and what it leaves, and before it a step with this ``_factor``."""
    loss = factor if factor <= 0.0 else factor - 1.0
    lost += loss + loss * lost
    return lost, 1.0 + lost if lost > -0.5 else left * whole


@formula
def flow_by(factor, u, rest, gain):
    """u and its rest after a step with this ``_factor``, in which currents give ``gain``."""
    if factor <= 0.0:
        return add(u, 0.0, rest + (u * factor + gain))
    v = u * factor
    # As in ``carried.leak``: a potential from below does not fade to 0.
    if v == 0.0 and u < 0.0:
        v = -LEAST
    return v + gain, 0.0


@formula
def fade_by(factor, current, rest):
    """A current and its rest after a step with this ``_factor``."""
    if factor <= 0.0:
        return add(current, 0.0, rest + current * factor)
    return (current * factor if factor > LEAST else 0.0), 0.0


@leaf
def _interval(h, factors, p):
    """Factors of a step of h ms: of u, i_exc and P_exc, i_inh and P_inh."""
    tau_m, tau_exc, tau_inh, n_receptors = p.tau_m, p.tau_exc, p.tau_inh, p.n_receptors
    factors[1] = factors[2] = factors[3] = factors[4] = 0.0
    if n_receptors > 0 and h < NEAR * min(tau_m, tau_exc):
        factors[0], factors[1], factors[2] = short_step(h, tau_m, tau_exc)
    else:
        factors[0] = _factor(h, tau_m)
        if n_receptors > 0:
            factors[1] = _factor(h, tau_exc)
            factors[2] = psp(h, tau_m, tau_exc)
    if n_receptors > 1:
        factors[3] = _factor(h, tau_inh)
        factors[4] = psp(h, tau_m, tau_inh)


@leaf
def group_factors(times, factors, neurons):
    """Factors of the flow for each event.

    times : (n,) ms, sorted, n a multiple of GROUP; neurons : of the layer, which share their time constants
    factors : (n, N_FACTORS) written. Over the interval that ends at event k: 0 ``_factor`` of u, 1 of i_exc, 2 P_exc,
    3 ``_factor`` of i_inh, 4 P_inh, 5 h/tau_m. From event k to the end of its group: 6 decay_m, 7 decay_exc,
    8 P_exc, 9 decay_inh, 10 P_inh, composed from the former by P(x + y) = P(x) decay_m(y) + decay(x) P(y). The last
    event of a group has, in their place, columns 0 ... 4 over the whole group.
    """
    neuron = neuron_at(0, neurons)
    before = 0.0
    for k in range(times.size):
        h = times[k] - before
        before = times[k]
        _interval(h, factors[k, :5], neuron)
        factors[k, 5] = h / neuron.tau_m
    for first in range(0, times.size, GROUP):
        last = first + GROUP - 1
        lost_m = lost_a = lost_b = p = q = 0.0
        m = a = b = 1.0
        for k in range(last - 1, first - 1, -1):
            # What is lost has all its digits where little is, the product where much is.
            _, _, x = split(factors[k + 1, 0])
            _, _, y = split(factors[k + 1, 1])
            _, _, z = split(factors[k + 1, 3])
            p = factors[k + 1, 2] * m + y * p
            q = factors[k + 1, 4] * m + z * q
            lost_m, m = compose(lost_m, m, factors[k + 1, 0], x)
            lost_a, a = compose(lost_a, a, factors[k + 1, 1], y)
            lost_b, b = compose(lost_b, b, factors[k + 1, 3], z)
            factors[k, 6] = m
            factors[k, 7] = a
            factors[k, 8] = p
            factors[k, 9] = b
            factors[k, 10] = q
        start = times[first - 1] if first > 0 else 0.0
        _interval(times[last] - start, factors[last, 6:], neuron)


@stage
def advance_delta(now, new, top, theta, weights, events, k, rise, width):
    """Advance a block over one group (delta synapses); returns how many bounds reach theta.

    now, new : States before and after, new written; top : (width,) bounds, written; theta : (width,)
    weights : (pre + 1, width); events : Events, from number k on; rise : duration of the group / tau_m
    """
    u, rest = now.u, now.rest
    u_new, rest_new = new.u, new.rest
    sources, factors = events.rows, events.factors
    r0 = weights[sources[k + 0]]
    r1 = weights[sources[k + 1]]
    r2 = weights[sources[k + 2]]
    r3 = weights[sources[k + 3]]
    r4 = weights[sources[k + 4]]
    r5 = weights[sources[k + 5]]
    r6 = weights[sources[k + 6]]
    r7 = weights[sources[k + 7]]
    m0 = factors[k + 0, 6]
    m1 = factors[k + 1, 6]
    m2 = factors[k + 2, 6]
    m3 = factors[k + 3, 6]
    m4 = factors[k + 4, 6]
    m5 = factors[k + 5, 6]
    m6 = factors[k + 6, 6]
    keep_m, loss_m, total_m = split(factors[k + 7, 6])
    hits = 0
    for n in range(width):
        start = u[n]
        v = rest[n] * keep_m + start * loss_m
        up = 0.0
        w = r0[n]
        v += w * m0
        up += w if w > 0.0 else 0.0
        w = r1[n]
        v += w * m1
        up += w if w > 0.0 else 0.0
        w = r2[n]
        v += w * m2
        up += w if w > 0.0 else 0.0
        w = r3[n]
        v += w * m3
        up += w if w > 0.0 else 0.0
        w = r4[n]
        v += w * m4
        up += w if w > 0.0 else 0.0
        w = r5[n]
        v += w * m5
        up += w if w > 0.0 else 0.0
        w = r6[n]
        v += w * m6
        up += w if w > 0.0 else 0.0
        w = r7[n]
        v += w
        up += w if w > 0.0 else 0.0
        bound = start + up + (-start if start < 0.0 else 0.0) * rise + MARGIN * (abs(start) + up)
        kept = start * keep_m
        end = kept + v
        u_new[n] = end
        rest_new[n] = v - (end - kept)
        top[n] = bound
        hits += bound >= theta[n]
    if total_m < FADED:
        for n in range(width):
            top[n] = math.inf
        hits = width
    return hits


@stage
def advance_one(now, new, top, theta, weights, events, k, rise, width):
    """As ``advance_delta``, one synaptic current."""
    u, rest, i_exc, rest_exc = now.u, now.rest, now.exc, now.rest_exc
    u_new, rest_new, i_exc_new, rest_exc_new = new.u, new.rest, new.exc, new.rest_exc
    sources, factors = events.rows, events.factors
    r0 = weights[sources[k + 0]]
    r1 = weights[sources[k + 1]]
    r2 = weights[sources[k + 2]]
    r3 = weights[sources[k + 3]]
    r4 = weights[sources[k + 4]]
    r5 = weights[sources[k + 5]]
    r6 = weights[sources[k + 6]]
    r7 = weights[sources[k + 7]]
    a0, b0 = factors[k + 0, 7], factors[k + 0, 8]
    a1, b1 = factors[k + 1, 7], factors[k + 1, 8]
    a2, b2 = factors[k + 2, 7], factors[k + 2, 8]
    a3, b3 = factors[k + 3, 7], factors[k + 3, 8]
    a4, b4 = factors[k + 4, 7], factors[k + 4, 8]
    a5, b5 = factors[k + 5, 7], factors[k + 5, 8]
    a6, b6 = factors[k + 6, 7], factors[k + 6, 8]
    keep_m, loss_m, total_m = split(factors[k + 7, 6])
    keep_a, loss_a, total_a = split(factors[k + 7, 7])
    total_b = factors[k + 7, 8]
    # Largest current within the group from the end of the group, rounded up.
    undo_a = 1.00000000000001 / max(total_a, FADED)
    hits = 0
    for n in range(width):
        start = u[n]
        current = i_exc[n]
        v = rest[n] * keep_m + (start * loss_m + current * total_b)
        x = rest_exc[n] * keep_a + current * loss_a
        kept = current * keep_a
        high = x
        w = r0[n]
        x += w * a0
        v += w * b0
        high = x if x > high else high
        w = r1[n]
        x += w * a1
        v += w * b1
        high = x if x > high else high
        w = r2[n]
        x += w * a2
        v += w * b2
        high = x if x > high else high
        w = r3[n]
        x += w * a3
        v += w * b3
        high = x if x > high else high
        w = r4[n]
        x += w * a4
        v += w * b4
        high = x if x > high else high
        w = r5[n]
        x += w * a5
        v += w * b5
        high = x if x > high else high
        w = r6[n]
        x += w * a6
        v += w * b6
        high = x if x > high else high
        w = r7[n]
        x += w
        high = x if x > high else high
        end = kept + x
        i_exc_new[n] = end
        rest_exc_new[n] = x - (end - kept)
        high += kept
        high = high if high > 0.0 else 0.0
        high = high * undo_a - start
        bound = start + (high if high > 0.0 else 0.0) * rise
        kept = start * keep_m
        end = kept + v
        u_new[n] = end
        rest_new[n] = v - (end - kept)
        top[n] = bound
        hits += bound >= theta[n]
    if total_a < FADED or total_m < FADED:
        for n in range(width):
            top[n] = math.inf
        hits = width
    return hits


@leaf
def advance_two(now, new, top, theta, weights, events, k, rise, width):
    """As ``advance_delta``, separate excitatory and inhibitory currents.

    A function of its own: written into the sweep, its loop was 12 % slower.
    """
    u, rest, i_exc, rest_exc, i_inh, rest_inh = now
    u_new, rest_new, i_exc_new, rest_exc_new, i_inh_new, rest_inh_new = new
    sources, factors = events.rows, events.factors
    r0 = weights[sources[k + 0]]
    r1 = weights[sources[k + 1]]
    r2 = weights[sources[k + 2]]
    r3 = weights[sources[k + 3]]
    r4 = weights[sources[k + 4]]
    r5 = weights[sources[k + 5]]
    r6 = weights[sources[k + 6]]
    r7 = weights[sources[k + 7]]
    a0, b0, c0, d0 = factors[k + 0, 7], factors[k + 0, 8], factors[k + 0, 9], factors[k + 0, 10]
    a1, b1, c1, d1 = factors[k + 1, 7], factors[k + 1, 8], factors[k + 1, 9], factors[k + 1, 10]
    a2, b2, c2, d2 = factors[k + 2, 7], factors[k + 2, 8], factors[k + 2, 9], factors[k + 2, 10]
    a3, b3, c3, d3 = factors[k + 3, 7], factors[k + 3, 8], factors[k + 3, 9], factors[k + 3, 10]
    a4, b4, c4, d4 = factors[k + 4, 7], factors[k + 4, 8], factors[k + 4, 9], factors[k + 4, 10]
    a5, b5, c5, d5 = factors[k + 5, 7], factors[k + 5, 8], factors[k + 5, 9], factors[k + 5, 10]
    a6, b6, c6, d6 = factors[k + 6, 7], factors[k + 6, 8], factors[k + 6, 9], factors[k + 6, 10]
    keep_m, loss_m, total_m = split(factors[k + 7, 6])
    keep_a, loss_a, total_a = split(factors[k + 7, 7])
    keep_c, loss_c, _ = split(factors[k + 7, 9])
    total_b, total_d = factors[k + 7, 8], factors[k + 7, 10]
    # Largest current within the group from the end of the group, rounded up.
    undo_a = 1.00000000000001 / max(total_a, FADED)
    hits = 0
    for n in range(width):
        start = u[n]
        exc = i_exc[n]
        inh = i_inh[n]
        v = rest[n] * keep_m + (start * loss_m + exc * total_b + inh * total_d)
        x = rest_exc[n] * keep_a + exc * loss_a
        y = rest_inh[n] * keep_c + inh * loss_c
        w = r0[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a0
        y += q * c0
        v += p * b0 + q * d0
        w = r1[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a1
        y += q * c1
        v += p * b1 + q * d1
        w = r2[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a2
        y += q * c2
        v += p * b2 + q * d2
        w = r3[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a3
        y += q * c3
        v += p * b3 + q * d3
        w = r4[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a4
        y += q * c4
        v += p * b4 + q * d4
        w = r5[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a5
        y += q * c5
        v += p * b5 + q * d5
        w = r6[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p * a6
        y += q * c6
        v += p * b6 + q * d6
        w = r7[n]
        p = w if w > 0.0 else 0.0
        q = w - p
        x += p
        y += q
        kept = exc * keep_a
        end = kept + x
        i_exc_new[n] = end
        rest_exc_new[n] = x - (end - kept)
        high = end * undo_a - start
        bound = start + (high if high > 0.0 else 0.0) * rise
        kept = inh * keep_c
        end = kept + y
        i_inh_new[n] = end
        rest_inh_new[n] = y - (end - kept)
        kept = start * keep_m
        end = kept + v
        u_new[n] = end
        rest_new[n] = v - (end - kept)
        top[n] = bound
        hits += bound >= theta[n]
    if total_a < FADED or total_m < FADED:
        for n in range(width):
            top[n] = math.inf
        hits = width
    return hits
