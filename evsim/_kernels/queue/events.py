"""Priority-queue engine: any topology, any delays, zero included on acyclic parts.

State of a neuron is kept at the time of its last event; a refractory neuron's is kept at its release, and
input before that time is added as what will be left of it then. A neuron stands in its heap under a lower
bound of its next spike time, which costs no exponential; only when the bound is reached is the crossing
solved for. A bound that an input has made too early is left in place: it is a harmless early check.

Order of events: (time, level, kind, source or neuron), kind: own spike before input. Level is the depth
below zero-delay delta synapses, so that all inputs of one instant are summed before one threshold test.
"""

import math

from ..jit import formula, leaf, stage
from ..neurons.crossing import GRAZING
from ..neurons.model import (
    NeuronState,
    arrive,
    fade_currents,
    flow,
    is_grazing,
    is_stuck,
    neuron_at,
    release,
    reset,
    time_to_spike,
)
from .arrays import (
    DONE,
    EXC,
    EXC_AT,
    EXC_REST,
    FULL_QUEUE,
    FULL_SPIKES,
    INH,
    INH_AT,
    INH_REST,
    N_EVENTS,
    N_GRAZING,
    N_HEAP,
    N_QUEUE,
    N_SPIKES,
    NEXT_INPUT,
    OUTDATED,
    PAUSED,
    POTENTIAL,
    SINCE,
    STUCK,
)
from .heap import NOT_IN_HEAP, delivery_pop, delivery_push, delivery_replace, neuron_remove_top, neuron_update
from .stdp import depress, potentiate

BUDGET = 2_000_000
"""Synaptic events and steps after which a run pauses, well within a second: between calls it can be stopped."""

# A tangent is an upper bound in exact arithmetic; this keeps the rounded crossing time a lower bound.
_SHRINK = 1.0 - 1e-14


@formula
def _earliest(u, i_exc, theta, tau_m, peak, n_receptors):
    """Lower bound of the time to the next spike without input, inf if there can be none."""
    if u >= theta:
        return 0.0
    current = max(i_exc, 0.0)
    if theta >= 0.0:
        if current <= theta or n_receptors == 0:
            return math.inf
        if theta > 0.0 and max(u, 0.0) + current * peak < theta * (1.0 - GRAZING):
            return math.inf
    return tau_m * ((theta - u) / (current - u)) * _SHRINK


@stage
def _wait(n, neurons, level, state, n_heap):
    """Put a neuron under the bound of its next spike into the heap, or take it out; returns the heap's new size."""
    exc = state.i_exc[n] + state.rest[n, EXC]
    bound = state.valid_at[n] + _earliest(
        state.u[n], exc, neurons.theta[n], neurons.tau_m[n], neurons.peak[n], neurons.n_receptors[n]
    )
    state.bound[n] = bound
    state.solved[n] = False
    if bound == math.inf:
        n_heap = neuron_remove_top(state.heap, state.position, state.key, level, n_heap)
    else:
        n_heap = neuron_update(state.heap, state.position, state.key, level, n_heap, n, bound)
    return n_heap


@stage
def _state_of(n, state):
    return NeuronState(
        state.u[n], state.rest[n, POTENTIAL], state.i_exc[n], state.rest[n, EXC], state.i_inh[n], state.rest[n, INH]
    )


@stage
def _solve(n, neurons, level, state, counters, n_heap):
    """The first neuron's bound is reached: a later bound that inputs have left, or else the spike itself."""
    if state.bound[n] <= state.key[n]:
        # Only now is a crossing worth its exponentials.
        p, x = neuron_at(n, neurons), _state_of(n, state)
        wait = time_to_spike(x, p, math.inf)
        counters[N_GRAZING] += is_grazing(x, p, math.inf)
        state.bound[n] = state.valid_at[n] + wait
        state.solved[n] = wait < math.inf
    if state.bound[n] == math.inf:
        n_heap = neuron_remove_top(state.heap, state.position, state.key, level, n_heap)
    else:
        n_heap = neuron_update(state.heap, state.position, state.key, level, n_heap, n, state.bound[n])
    return n_heap


@stage
def _currents_at(t, n, p, state):
    """The currents of a neuron at t, from the latest arrival in one step."""
    a = state.anchor[n]
    x = fade_currents(t - a[SINCE], NeuronState(0.0, 0.0, a[EXC_AT], a[EXC_REST], a[INH_AT], a[INH_REST]), p)
    state.i_exc[n], state.rest[n, EXC] = x.exc, x.rest_exc
    state.i_inh[n], state.rest[n, INH] = x.inh, x.rest_inh


@stage
def _fire(n, t, p, state, spikes, n_spikes):
    """A neuron spikes at t and is held at its reset until its release."""
    if state.anchor[n, SINCE] == OUTDATED:
        state.anchor[n, SINCE] = state.valid_at[n]
        state.anchor[n, EXC_AT], state.anchor[n, EXC_REST] = state.i_exc[n], state.rest[n, EXC]
        state.anchor[n, INH_AT], state.anchor[n, INH_REST] = state.i_inh[n], state.rest[n, INH]
    _currents_at(t, n, p, state)
    spikes.times[n_spikes] = t
    spikes.neurons[n_spikes] = n
    spikes.currents[n_spikes] = state.i_exc[n] + state.i_inh[n]
    x = reset(_state_of(n, state), p)
    state.u[n], state.rest[n, POTENTIAL] = x.u, x.rest_u
    state.valid_at[n] = release(t, p)
    if p.t_ref > 0.0:
        _currents_at(state.valid_at[n], n, p, state)


@stage
def _send(source, t, synapses, deliveries, n_queue):
    """A source spikes at t: its first delivery is entered, each later one when that before it is made."""
    g = synapses.group_start[source]
    if g < synapses.group_start[source + 1]:
        n_queue = delivery_push(
            deliveries.times, deliveries.spike, deliveries.level, deliveries.source, deliveries.group, n_queue,
            t + synapses.group_delay[g], t, synapses.group_level[g], source, g,
        )  # fmt: skip
    return n_queue


@stage
def _next_group(synapses, deliveries, n_queue):
    """Take the first delivery; the source's next one takes its place. Returns (group, new size)."""
    g = deliveries.group[0]
    source = deliveries.source[0]
    spike = deliveries.spike[0]
    if g + 1 < synapses.group_start[source + 1]:
        delivery_replace(
            deliveries.times, deliveries.spike, deliveries.level, deliveries.source, deliveries.group, n_queue,
            spike + synapses.group_delay[g + 1], spike, synapses.group_level[g + 1], source, g + 1,
        )  # fmt: skip
    else:
        n_queue = delivery_pop(
            deliveries.times, deliveries.spike, deliveries.level, deliveries.source, deliveries.group, n_queue
        )
    return g, n_queue


@stage
def _receive(n, t, w, neurons, state):
    """A spike of weight w arrives at neuron n."""
    p, x = neuron_at(n, neurons), _state_of(n, state)
    ahead = state.valid_at[n] - t
    if ahead < 0.0:
        x = flow(-ahead, x, p)
        state.valid_at[n] = t
        ahead = 0.0
    x = arrive(w, ahead, x, p)
    state.u[n], state.rest[n, POTENTIAL] = x.u, x.rest_u
    state.i_exc[n], state.rest[n, EXC] = x.exc, x.rest_exc
    state.i_inh[n], state.rest[n, INH] = x.inh, x.rest_inh


@stage
def _test_touched(n_touched, neurons, level, state, scratch, n_heap):
    """One threshold test for each target of an instant, after all its inputs; returns the heap's new size."""
    for q in range(n_touched):
        n = scratch.touched[q]
        scratch.stamp[n] = 0
        state.solved[n] = False
        state.anchor[n, SINCE] = OUTDATED
        exc = state.i_exc[n] + state.rest[n, EXC]
        bound = state.valid_at[n] + _earliest(
            state.u[n], exc, neurons.theta[n], neurons.tau_m[n], neurons.peak[n], neurons.n_receptors[n]
        )
        state.bound[n] = bound
        if bound < state.key[n] or (state.position[n] == NOT_IN_HEAP and bound < math.inf):
            n_heap = neuron_update(state.heap, state.position, state.key, level, n_heap, n, bound)
    return n_heap


@leaf
def run_queue(
    neurons, level, synapses, plastic, inputs, state, deliveries, scratch, spikes, counters, t_stop, n_inputs
):  # fmt: skip
    """Run all events before t_stop; returns DONE, or why it stopped before (see ``arrays``).

    neurons : NeuronArrays; level : (n,) depth below zero-delay delta synapses; plastic : see ``stdp``; the others are
    the tuples of ``arrays``. counters : (N_COUNTERS,)
    """
    some_plastic = plastic.parameters.shape[0] > 0
    n_heap, n_queue = counters[N_HEAP], counters[N_QUEUE]
    next_input, n_spikes = counters[NEXT_INPUT], counters[N_SPIKES]
    status = DONE
    left = BUDGET
    while True:
        left -= 1
        if left < 0:
            status = PAUSED
            break
        t_neuron = state.key[state.heap[0]] if n_heap > 0 else math.inf
        t_queue = deliveries.times[0] if n_queue > 0 else math.inf
        t = min(t_neuron, t_queue)
        is_input = next_input < inputs.times.size and inputs.times[next_input] <= t
        t = inputs.times[next_input] if is_input else t
        if not t < t_stop:
            break
        if n_queue + 2 > deliveries.times.size or n_spikes + 1 > spikes.times.size:
            status = FULL_QUEUE if n_queue + 2 > deliveries.times.size else FULL_SPIKES
            break
        if is_input:
            n_queue = _send(inputs.sources[next_input], t, synapses, deliveries, n_queue)
            next_input += 1
        elif t_neuron < t_queue or (t_neuron == t_queue and level[state.heap[0]] <= deliveries.level[0]):
            n = state.heap[0]
            if not state.solved[n]:
                n_heap = _solve(n, neurons, level, state, counters, n_heap)
                continue
            p = neuron_at(n, neurons)
            if is_stuck(t - state.valid_at[n], t, state.u[n], p):
                # The spike would leave everything as it was.
                status = STUCK
                break
            _fire(n, t, p, state, spikes, n_spikes)
            n_spikes += 1
            if some_plastic:
                potentiate(plastic, synapses.weight, n, t)
            n_heap = _wait(n, neurons, level, state, n_heap)
            n_queue = _send(n_inputs + n, t, synapses, deliveries, n_queue)
        else:
            lv = deliveries.level[0]
            n_touched = 0
            while n_queue > 0 and deliveries.times[0] == t and deliveries.level[0] == lv:
                g, n_queue = _next_group(synapses, deliveries, n_queue)
                for s in range(synapses.start[g], synapses.start[g + 1]):
                    n = synapses.target[s]
                    if some_plastic and plastic.rule[s] >= 0:
                        depress(plastic, synapses.weight, s, n, t)
                    _receive(n, t, synapses.weight[s], neurons, state)
                    if scratch.stamp[n] == 0:
                        scratch.stamp[n] = 1
                        scratch.touched[n_touched] = n
                        n_touched += 1
                counters[N_EVENTS] += synapses.start[g + 1] - synapses.start[g]
                left -= synapses.start[g + 1] - synapses.start[g]
            n_heap = _test_touched(n_touched, neurons, level, state, scratch, n_heap)
    counters[N_HEAP], counters[N_QUEUE] = n_heap, n_queue
    counters[NEXT_INPUT], counters[N_SPIKES] = next_input, n_spikes
    return status


@leaf
def start_queue(neurons, level, state):
    """First bounds of all neurons at t = 0; returns the size of the neuron heap."""
    n_heap = 0
    for n in range(state.u.size):
        state.position[n] = NOT_IN_HEAP
        state.solved[n] = False
        state.key[n] = math.inf
        state.bound[n] = _earliest(
            state.u[n], state.i_exc[n], neurons.theta[n], neurons.tau_m[n], neurons.peak[n], neurons.n_receptors[n]
        )
        if state.bound[n] < math.inf:
            n_heap = neuron_update(state.heap, state.position, state.key, level, n_heap, n, state.bound[n])
    return n_heap
