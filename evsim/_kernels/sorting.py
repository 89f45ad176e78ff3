"""Sorting spikes by time in linear time."""

import numpy as np

from .jit import kernel


@kernel
def sort_spikes(times, neurons, currents, t_start, t_stop, out_times, out_neurons, out_currents):
    """Order spikes of [t_start, t_stop) by (time, neuron): buckets of equal width, insertion within. O(n)."""
    n = times.size
    if n == 0:
        return
    scale = n / (t_stop - t_start)
    start = np.zeros(n + 1, np.int64)
    for k in range(n):
        start[min(int((times[k] - t_start) * scale), n - 1) + 1] += 1
    for k in range(1, n + 1):
        start[k] += start[k - 1]
    filled = np.zeros(n, np.int64)
    for k in range(n):
        bucket = min(int((times[k] - t_start) * scale), n - 1)
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
