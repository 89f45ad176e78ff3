"""Sorting spikes by time: in linear time where they are spread, never worse than n log n."""

import math

import numpy as np

from .jit import kernel

_CROWDED = 16
"""Sum of the squares of bucket sizes, a spike, from which merging is faster: 2 where spikes are spread."""


@kernel
def _merge_sorted(times, neurons, currents, out_times, out_neurons, out_currents):
    """By neuron, then by time, both stable."""
    order = np.argsort(neurons, kind="mergesort")
    order = order[np.argsort(times[order], kind="mergesort")]
    for k in range(order.size):
        out_times[k] = times[order[k]]
        out_neurons[k] = neurons[order[k]]
        out_currents[k] = currents[order[k]]


@kernel
def sort_spikes(times, neurons, currents, t_start, t_stop, out_times, out_neurons, out_currents):
    """Order spikes of [t_start, t_stop) by (time, neuron), equal ones in their given order.

    Buckets of equal width and insertion within them; where spikes cluster in few buckets, merging.
    """
    n = times.size
    if n == 0:
        return
    scale = n / (t_stop - t_start)
    if scale == math.inf:
        # An interval of denormal length.
        _merge_sorted(times, neurons, currents, out_times, out_neurons, out_currents)
        return
    start = np.zeros(n + 1, np.int64)
    for k in range(n):
        start[min(int((times[k] - t_start) * scale), n - 1) + 1] += 1
    crowd = 0
    for k in range(1, n + 1):
        crowd += start[k] * start[k]
        start[k] += start[k - 1]
    if crowd > _CROWDED * (n + 64):
        _merge_sorted(times, neurons, currents, out_times, out_neurons, out_currents)
        return
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
