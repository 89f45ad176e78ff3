"""Layer sweep: one feed-forward layer, all its input known before it runs.

All neurons of a layer share the input events, so the factors of the flow are computed once per event.
For a block of neurons, whose state stays in cache, run through the events in groups of GROUP: bound the
rise of each neuron over the whole group, and advance it to the group's end in one pass. Only neurons
whose bound reaches threshold (or that are refractory) are integrated event by event, and only where the
bound over one interval reaches threshold is a crossing solved for. No spike can be missed: the bounds lie
above the trace. What happens to a neuron depends on its own state alone, so the result is the same, to the
bit, for any block width and any number of threads.
"""

import math
from typing import NamedTuple

import numpy as np

from ..jit import kernel, leaf, stage
from ..neurons.carried import add
from ..neurons.crossing import CLEAR, crossing_ahead, may_reach
from ..neurons.lif import decay, rise_bound
from ..neurons.model import (
    NeuronState,
    arrive,
    fade_currents,
    flow_of_potential,
    is_grazing,
    is_stuck,
    neuron_at,
    neuron_beside,
    release,
    reset,
    time_to_spike,
    with_currents,
    with_potential,
)
from ..spikes import Spikes
from .arrays import (
    DONE,
    ENDLESS,
    FULL,
    GRAZING_BEFORE,
    GROUP,
    N_CLAMPED,
    N_EVENTS,
    N_FOUND,
    N_SPIKES,
    NEXT_BLOCK,
    PAUSED,
    Block,
)
from .groups import advance_delta, advance_one, advance_two, fade_by, flow_by


class Out(NamedTuple):
    """Where a block's spikes go. tally : (1,) grazing peaks, added to; first_neuron : number of the block's first."""

    spikes: Spikes
    tally: np.ndarray
    first_neuron: int
    t_stop: float


_STUCK = -1
_MANY, _FASTEST = 2**18, 1000.0
"""So many spikes in a row of one neuron, at so many a ms and a membrane time constant, are without end."""


@stage
def _start(u_init, block):
    """States at t = 0."""
    now = block.now
    for n in range(u_init.size):
        now.u[n] = u_init[n]
        now.exc[n] = now.inh[n] = now.rest[n] = now.rest_exc[n] = now.rest_inh[n] = 0.0
        block.release[n] = -math.inf
        block.kept[n] = block.kept_rest[n] = 0.0


@stage
def _hold(u_reset, keep_input, block, t_end, n_clamped):
    """Before the bounds are compared: refractory neurons beyond the group's end stay at the reset, the others are
    integrated.

    Returns (neurons that stay, the others).
    """
    n_held = freed = 0
    for q in range(n_clamped):
        n = block.clamped[q]
        if block.release[n] > t_end and not keep_input:
            block.new.u[n] = u_reset[n]
            block.new.rest[n] = 0.0
            block.top[n] = -math.inf
            block.clamped[n_held] = n
            n_held += 1
        else:
            block.top[n] = math.inf
            freed += 1
    return n_held, freed


@stage
def _flow_interval(factors, x, p):
    """u and its rest at the end of the interval with these factors."""
    return flow_by(
        factors[0], x.u, x.rest_u, (x.exc + x.rest_exc) * factors[2] + (x.inh + x.rest_inh) * factors[4]
    )


@stage
def _may_spike(factors, x, y, p, first):
    """Must a crossing be looked for between x and y, the states at an interval's ends? And is u surely above theta at
    its end? first : u may begin above."""
    exc = x.exc + x.rest_exc
    possible = rise_bound(x.u, max(exc, 0.0), factors[5]) >= p.theta
    above = False
    if possible and p.n_receptors == 1 and p.theta > 0.0 and not first:
        end, _ = flow_by(factors[0], x.u, x.rest_u, exc * factors[2])
        possible = may_reach(x.u, exc, end, y.exc + y.rest_exc, p.theta, p.tau_m, p.tau_exc, p.peak)
        above = x.u < p.theta and end > p.theta * (1.0 + CLEAR)
    return possible, above


@stage
def _next_crossing(x, p, h, above, tally):
    """Ms to the next crossing, inf for none; grazing peaks are counted."""
    if above:
        return crossing_ahead(x.u, x.exc + x.rest_exc, p.theta, p.tau_m, p.tau_exc, h)
    # After a spike most traces stay far below; then this saves the exact peak.
    if p.n_receptors != 1 or max(x.u, 0.0) + (x.exc + x.rest_exc) * p.peak >= p.theta * (1.0 - CLEAR):
        tally[0] += is_grazing(x, p, h)
    return time_to_spike(x, p, h)


@stage
def _integrate_interval(n, t, t_next, x, y, factors, first, p, block, out, n_out):
    """Neuron n with all its spikes from t, with state x, to t_next; y : its currents there.

    Returns (state at t_next, spikes so far: beyond their room if they do not fit, _STUCK for a neuron that spikes for
    ever at one instant, the last entry of spikes).
    """
    spikes = out.spikes
    t0 = t
    above = False
    # Own spikes change no current, so each is taken from the interval's start in one step.
    now = x
    if block.release[n] > t:
        if block.release[n] > t_next:
            return with_currents(x, y), n_out
        t0 = block.release[n]
        u, rest = add(p.u_reset, block.kept_rest[n], block.kept[n])
        block.kept[n] = block.kept_rest[n] = 0.0
        now = with_potential(u, rest, fade_currents(t0 - t, x, p))
    else:
        possible, above = _may_spike(factors, x, y, p, first)
        if not possible:
            u, rest = _flow_interval(factors, x, p)
            return with_potential(u, rest, y), n_out
    while True:
        wait = _next_crossing(now, p, t_next - t0, above, out.tally)
        spike = min(t0 + wait, t_next)
        if wait != math.inf and is_stuck(spike - t0, spike, now.u, p):
            spikes.times[spikes.times.size - 1] = spike
            spikes.neurons[spikes.times.size - 1] = out.first_neuron + n
            return now, _STUCK
        if wait == math.inf or spike >= out.t_stop:
            if t0 == t:
                u, rest = _flow_interval(factors, now, p)
            else:
                u, rest = flow_of_potential(t_next - t0, now, p)
            return with_potential(u, rest, y), n_out
        if n_out == spikes.times.size:
            return now, n_out + 1
        # By what the clock shows: later steps start there, and the crossing has digits that it has not.
        now = reset(with_currents(now, fade_currents(spike - t, x, p)), p)
        spikes.times[n_out] = spike
        spikes.neurons[n_out] = out.first_neuron + n
        spikes.currents[n_out] = now.exc + now.inh
        n_out += 1
        above = False
        block.release[n] = release(spike, p)
        if block.release[n] > t_next:
            return with_currents(now, y), n_out
        t0 = block.release[n]
        now = with_potential(now.u, now.rest_u, fade_currents(t0 - t, x, p))


@stage
def _receive(n, t, w, x, p, block):
    """A spike of weight w arrives at neuron n."""
    if p.n_receptors > 0 or block.release[n] <= t:
        return arrive(w, 0.0, x, p)
    if p.keep_input:
        left = w * decay(block.release[n] - t, p.tau_m)
        block.kept[n], block.kept_rest[n] = add(block.kept[n], block.kept_rest[n], left)
    return x


@stage
def _integrate_group(n, k0, t, weights, events, p, block, out, n_out):
    """Neuron n event by event from t through a group, with all its spikes; returns as ``_integrate_interval``."""
    now, new = block.now, block.new
    x = NeuronState(now.u[n], now.rest[n], now.exc[n], now.rest_exc[n], now.inh[n], now.rest_inh[n])
    first = k0 == 0 and x.u >= p.theta
    for k in range(k0, k0 + GROUP):
        t_next = events.times[k]
        if t_next > t or first:
            factors = events.factors[k]
            exc, rest_exc = fade_by(factors[1], x.exc, x.rest_exc)
            inh, rest_inh = fade_by(factors[3], x.inh, x.rest_inh)
            y = NeuronState(x.u, x.rest_u, exc, rest_exc, inh, rest_inh)
            x, n_out = _integrate_interval(n, t, t_next, x, y, factors, first, p, block, out, n_out)
            if n_out == _STUCK or n_out > out.spikes.times.size:
                return n_out
            first = False
        t = t_next
        x = _receive(n, t, weights[events.rows[k], n], x, p, block)
    new.u[n] = x.u
    new.rest[n] = x.rest_u
    return n_out


@stage
def _advance(n_receptors, block, theta, weights, events, k0, rise, width):
    """All neurons over a group as if none spiked, and bounds; returns how many bounds reach theta."""
    if n_receptors == 1:
        return advance_one(block.now, block.new, block.top, theta, weights, events, k0, rise, width)
    if n_receptors == 0:
        return advance_delta(block.now, block.new, block.top, theta, weights, events, k0, rise, width)
    return advance_two(block.now, block.new, block.top, theta, weights, events, k0, rise, width)


@leaf
def sweep_block(layer, b, block, events, out, begin, end, n_clamped, n_out):
    """Run block b through the events ``begin`` ... ``end - 1``; returns the number of spikes so far and that of the
    clamped neurons, to be passed in when it continues.

    begin, end : multiples of 2 GROUP, as ``block.now`` and ``block.new`` change places after each group; or the end of
    all events. A number of spikes beyond their room says that it was too small: enlarge it and run this block from its
    first event. _STUCK : a neuron spikes for ever at one instant; it is the last entry of the spikes.
    """
    weights, first, neurons = layer.weights[b], out.first_neuron, layer.neurons
    width = min(weights.shape[1], layer.size - first)
    theta, u_reset = neurons.theta[first : first + width], neurons.u_reset[first : first + width]
    shared = neuron_at(first, neurons)
    if begin == 0:
        _start(neurons.u_init[first : first + width], block)
    t_start = events.times[begin - 1] if begin > 0 else 0.0
    for k0 in range(begin, end, GROUP):
        t_end = events.times[k0 + GROUP - 1]
        rise = (t_end - t_start) / shared.tau_m
        hits = _advance(shared.n_receptors, block, theta, weights, events, k0, rise, width)
        n_clamped, freed = _hold(u_reset, shared.keep_input, block, t_end, n_clamped)
        if hits + freed > 0:
            flagged = 0
            for n in range(width):
                block.flagged[flagged] = n
                flagged += block.top[n] >= theta[n]
            for q in range(flagged):
                n = block.flagged[q]
                p = neuron_beside(first + n, neurons, shared)
                n_out = _integrate_group(n, k0, t_start, weights, events, p, block, out, n_out)
                if n_out == _STUCK or n_out > out.spikes.times.size:
                    return n_out, n_clamped
                if block.release[n] > t_end:
                    block.clamped[n_clamped] = n
                    n_clamped += 1
        block = Block(
            block.new, block.now, block.top, block.release, block.kept, block.kept_rest, block.clamped, block.flagged
        )  # fmt: skip
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
def sweep_layer(layer, events, block, spikes, progress, tally, t_stop, last_block, budget):
    """Run blocks ``progress[NEXT_BLOCK]`` ... ``last_block - 1``; returns DONE, FULL, PAUSED, or ENDLESS: then the
    spikes end with one of the neuron that does not stop.

    block : Block of any content at first, kept between calls; progress : (N_PROGRESS,) int64, 0 at first
    tally : (1,) number of grazing peaks, added to
    budget : about so many pairs of an event and a neuron, then PAUSED; the result does not depend on it
    """
    n_events, width = events.times.size, layer.weights.shape[2]
    for b in range(progress[NEXT_BLOCK], last_block):
        out = Out(spikes, tally, b * width, t_stop)
        if progress[N_EVENTS] == 0:
            progress[N_FOUND] = progress[N_SPIKES]
            progress[N_CLAMPED] = 0
            progress[GRAZING_BEFORE] = tally[0]
        while progress[N_EVENTS] < n_events:
            if budget <= 0:
                return PAUSED
            begin = progress[N_EVENTS]
            end = min(begin + max(budget // width // (2 * GROUP), 1) * (2 * GROUP), n_events)
            n_out, n_clamped = sweep_block(
                layer, b, block, events, out, begin, end, progress[N_CLAMPED], progress[N_FOUND]
            )
            if n_out == _STUCK:
                return ENDLESS
            if n_out > spikes.times.size:
                tally[0] = progress[GRAZING_BEFORE]
                progress[N_EVENTS] = 0
                return ENDLESS if without_end(spikes.times, spikes.neurons, layer.neurons.tau_m[0]) else FULL
            progress[N_EVENTS], progress[N_FOUND], progress[N_CLAMPED] = end, n_out, n_clamped
            budget -= (end - begin) * width
        progress[NEXT_BLOCK] = b + 1
        progress[N_SPIKES] = progress[N_FOUND]
        progress[N_EVENTS] = 0
    return DONE
