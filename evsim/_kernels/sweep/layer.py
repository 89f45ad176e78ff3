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

from ..jit import kernel, leaf
from ..neurons.carried import add, fade_carried, flow_potential
from ..neurons.crossing import CLEAR, crossing, crossing_ahead, grazes, may_reach
from ..neurons.lif import decay, rise_bound
from .groups import GROUP, advance_delta, advance_one, advance_two, fade_by, flow_by

FREE = -math.inf
SWEEP_FULL, SWEEP_DONE, SWEEP_ENDLESS, SWEEP_PAUSED = 0, 1, 2, 3
"""What the sweep returns. SWEEP_ENDLESS: a neuron spikes for ever, at one instant or nearly so. SWEEP_PAUSED: the
budget is spent; call again to continue."""
N_STATE, N_MARKS, N_PROGRESS = 16, 2, 6
"""Rows of ``state`` and ``marks``, and numbers in ``progress``, of ``sweep_layer``."""
UNLIMITED = 2**62
"""A budget that no sweep spends."""
_STUCK = -1
_MANY, _FASTEST = 2**18, 1000.0
"""So many spikes in a row of one neuron, at so many a ms and a membrane time constant, are without end."""


@leaf
def sweep_block(
    times, sources, factors, weights, theta, u_reset, t_ref, u_init,
    u, i_exc, i_inh, rest, rest_exc, rest_inh, u_new, i_exc_new, i_inh_new, rest_new, rest_exc_new, rest_inh_new,
    top, release, kept, kept_rest, clamped, flags,
    out_times, out_neurons, out_currents, tally,
    t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, first_neuron, width, begin, end, n_clamped, n_out,
):  # fmt: skip
    """Run one block of ``width`` neurons through the events ``begin`` ... ``end - 1``; returns the number of spikes so
    far and that of the clamped neurons, to be passed in when it continues.

    times, sources, factors : (n,) input events padded to a multiple of GROUP by events of weight 0 at
    t_stop (there is at least one), and their ``group_factors``
    weights : (pre + 1, width) of this block, last row 0; theta, u_reset, t_ref, u_init : (width,)
    u ... flags : state and scratch of this block; out_* : spikes are appended from ``n_out`` on. A number of spikes
    beyond their size says that they were too small: enlarge them and run this block from its first event. -1: a neuron
    spikes for ever at one instant; it is the last entry of out_neurons.
    begin, end : multiples of 2 GROUP, as the state changes places with u_new ... after each group; or the last event
    tally : (1,) number of grazing peaks, added to
    """
    capacity = out_times.size
    if begin == 0:
        for n in range(width):
            u[n] = u_init[n]
            i_exc[n] = i_inh[n] = rest[n] = rest_exc[n] = rest_inh[n] = 0.0
            release[n] = FREE
            kept[n] = kept_rest[n] = 0.0
    t_start = times[begin - 1] if begin > 0 else 0.0
    for k0 in range(begin, end, GROUP):
        t_end = times[k0 + GROUP - 1]
        rise = (t_end - t_start) / tau_m
        if n_receptors == 1:
            hits = advance_one(
                u, rest, i_exc, rest_exc, u_new, rest_new, i_exc_new, rest_exc_new, top, theta,
                weights, sources, factors, k0, rise, width,
            )  # fmt: skip
        elif n_receptors == 0:
            hits = advance_delta(u, rest, u_new, rest_new, top, theta, weights, sources, factors, k0, rise, width)
        else:
            hits = advance_two(
                u, rest, i_exc, rest_exc, i_inh, rest_inh,
                u_new, rest_new, i_exc_new, rest_exc_new, i_inh_new, rest_inh_new, top, theta,
                weights, sources, factors, k0, rise, width,
            )  # fmt: skip
        # Refractory neurons first, then those whose bound reaches threshold: one list of both.
        n_walk = 0
        for q in range(n_clamped):
            n = clamped[q]
            if release[n] > t_end and not keep_input:
                u_new[n] = u_reset[n]
                rest_new[n] = 0.0
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
                v, rest_v = u[n], rest[n]
                a, rest_a = i_exc[n], rest_exc[n]
                b, rest_b = i_inh[n], rest_inh[n]
                first = k0 == 0 and v >= theta[n]
                for k in range(k0, k0 + GROUP):
                    t_next = times[k]
                    if t_next > t or first:
                        t0 = t
                        walk = True
                        above = False
                        # At t0; own spikes change no current, so each is taken from the interval's start in one step.
                        a0, rest_a0 = a_at, rest_a_at = a, rest_a
                        b0, rest_b0 = b_at, rest_b_at = b, rest_b
                        a, rest_a = fade_by(factors[k, 1], a, rest_a)
                        b, rest_b = fade_by(factors[k, 3], b, rest_b)
                        if release[n] > t:
                            walk = release[n] <= t_next
                            if walk:
                                x = release[n] - t
                                t0 = release[n]
                                v, rest_v = add(u_reset[n], kept_rest[n], kept[n])
                                kept[n] = kept_rest[n] = 0.0
                                a0, rest_a0 = fade_carried(x, a0, rest_a0, tau_exc)
                                b0, rest_b0 = fade_carried(x, b0, rest_b0, tau_inh)
                        else:
                            exc = a0 + rest_a0
                            walk = rise_bound(v, max(exc, 0.0), factors[k, 5]) >= theta[n]
                            if walk and n_receptors == 1 and theta[n] > 0.0 and not first:
                                end, _ = flow_by(factors[k, 0], v, rest_v, exc * factors[k, 2])
                                walk = may_reach(v, exc, end, a + rest_a, theta[n], tau_m, tau_exc, peak)
                                above = v < theta[n] and end > theta[n] * (1.0 + CLEAR)
                            if not walk:
                                gain = exc * factors[k, 2] + (b0 + rest_b0) * factors[k, 4]
                                v, rest_v = flow_by(factors[k, 0], v, rest_v, gain)
                        while walk:
                            h = t_next - t0
                            exc = a0 + rest_a0
                            inh = b0 + rest_b0
                            if above:
                                x = crossing_ahead(v, exc, theta[n], tau_m, tau_exc, h)
                            else:
                                x = crossing(v, exc, inh, theta[n], tau_m, tau_exc, tau_inh, peak, n_receptors, h)
                            # After a spike most traces stay far below; then this saves the exact peak.
                            near = n_receptors != 1 or max(v, 0.0) + exc * peak >= theta[n] * (1.0 - CLEAR)
                            near = near and not above
                            if near and grazes(v, exc, inh, theta[n], tau_m, tau_exc, tau_inh, n_receptors, h):
                                tally[0] += 1
                            spike = min(t0 + x, t_next)
                            if x != math.inf and spike == t0 and v == u_reset[n] and spike + t_ref[n] == spike:
                                # It would leave everything as it was.
                                out_times[capacity - 1] = spike
                                out_neurons[capacity - 1] = first_neuron + n
                                return _STUCK, n_clamped
                            if x == math.inf or spike >= t_stop:
                                if t0 == t:
                                    gain = exc * factors[k, 2] + inh * factors[k, 4]
                                    v, rest_v = flow_by(factors[k, 0], v, rest_v, gain)
                                else:
                                    v, rest_v = flow_potential(
                                        h, v, rest_v, exc, inh, tau_m, tau_exc, tau_inh, n_receptors
                                    )
                                break
                            # By what the clock shows: later steps start there, and x has digits that it has not.
                            a0, rest_a0 = fade_carried(spike - t, a_at, rest_a_at, tau_exc)
                            b0, rest_b0 = fade_carried(spike - t, b_at, rest_b_at, tau_inh)
                            if n_out == capacity:
                                return capacity + 1, n_clamped
                            out_times[n_out] = spike
                            out_neurons[n_out] = first_neuron + n
                            out_currents[n_out] = a0 + b0
                            n_out += 1
                            above = False
                            v = u_reset[n]
                            rest_v = 0.0
                            release[n] = spike + t_ref[n]
                            if release[n] > t_next:
                                break
                            a0, rest_a0 = fade_carried(release[n] - t, a_at, rest_a_at, tau_exc)
                            b0, rest_b0 = fade_carried(release[n] - t, b_at, rest_b_at, tau_inh)
                            t0 = release[n]
                        first = False
                    t = t_next
                    w = weights[sources[k], n]
                    if n_receptors == 0:
                        if release[n] <= t:
                            # v itself is the sum in the order of sources, as the threshold test wants it.
                            v, rest_v = add(v, rest_v, w)
                        elif keep_input:
                            kept[n], kept_rest[n] = add(kept[n], kept_rest[n], w * decay(release[n] - t, tau_m))
                    elif n_receptors == 1 or w > 0.0:
                        a, rest_a = add(a, rest_a, w)
                    else:
                        b, rest_b = add(b, rest_b, w)
                u_new[n] = v
                rest_new[n] = rest_v
                if release[n] > t_end:
                    clamped[n_clamped] = n
                    n_clamped += 1
        u, u_new = u_new, u
        i_exc, i_exc_new = i_exc_new, i_exc
        i_inh, i_inh_new = i_inh_new, i_inh
        rest, rest_new = rest_new, rest
        rest_exc, rest_exc_new = rest_exc_new, rest_exc
        rest_inh, rest_inh_new = rest_inh_new, rest_inh
        t_start = t_end
    return n_out, n_clamped


@leaf
def without_end(times, neurons, tau_m):
    """Is the last quarter of a full buffer one neuron's, at a rate that no neuron can mean?"""
    n = times.size
    first = n - n // 4
    if n < _MANY or neurons[first] != neurons[n - 1]:
        return False
    span = times[n - 1] - times[first]
    return span >= 0.0 and n // 4 > _FASTEST * max(1.0, 1.0 / tau_m) * span


@kernel
def sweep_layer(
    times, sources, factors, weights, theta, u_reset, t_ref, u_init,
    state, marks, out_times, out_neurons, out_currents, progress, tally,
    t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, size, last_block, budget,
):  # fmt: skip
    """Run blocks ``progress[0]`` ... ``last_block - 1``; returns SWEEP_DONE, SWEEP_FULL, SWEEP_PAUSED, or
    SWEEP_ENDLESS: then out_* end with a spike of the neuron that does not stop.

    weights : (n_blocks, pre + 1, width); theta ... u_init : (n_blocks, width)
    state, marks : (N_STATE, width) float64 and (N_MARKS, width + 1) int64, kept between calls, of any content at first
    progress : (N_PROGRESS,) int64, 0 at first: next block, spikes of those before it; of that block: events done,
    spikes so far, clamped neurons, grazing peaks before it. Kept up to date so that the caller can call again, with a
    larger output where it was full.
    budget : about so many pairs of an event and a neuron, then SWEEP_PAUSED; the result does not depend on it
    """
    width = weights.shape[2]
    for block in range(progress[0], last_block):
        first = block * width
        if progress[2] == 0:
            progress[3] = progress[1]
            progress[4] = 0
            progress[5] = tally[0]
        while progress[2] < times.size:
            if budget <= 0:
                return SWEEP_PAUSED
            begin = progress[2]
            end = min(begin + max(budget // width // (2 * GROUP), 1) * (2 * GROUP), times.size)
            n_out, n_clamped = sweep_block(
                times, sources, factors, weights[block],
                theta[block], u_reset[block], t_ref[block], u_init[block],
                state[0], state[1], state[2], state[3], state[4], state[5],
                state[6], state[7], state[8], state[9], state[10], state[11],
                state[12], state[13], state[14], state[15], marks[0], marks[1],
                out_times, out_neurons, out_currents, tally,
                t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, first,
                min(width, size - first), begin, end, progress[4], progress[3],
            )  # fmt: skip
            if n_out == _STUCK:
                return SWEEP_ENDLESS
            if n_out > out_times.size:
                tally[0] = progress[5]
                progress[2] = 0
                return SWEEP_ENDLESS if without_end(out_times, out_neurons, tau_m) else SWEEP_FULL
            progress[2], progress[3], progress[4] = end, n_out, n_clamped
            budget -= (end - begin) * width
        progress[0] = block + 1
        progress[1] = progress[3]
        progress[2] = 0
    return SWEEP_DONE
