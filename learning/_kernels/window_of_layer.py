"""Spikes of a layer in one window of time, from the state that it has at the window's beginning."""

import numpy as np

from evsim._kernels.jit import kernel
from evsim._kernels.window.integrate import integrate_events


@kernel
def layer_window(
    arrivals, sources, weight, u, current, release, theta, u_reset, t_ref, tau_m, tau_s, peak, n_receptors,
    start, end, times, neurons,
):  # fmt: skip
    """Writes spikes from ``start`` to ``end`` (ms), neuron by neuron; returns their number, which may exceed the room.

    -1 - n : neuron n spikes for ever at one instant.

    arrivals : (k,) sorted, ms after ``start``; weight : (n_sources, n); u, current, release : (n,), not changed
    """
    k = arrivals.size
    column = np.empty(k)
    currents = np.empty(times.size)
    total = 0
    for n in range(u.size):
        for a in range(k):
            column[a] = weight[sources[a], n]
        room = min(total, times.size)
        walked = integrate_events(
            arrivals, column, 0, k, u[n], 0.0, current[n], 0.0, 0.0, 0.0, release[n], start, end,
            theta[n], u_reset[n], t_ref[n], tau_m, tau_s, tau_s, peak[n], n_receptors, False,
            times[room:], currents, 0,
        )  # fmt: skip
        found = walked[7]
        if walked[8] < 0:
            return -1 - n
        for s in range(room, min(room + found, times.size)):
            neurons[s] = n
        total += found
    return total
