"""Priority-queue engine: any topology, any delays, zero included on acyclic parts.

State of a neuron is kept at the time of its last event; a refractory neuron's is kept at its release, and
input before that time is added as what will be left of it then. A neuron stands in its heap under a lower
bound of its next spike time, which costs no exponential; only when the bound is reached is the crossing
solved for. A bound that an input has made too early is left in place: it is a harmless early check.

Order of events: (time, level, kind, source or neuron), kind: own spike before input. Level is the depth
below zero-delay delta synapses, so that all inputs of one instant are summed before one threshold test.
"""

import math

from ..jit import formula, leaf
from ..neurons.carried import add, fade_carried, step
from ..neurons.crossing import GRAZING, crossing, grazes
from ..neurons.lif import decay
from .heap import NOT_IN_HEAP, delivery_pop, delivery_push, delivery_replace, neuron_remove_top, neuron_update
from .stdp import arrive, emit

DONE, FULL_QUEUE, FULL_SPIKES, PAUSED, STUCK = 0, 1, 2, 3, 4

BUDGET = 2_000_000
"""Synaptic events and steps after which a run pauses, well within a second: between calls it can be stopped."""

# Rows of the state that survives between calls, so that a full buffer can be enlarged and the run goes on.
N_HEAP, N_QUEUE, NEXT_INPUT, N_SPIKES, N_EVENTS, N_GRAZING, N_STATE = 0, 1, 2, 3, 4, 5, 6

# Columns of the rests: what rounding u, i_exc and i_inh has lost.
POTENTIAL, EXC, INH, N_RESTS = 0, 1, 2, 3

# Columns of the anchors: the currents, with their rests, at the latest arrival, and since when (ms; OUTDATED: another
# arrival has come since). A neuron's own spikes change no current: after each it is taken from there in one step, since
# steps of regular spikes would repeat the same rounding error.
SINCE, EXC_AT, EXC_REST, INH_AT, INH_REST, N_ANCHOR = 0, 1, 2, 3, 4, 5
OUTDATED = -1.0

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


@leaf
def run_queue(
    theta, u_reset, t_ref, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, level,
    group_start, group_delay, group_level, synapse_start, target, weight, plastic,
    input_times, input_sources,
    u, i_exc, i_inh, valid_at, bound, solved, key, heap, position, rest, anchor,
    queue_time, queue_spike, queue_level, queue_source, queue_group,
    touched, stamp, out_times, out_neurons, out_currents, state, t_stop, n_inputs,
):  # fmt: skip
    """Run all events before t_stop; returns DONE, or why it stopped before.

    FULL_QUEUE, FULL_SPIKES : a buffer must be enlarged; PAUSED : the budget of one call is spent; in all three cases
    call again. STUCK : the first neuron of the heap would spike for ever at one instant of the clock

    theta ... level : (n_neurons,) parameters; source s (inputs first, then neurons) owns the groups
    ``group_start[s]:group_start[s + 1]``, sorted by (delay, level), and group g the synapses
    ``synapse_start[g]:synapse_start[g + 1]``. input_times, input_sources : sorted external spikes.
    u ... position : (n_neurons,) state; rest : (n_neurons, N_RESTS); anchor : (n_neurons, N_ANCHOR); queue_* : delivery
    heap; touched, stamp : scratch; state : (N_STATE,) counters.
    """
    some_plastic = plastic.parameters.shape[0] > 0
    n_heap = state[N_HEAP]
    n_queue = state[N_QUEUE]
    next_input = state[NEXT_INPUT]
    n_spikes = state[N_SPIKES]
    status = DONE
    left = BUDGET
    while True:
        left -= 1
        if left < 0:
            status = PAUSED
            break
        t_neuron = key[heap[0]] if n_heap > 0 else math.inf
        t_queue = queue_time[0] if n_queue > 0 else math.inf
        t = min(t_neuron, t_queue)
        full = n_queue + 2 > queue_time.size or n_spikes + 1 > out_times.size
        if next_input < input_times.size and input_times[next_input] <= t and input_times[next_input] < t_stop:
            if full:
                status = FULL_QUEUE if n_queue + 2 > queue_time.size else FULL_SPIKES
                break
            source = input_sources[next_input]
            spike = input_times[next_input]
            next_input += 1
            g = group_start[source]
            if g < group_start[source + 1]:
                n_queue = delivery_push(
                    queue_time, queue_spike, queue_level, queue_source, queue_group, n_queue,
                    spike + group_delay[g], spike, group_level[g], source, g,
                )  # fmt: skip
            continue
        if not t < t_stop:
            break
        if full:
            status = FULL_QUEUE if n_queue + 2 > queue_time.size else FULL_SPIKES
            break
        if t_neuron < t_queue or (t_neuron == t_queue and level[heap[0]] <= queue_level[0]):
            n = heap[0]
            if not solved[n]:
                if bound[n] > t_neuron:
                    if bound[n] == math.inf:
                        n_heap = neuron_remove_top(heap, position, key, level, n_heap)
                    else:
                        n_heap = neuron_update(heap, position, key, level, n_heap, n, bound[n])
                    continue
                exc = i_exc[n] + rest[n, EXC]
                inh = i_inh[n] + rest[n, INH]
                x = crossing(
                    u[n], exc, inh, theta[n], tau_m[n], tau_exc[n], tau_inh[n], peak[n],
                    n_receptors[n], math.inf,
                )  # fmt: skip
                if grazes(
                    u[n], exc, inh, theta[n], tau_m[n], tau_exc[n], tau_inh[n], n_receptors[n],
                    math.inf,
                ):  # fmt: skip
                    state[N_GRAZING] += 1
                bound[n] = valid_at[n] + x
                if x == math.inf:
                    n_heap = neuron_remove_top(heap, position, key, level, n_heap)
                else:
                    solved[n] = True
                    n_heap = neuron_update(heap, position, key, level, n_heap, n, bound[n])
                continue
            x = t_neuron - valid_at[n]
            if x == 0.0 and u[n] == u_reset[n] and t_neuron + t_ref[n] == t_neuron:
                # The spike would leave everything as it was.
                status = STUCK
                break
            if anchor[n, SINCE] == OUTDATED:
                anchor[n, SINCE] = valid_at[n]
                anchor[n, EXC_AT], anchor[n, EXC_REST] = i_exc[n], rest[n, EXC]
                anchor[n, INH_AT], anchor[n, INH_REST] = i_inh[n], rest[n, INH]
            x = t_neuron - anchor[n, SINCE]
            i_exc[n], rest[n, EXC] = fade_carried(x, anchor[n, EXC_AT], anchor[n, EXC_REST], tau_exc[n])
            i_inh[n], rest[n, INH] = fade_carried(x, anchor[n, INH_AT], anchor[n, INH_REST], tau_inh[n])
            out_times[n_spikes] = t_neuron
            out_neurons[n_spikes] = n
            out_currents[n_spikes] = i_exc[n] + i_inh[n]
            n_spikes += 1
            if some_plastic:
                emit(plastic, weight, n, t_neuron)
            u[n] = u_reset[n]
            rest[n, POTENTIAL] = 0.0
            valid_at[n] = t_neuron + t_ref[n]
            if t_ref[n] > 0.0:
                x = valid_at[n] - anchor[n, SINCE]
                i_exc[n], rest[n, EXC] = fade_carried(x, anchor[n, EXC_AT], anchor[n, EXC_REST], tau_exc[n])
                i_inh[n], rest[n, INH] = fade_carried(x, anchor[n, INH_AT], anchor[n, INH_REST], tau_inh[n])
            solved[n] = False
            exc = i_exc[n] + rest[n, EXC]
            bound[n] = valid_at[n] + _earliest(u[n], exc, theta[n], tau_m[n], peak[n], n_receptors[n])
            if bound[n] == math.inf:
                n_heap = neuron_remove_top(heap, position, key, level, n_heap)
            else:
                n_heap = neuron_update(heap, position, key, level, n_heap, n, bound[n])
            source = n_inputs + n
            g = group_start[source]
            if g < group_start[source + 1]:
                n_queue = delivery_push(
                    queue_time, queue_spike, queue_level, queue_source, queue_group, n_queue,
                    t_neuron + group_delay[g], t_neuron, group_level[g], source, g,
                )  # fmt: skip
            continue
        # All deliveries of this instant and level, then one threshold test for each target.
        t = t_queue
        lv = queue_level[0]
        n_touched = 0
        while n_queue > 0 and queue_time[0] == t and queue_level[0] == lv:
            g = queue_group[0]
            source = queue_source[0]
            spike = queue_spike[0]
            if g + 1 < group_start[source + 1]:
                delivery_replace(
                    queue_time, queue_spike, queue_level, queue_source, queue_group, n_queue,
                    spike + group_delay[g + 1], spike, group_level[g + 1], source, g + 1,
                )  # fmt: skip
            else:
                n_queue = delivery_pop(
                    queue_time, queue_spike, queue_level, queue_source, queue_group, n_queue
                )
            for s in range(synapse_start[g], synapse_start[g + 1]):
                n = target[s]
                if some_plastic and plastic.rule[s] >= 0:
                    arrive(plastic, weight, s, n, t)
                w = weight[s]
                x = t - valid_at[n]
                receptors = n_receptors[n]
                if x > 0.0:
                    u[n], rest[n, POTENTIAL], i_exc[n], rest[n, EXC], i_inh[n], rest[n, INH] = step(
                        x, u[n], rest[n, POTENTIAL], i_exc[n], rest[n, EXC], i_inh[n], rest[n, INH],
                        tau_m[n], tau_exc[n], tau_inh[n], receptors,
                    )  # fmt: skip
                    valid_at[n] = t
                    x = 0.0
                if receptors == 0:
                    # u itself is the sum in the order of sources, as the threshold test wants it.
                    if x == 0.0:
                        u[n], rest[n, POTENTIAL] = add(u[n], rest[n, POTENTIAL], w)
                    elif keep_input[n]:
                        u[n], rest[n, POTENTIAL] = add(u[n], rest[n, POTENTIAL], w * decay(-x, tau_m[n]))
                elif receptors == 1 or w > 0.0:
                    i_exc[n], rest[n, EXC] = add(i_exc[n], rest[n, EXC], w * decay(-x, tau_exc[n]))
                else:
                    i_inh[n], rest[n, INH] = add(i_inh[n], rest[n, INH], w * decay(-x, tau_inh[n]))
                if stamp[n] == 0:
                    stamp[n] = 1
                    touched[n_touched] = n
                    n_touched += 1
            state[N_EVENTS] += synapse_start[g + 1] - synapse_start[g]
            left -= synapse_start[g + 1] - synapse_start[g]
        for q in range(n_touched):
            n = touched[q]
            stamp[n] = 0
            solved[n] = False
            anchor[n, SINCE] = OUTDATED
            exc = i_exc[n] + rest[n, EXC]
            bound[n] = valid_at[n] + _earliest(u[n], exc, theta[n], tau_m[n], peak[n], n_receptors[n])
            if bound[n] < key[n] or (position[n] == NOT_IN_HEAP and bound[n] < math.inf):
                n_heap = neuron_update(heap, position, key, level, n_heap, n, bound[n])
    state[N_HEAP] = n_heap
    state[N_QUEUE] = n_queue
    state[NEXT_INPUT] = next_input
    state[N_SPIKES] = n_spikes
    return status


@leaf
def start_queue(u, i_exc, theta, tau_m, peak, n_receptors, level, bound, solved, key, heap, position):
    """First bounds of all neurons at t = 0; returns the size of the neuron heap."""
    n_heap = 0
    for n in range(u.size):
        position[n] = NOT_IN_HEAP
        solved[n] = False
        key[n] = math.inf
        bound[n] = _earliest(u[n], i_exc[n], theta[n], tau_m[n], peak[n], n_receptors[n])
        if bound[n] < math.inf:
            n_heap = neuron_update(heap, position, key, level, n_heap, n, bound[n])
    return n_heap
