"""Spikes of a layer in one window of time, from the state that it has at the window's beginning."""

import numpy as np

from evsim._kernels.jit import kernel
from evsim._kernels.window.integrate import integrate_events


@kernel
def layer_window(arrivals, neurons, weight, state, start, end, spikes):
    """Writes spikes from ``start`` to ``end`` (ms), neuron by neuron; returns their number, which may exceed the room.

    -1 - n : neuron n spikes for ever at one instant.

    arrivals : Train, ms after ``start``; neurons : NeuronArrays of one tau_m and at most one current; weight :
    (n_sources, n); state : MembraneState, not changed; spikes : Train, written
    """
    times, sources = arrivals
    k = times.size
    column = np.empty(k)
    currents = np.empty(spikes.times.size)
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    total = 0
    for n in range(state.u.size):
        for a in range(k):
            column[a] = weight[sources[a], n]
        room = min(total, spikes.times.size)
        walked = integrate_events(
            times, column, 0, k, state.u[n], 0.0, state.current[n], 0.0, 0.0, 0.0, state.release[n], start, end,
            neurons.theta[n], neurons.u_reset[n], neurons.t_ref[n], tau_m, tau_s, tau_s, neurons.peak[n],
            neurons.n_receptors[n], False, spikes.times[room:], currents, 0,
        )  # fmt: skip
        n_spikes = walked[7]
        if walked[8] < 0:
            return -1 - n
        for s in range(room, min(room + n_spikes, spikes.times.size)):
            spikes.neurons[s] = n
        total += n_spikes
    return total
