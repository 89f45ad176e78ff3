"""Events of a recorded network in the order in which the queue takes them, and the currents at them.

Events are the network's spikes, the ends of refractoriness and the arrivals.
"""

from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage
from evsim._kernels.neurons.lif import decay

SPIKE, RELEASE, ARRIVAL, KICKED = 0, 1, 2, 3
"""Kinds of events, in the order that they have at one instant and level. KICKED : the spike of a delta neuron, which
comes after the arrivals of its instant: they made it fire."""


class Network(NamedTuple):
    """NeuronArrays; (n,) depth of each neuron below zero-delay delta synapses; the queue's Synapses."""

    neurons: NamedTuple
    level: np.ndarray
    synapses: NamedTuple


class Spikes(NamedTuple):
    """Spikes of one sample, (n_spikes,), of inputs and neurons together, in any order within an instant; sources :
    inputs first, then neurons."""

    times: np.ndarray
    sources: np.ndarray


class Events(NamedTuple):
    """Events of one sample, in order: when, what, of which spike, to which group of synapses (-1: none)."""

    when: np.ndarray
    kind: np.ndarray
    spike: np.ndarray
    group: np.ndarray


class Currents(NamedTuple):
    """(n_spikes,) each: total synaptic current of the neuron at its spike, and at the release after it."""

    at_spike: np.ndarray
    at_release: np.ndarray


@stage
def _enter(events, n, when, kind, spike, group):
    """Write event n; returns the next one's number."""
    events.when[n], events.kind[n], events.spike[n], events.group[n] = when, kind, spike, group
    return n + 1


@stage
def _enter_arrivals(events, n, k, lv, spikes, synapses, t_stop):
    """The arrivals of spike k at targets of level lv before t_stop."""
    source = spikes.sources[k]
    for g in range(synapses.group_start[source], synapses.group_start[source + 1]):
        t = spikes.times[k] + synapses.group_delay[g]
        if synapses.group_level[g] == lv and t < t_stop:
            n = _enter(events, n, t, ARRIVAL, k, g)
    return n


@stage
def _enter_own(events, n, k, kind, spikes, neuron, neurons, t_stop):
    """The event of this kind that spike k is to its own neuron, if there is one."""
    delta = neurons.declared[neuron] == 0
    fired = spikes.times[k]
    released = fired + neurons.t_ref[neuron]
    if kind == RELEASE:
        # A delta neuron without refractoriness is released after the kicks that made it fire.
        if released < t_stop and not (delta and released == fired):
            n = _enter(events, n, released, RELEASE, k, -1)
    elif (kind == KICKED) == delta:
        n = _enter(events, n, fired, kind, k, -1)
        if delta and released == fired:
            n = _enter(events, n, fired, RELEASE, k, -1)
    return n


@leaf
def _enter_all(events, spikes, network, n_inputs, n_levels, t_stop):
    """All events, those of an instant in order; returns their number."""
    n = 0
    for lv in range(n_levels):
        for kind in (SPIKE, RELEASE, ARRIVAL, KICKED):
            for k in range(spikes.times.size):
                neuron = spikes.sources[k] - n_inputs
                if kind == ARRIVAL:
                    n = _enter_arrivals(events, n, k, lv, spikes, network.synapses, t_stop)
                elif neuron >= 0 and network.level[neuron] == lv:
                    n = _enter_own(events, n, k, kind, spikes, neuron, network.neurons, t_stop)
    return n


@kernel
def lay_out(spikes, network, n_inputs, t_stop):
    """Events of one sample in the order of the queue."""
    start = network.synapses.group_start
    room = 0
    for k in range(spikes.times.size):
        room += 2 + start[spikes.sources[k] + 1] - start[spikes.sources[k]]
    events = Events(np.empty(room), np.empty(room, np.int8), np.empty(room, np.int64), np.empty(room, np.int64))
    n = _enter_all(events, spikes, network, n_inputs, network.level.max() + 1, t_stop)
    # Stable, so that events of one instant stay as they were entered.
    order = np.argsort(events.when[:n], kind="mergesort")
    return Events(events.when[order], events.kind[order], events.spike[order], events.group[order])


class _State(NamedTuple):
    """Currents of each neuron and since when they stand, (n,) each."""

    since: np.ndarray
    exc: np.ndarray
    inh: np.ndarray


@stage
def _receive(n, t, w, neurons, state):
    """A spike of weight w arrives at neuron n."""
    state.exc[n] *= decay(t - state.since[n], neurons.tau_exc[n])
    state.inh[n] *= decay(t - state.since[n], neurons.tau_inh[n])
    state.since[n] = t
    if neurons.declared[n] == 1 or w > 0.0:
        state.exc[n] += w
    else:
        state.inh[n] += w


@leaf
def _follow_currents(events, spikes, network, state, currents, n_inputs):
    neurons, synapses = network.neurons, network.synapses
    for e in range(events.when.size):
        t = events.when[e]
        k = events.spike[e]
        if events.kind[e] == ARRIVAL:
            g = events.group[e]
            for s in range(synapses.start[g], synapses.start[g + 1]):
                n = synapses.target[s]
                if neurons.declared[n] > 0:
                    _receive(n, t, synapses.weight[s], neurons, state)
            continue
        n = spikes.sources[k] - n_inputs
        x = t - state.since[n]
        total = state.exc[n] * decay(x, neurons.tau_exc[n]) + state.inh[n] * decay(x, neurons.tau_inh[n])
        if events.kind[e] == RELEASE:
            currents.at_release[k] = total
        else:
            currents.at_spike[k] = total


@kernel
def currents_at_events(events, spikes, network, n_inputs):
    """Currents at each neuron's spikes and releases, forward through the events."""
    n, m = network.level.size, spikes.times.size
    state = _State(np.zeros(n), np.zeros(n), np.zeros(n))
    currents = Currents(np.zeros(m), np.zeros(m))
    _follow_currents(events, spikes, network, state, currents, n_inputs)
    return currents
