"""Spikes of a layer in one window of time, from the state that it has at the window's beginning."""

import numpy as np

from evsim._kernels.jit import kernel
from evsim._kernels.neurons.model import NeuronState, neuron_at
from evsim._kernels.window.integrate import integrate_events


@kernel
def layer_window(arrivals, neurons, weight, state, start, end, spikes):
    """Writes spikes from ``start`` to ``end`` (ms), neuron by neuron; returns their number, which may exceed the room.

    -1 - n : neuron n spikes for ever at one instant.

    arrivals : Train, ms after ``start``; neurons : NeuronArrays of one tau_m and at most one current; weight :
    (n_sources, n); state : MembraneState, not changed; spikes : Train, written
    """
    times, sources = arrivals
    weights, currents = np.empty(times.size), np.empty(spikes.times.size)
    total = 0
    for n in range(state.u.size):
        for a in range(times.size):
            weights[a] = weight[sources[a], n]
        room = min(total, spikes.times.size)
        x = NeuronState(state.u[n], 0.0, state.current[n], 0.0, 0.0, 0.0)
        _, _, n_spikes, grazing = integrate_events(
            (times, weights, 0, times.size), x, state.release[n], start, end, neuron_at(n, neurons),
            (spikes.times[room:], currents), 0,
        )  # fmt: skip
        if grazing < 0:
            return -1 - n
        for s in range(room, min(room + n_spikes, spikes.times.size)):
            spikes.neurons[s] = n
        total += n_spikes
    return total
