"""Layer sweep: one feed-forward layer, all its input known before it runs.

All neurons of a layer share the input events, so the factors of the flow are computed once per event.
For a block of neurons, whose state stays in cache, run through the events in groups of GROUP: bound the
rise of each neuron over the whole group, and advance it to the group's end in one pass. Only neurons
whose bound reaches threshold (or that are refractory) are walked through the group event by event, and
only where the bound over one interval reaches threshold is a crossing solved for. No spike can be
missed: the bounds lie above the trace. What happens to a neuron depends on its own state alone, so the
result is the same, to the bit, for any block width and any number of threads.
"""

import math

import numpy as np

from .crossing import crossing, grazes
from .jit import kernel
from .lif import decay, fade, flow_u, psp, rise_bound

GROUP = 8
"""Events advanced in one pass; the unrolled loops below are written for this number."""

FREE = -math.inf

FADED = 1e-280
"""Over a group with less than this left of a current no bound can be read back from the group's end
(0 times inf): all its neurons are walked through."""


@kernel
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


@kernel
def _advance_delta(u, u_new, top, theta, weights, sources, factors, k, rise, width):
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


@kernel
def _advance_one(u, i_exc, u_new, i_exc_new, top, theta, weights, sources, factors, k, rise, width):
    """As ``_advance_delta``, one synaptic current."""
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


@kernel
def _advance_two(u, i_exc, i_inh, u_new, i_exc_new, i_inh_new, top, theta, weights, sources, factors, k, rise, width):
    """As ``_advance_delta``, separate excitatory and inhibitory currents."""
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


@kernel
def sweep_block(
    times, sources, factors, weights, theta, u_reset, t_ref, u_init,
    u, i_exc, i_inh, u_new, i_exc_new, i_inh_new, top, release, kept, clamped, flags,
    out_times, out_neurons, out_currents, tally,
    t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, first_neuron, width, n_out,
):  # fmt: skip
    """Run one block of ``width`` neurons through all events; returns the number of spikes so far.

    times, sources, factors : (n,) input events padded to a multiple of GROUP by events of weight 0 at
    t_stop (there is at least one), and their ``group_factors``
    weights : (pre + 1, width) of this block, last row 0; theta, u_reset, t_ref, u_init : (width,)
    u ... flags : scratch of this block; out_* : spikes are appended from ``n_out`` on. A return value
    beyond their size says that they were too small: enlarge them and run this block again.
    tally : (1,) number of grazing peaks, added to
    """
    capacity = out_times.size
    n_clamped = 0
    for n in range(width):
        u[n] = u_init[n]
        i_exc[n] = i_inh[n] = 0.0
        release[n] = FREE
        kept[n] = 0.0
    t_start = 0.0
    for k0 in range(0, times.size, GROUP):
        t_end = times[k0 + GROUP - 1]
        rise = (t_end - t_start) / tau_m
        if n_receptors == 1:
            hits = _advance_one(
                u, i_exc, u_new, i_exc_new, top, theta, weights, sources, factors, k0, rise, width
            )
        elif n_receptors == 0:
            hits = _advance_delta(u, u_new, top, theta, weights, sources, factors, k0, rise, width)
        else:
            hits = _advance_two(
                u, i_exc, i_inh, u_new, i_exc_new, i_inh_new, top, theta,
                weights, sources, factors, k0, rise, width,
            )  # fmt: skip
        # Refractory neurons first, then those whose bound reaches threshold: one list of both.
        n_walk = 0
        for q in range(n_clamped):
            n = clamped[q]
            if release[n] > t_end and not keep_input:
                u_new[n] = u_reset[n]
                top[n] = -math.inf
                clamped[n_walk] = n
                n_walk += 1
            else:
                top[n] = math.inf
                hits += 1
        n_clamped = n_walk
        if hits > 0:
            flagged = 0
            for n in range(width):
                flags[flagged] = n
                flagged += top[n] >= theta[n]
            for q in range(flagged):
                n = flags[q]
                t = t_start
                v = u[n]
                a = i_exc[n]
                b = i_inh[n]
                first = k0 == 0 and v >= theta[n]
                for k in range(k0, k0 + GROUP):
                    t_next = times[k]
                    if t_next > t or first:
                        t0 = t
                        walk = True
                        if release[n] > t:
                            walk = release[n] <= t_next
                            if walk:
                                x = release[n] - t
                                t0 = release[n]
                                v = u_reset[n] + kept[n]
                                kept[n] = 0.0
                                a0 = fade(x, a, tau_exc)
                                b0 = fade(x, b, tau_inh)
                        else:
                            a0 = a
                            b0 = b
                            walk = rise_bound(v, max(a, 0.0), factors[k, 5]) >= theta[n]
                            if not walk:
                                v = v * factors[k, 0] + a * factors[k, 2] + b * factors[k, 4]
                        while walk:
                            h = t_next - t0
                            x = crossing(v, a0, b0, theta[n], tau_m, tau_exc, tau_inh, peak, n_receptors, h)
                            if grazes(v, a0, b0, theta[n], tau_m, tau_exc, tau_inh, n_receptors, h):
                                tally[0] += 1
                            spike = min(t0 + x, t_next)
                            if x == math.inf or spike >= t_stop:
                                v = flow_u(h, v, a0, b0, tau_m, tau_exc, tau_inh, n_receptors)
                                break
                            a0 = fade(x, a0, tau_exc)
                            b0 = fade(x, b0, tau_inh)
                            if n_out < capacity:
                                out_times[n_out] = spike
                                out_neurons[n_out] = first_neuron + n
                                out_currents[n_out] = a0 + b0
                            n_out += 1
                            v = u_reset[n]
                            release[n] = spike + t_ref[n]
                            if release[n] > t_next:
                                break
                            a0 = fade(release[n] - spike, a0, tau_exc)
                            b0 = fade(release[n] - spike, b0, tau_inh)
                            t0 = release[n]
                        first = False
                    a *= factors[k, 1]
                    b *= factors[k, 3]
                    t = t_next
                    w = weights[sources[k], n]
                    if n_receptors == 0:
                        if release[n] <= t:
                            v += w
                        elif keep_input:
                            kept[n] += w * decay(release[n] - t, tau_m)
                    elif n_receptors == 1 or w > 0.0:
                        a += w
                    else:
                        b += w
                u_new[n] = v
                if release[n] > t_end:
                    clamped[n_clamped] = n
                    n_clamped += 1
        if n_out > capacity:
            return n_out
        u, u_new = u_new, u
        i_exc, i_exc_new = i_exc_new, i_exc
        i_inh, i_inh_new = i_inh_new, i_inh
        t_start = t_end
    return n_out


@kernel
def sweep_layer(
    times, sources, factors, weights, theta, u_reset, t_ref, u_init,
    out_times, out_neurons, out_currents, progress, tally,
    t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, size, last_block,
):  # fmt: skip
    """Run blocks ``progress[0]`` ... ``last_block - 1``; returns True when done, False when full.

    weights : (n_blocks, pre + 1, width); theta ... u_init : (n_blocks, width). progress : (2,) next block
    and spikes so far, kept up to date so that the caller can enlarge the output and call again.
    """
    width = weights.shape[2]
    u = np.empty(width)
    i_exc = np.empty(width)
    i_inh = np.empty(width)
    u_new = np.empty(width)
    i_exc_new = np.zeros(width)
    i_inh_new = np.zeros(width)
    top = np.empty(width)
    release = np.empty(width)
    kept = np.empty(width)
    clamped = np.empty(width, np.int64)
    flags = np.empty(width + 1, np.int64)
    for block in range(progress[0], last_block):
        first = block * width
        grazing = tally[0]
        n_out = sweep_block(
            times, sources, factors, weights[block],
            theta[block], u_reset[block], t_ref[block], u_init[block],
            u, i_exc, i_inh, u_new, i_exc_new, i_inh_new, top, release, kept, clamped, flags,
            out_times, out_neurons, out_currents, tally,
            t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, first,
            min(width, size - first), progress[1],
        )  # fmt: skip
        if n_out > out_times.size:
            tally[0] = grazing
            return False
        progress[0] = block + 1
        progress[1] = n_out
    return True


@kernel
def sort_spikes(times, neurons, currents, t_stop, out_times, out_neurons, out_currents):
    """Order spikes by (time, neuron): buckets of equal width, insertion within a bucket. O(n)."""
    n = times.size
    if n == 0:
        return
    scale = n / t_stop
    start = np.zeros(n + 1, np.int64)
    for k in range(n):
        start[min(int(times[k] * scale), n - 1) + 1] += 1
    for k in range(1, n + 1):
        start[k] += start[k - 1]
    filled = np.zeros(n, np.int64)
    for k in range(n):
        bucket = min(int(times[k] * scale), n - 1)
        floor = start[bucket]
        slot = floor + filled[bucket]
        filled[bucket] += 1
        t = times[k]
        j = neurons[k]
        while slot > floor and (
            out_times[slot - 1] > t or (out_times[slot - 1] == t and out_neurons[slot - 1] > j)
        ):
            out_times[slot] = out_times[slot - 1]
            out_neurons[slot] = out_neurons[slot - 1]
            out_currents[slot] = out_currents[slot - 1]
            slot -= 1
        out_times[slot] = t
        out_neurons[slot] = j
        out_currents[slot] = currents[k]
