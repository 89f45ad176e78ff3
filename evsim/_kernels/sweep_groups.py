"""Groups of input events: a block of neurons is advanced over GROUP events in one vectorised pass.

The state at the group's end is a sum over its events, each with the factor of the flow from the event to
the end; the same pass bounds the highest potential within the group, without a further exponential.
"""

import math

from .jit import leaf
from .lif import decay, psp

GROUP = 8
"""Events advanced in one pass; the unrolled loops below are written for this number."""

FADED = 1e-280
"""Over a group with less than this left of a current no bound can be read back from the group's end
(0 times inf): all its neurons are walked through."""


@leaf
def group_factors(times, factors, tau_m, tau_exc, tau_inh, n_receptors):
    """Factors of the flow for each event.

    times : (n,) ms, sorted, n a multiple of GROUP
    factors : (n, 11) written. For the interval that ends at event k: 0 decay_m, 1 decay_exc, 2 P_exc,
    3 decay_inh, 4 P_inh, 5 h/tau_m. From event k to the end of its group: 6 decay_m, 7 decay_exc,
    8 P_exc, 9 decay_inh, 10 P_inh, composed from the former by P(x + y) = P(x) decay_m(y) + decay(x) P(y).
    """
    before = 0.0
    for k in range(times.size):
        h = times[k] - before
        before = times[k]
        factors[k, 0] = decay(h, tau_m)
        factors[k, 5] = h / tau_m
        factors[k, 1] = factors[k, 3] = 1.0
        factors[k, 2] = factors[k, 4] = 0.0
        if n_receptors > 0:
            factors[k, 1] = decay(h, tau_exc)
            factors[k, 2] = psp(h, tau_m, tau_exc)
        if n_receptors > 1:
            factors[k, 3] = decay(h, tau_inh)
            factors[k, 4] = psp(h, tau_m, tau_inh)
    for k in range(times.size - 1, -1, -1):
        if (k + 1) % GROUP == 0:
            factors[k, 6] = factors[k, 7] = factors[k, 9] = 1.0
            factors[k, 8] = factors[k, 10] = 0.0
        else:
            n = k + 1
            factors[k, 6] = factors[n, 0] * factors[n, 6]
            factors[k, 7] = factors[n, 1] * factors[n, 7]
            factors[k, 8] = factors[n, 2] * factors[n, 6] + factors[n, 1] * factors[n, 8]
            factors[k, 9] = factors[n, 3] * factors[n, 9]
            factors[k, 10] = factors[n, 4] * factors[n, 6] + factors[n, 3] * factors[n, 10]


@leaf
def advance_delta(u, u_new, top, theta, weights, sources, factors, k, rise, width):
    """Advance a block over one group (delta synapses); returns how many bounds reach theta."""
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
    m7 = factors[k + 7, 6]
    total_m = factors[k, 0] * factors[k, 6]
    hits = 0
    for n in range(width):
        start = u[n]
        v = start * total_m
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
        v += w * m7
        up += w if w > 0.0 else 0.0
        bound = start + up + (-start if start < 0.0 else 0.0) * rise
        u_new[n] = v
        top[n] = bound
        hits += bound >= theta[n]
    return hits


@leaf
def advance_one(u, i_exc, u_new, i_exc_new, top, theta, weights, sources, factors, k, rise, width):
    """As ``advance_delta``, one synaptic current."""
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
    a7, b7 = factors[k + 7, 7], factors[k + 7, 8]
    total_m = factors[k, 0] * factors[k, 6]
    total_a = factors[k, 1] * factors[k, 7]
    total_b = factors[k, 2] * factors[k, 6] + factors[k, 1] * factors[k, 8]
    # Largest current within the group from the end of the group, rounded up.
    undo_a = 1.00000000000001 / total_a
    hits = 0
    for n in range(width):
        start = u[n]
        current = i_exc[n]
        v = start * total_m + current * total_b
        current *= total_a
        up = current if current > 0.0 else 0.0
        w = r0[n]
        current += w * a0
        v += w * b0
        up = current if current > up else up
        w = r1[n]
        current += w * a1
        v += w * b1
        up = current if current > up else up
        w = r2[n]
        current += w * a2
        v += w * b2
        up = current if current > up else up
        w = r3[n]
        current += w * a3
        v += w * b3
        up = current if current > up else up
        w = r4[n]
        current += w * a4
        v += w * b4
        up = current if current > up else up
        w = r5[n]
        current += w * a5
        v += w * b5
        up = current if current > up else up
        w = r6[n]
        current += w * a6
        v += w * b6
        up = current if current > up else up
        w = r7[n]
        current += w * a7
        v += w * b7
        up = current if current > up else up
        up = up * undo_a - start
        bound = start + (up if up > 0.0 else 0.0) * rise
        u_new[n] = v
        i_exc_new[n] = current
        top[n] = bound
        hits += bound >= theta[n]
    if total_a < FADED:
        for n in range(width):
            top[n] = math.inf
        hits = width
    return hits


@leaf
def advance_two(u, i_exc, i_inh, u_new, i_exc_new, i_inh_new, top, theta, weights, sources, factors, k, rise, width):
    """As ``advance_delta``, separate excitatory and inhibitory currents."""
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
    a7, b7, c7, d7 = factors[k + 7, 7], factors[k + 7, 8], factors[k + 7, 9], factors[k + 7, 10]
    total_m = factors[k, 0] * factors[k, 6]
    total_a = factors[k, 1] * factors[k, 7]
    total_b = factors[k, 2] * factors[k, 6] + factors[k, 1] * factors[k, 8]
    total_c = factors[k, 3] * factors[k, 9]
    total_d = factors[k, 4] * factors[k, 6] + factors[k, 3] * factors[k, 10]
    # Largest current within the group from the end of the group, rounded up.
    undo_a = 1.00000000000001 / total_a
    hits = 0
    for n in range(width):
        start = u[n]
        x = i_exc[n]
        y = i_inh[n]
        v = start * total_m + x * total_b + y * total_d
        x *= total_a
        y *= total_c
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
        x += p * a7
        y += q * c7
        v += p * b7 + q * d7
        up = x * undo_a - start
        bound = start + (up if up > 0.0 else 0.0) * rise
        u_new[n] = v
        i_exc_new[n] = x
        i_inh_new[n] = y
        top[n] = bound
        hits += bound >= theta[n]
    if total_a < FADED:
        for n in range(width):
            top[n] = math.inf
        hits = width
    return hits
