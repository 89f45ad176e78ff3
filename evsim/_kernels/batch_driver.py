"""Layer sweep of many samples in one call.

Threads that come back to Python for every sample wait for each other there; a call that stays below for a
whole stretch of samples does not. What is computed for a sample does not depend on the stretch.
"""

import numpy as np

from .jit import kernel
from .sorting import sort_spikes
from .sweep_driver import sweep_layer
from .sweep_groups import GROUP, group_factors

N_FACTORS = 11


@kernel
def arrivals(times, neurons, delay, t_stop, padding_row, padded, rows):
    """Arrivals within [0, t_stop), padded to a multiple of GROUP; returns that multiple."""
    n = 0
    while n < times.size and times[n] + delay < t_stop:
        padded[n] = times[n] + delay
        rows[n] = neurons[n]
        n += 1
    m = (n // GROUP + 1) * GROUP
    padded[n:m] = t_stop
    rows[n:m] = padding_row
    return m


@kernel
def sweep_samples(
    times, neurons, offsets, weights, theta, u_reset, t_ref, u_init,
    out_times, out_neurons, out_currents, counts, progress, tally,
    delay, t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, size, last,
):  # fmt: skip
    """Sweep samples ``progress[0]`` ... ``last - 1``; returns True when done, False when out_* is full.

    times, neurons, offsets : the batch of input spikes; weights ... u_init : as in ``sweep_layer``
    out_* : spikes of these samples one after the other, each ordered by (time, neuron); counts (n_samples,)
    written. progress : (2,) next sample and spikes so far: enlarge the output and call again.
    """
    longest = 0
    for k in range(progress[0], last):
        longest = max(longest, offsets[k + 1] - offsets[k])
    padded = np.empty(longest + GROUP)
    rows = np.empty(longest + GROUP, np.int32)
    factors = np.empty((longest + GROUP, N_FACTORS))
    capacity = 1024 + 16 * size
    raw_times = np.empty(capacity)
    raw_neurons = np.empty(capacity, np.int32)
    raw_currents = np.empty(capacity)
    state = np.empty(2, np.int64)
    for k in range(progress[0], last):
        part = slice(offsets[k], offsets[k + 1])
        m = arrivals(times[part], neurons[part], delay, t_stop, weights.shape[1] - 1, padded, rows)
        group_factors(padded[:m], factors[:m], tau_m, tau_exc, tau_inh, n_receptors)
        state[:] = 0
        grazing = tally[0]
        while not sweep_layer(
            padded[:m], rows[:m], factors[:m], weights, theta, u_reset, t_ref, u_init,
            raw_times, raw_neurons, raw_currents, state, tally,
            t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, size, weights.shape[0],
        ):  # fmt: skip
            more_times = np.empty(2 * raw_times.size)
            more_neurons = np.empty(2 * raw_times.size, np.int32)
            more_currents = np.empty(2 * raw_times.size)
            more_times[: state[1]] = raw_times[: state[1]]
            more_neurons[: state[1]] = raw_neurons[: state[1]]
            more_currents[: state[1]] = raw_currents[: state[1]]
            raw_times, raw_neurons, raw_currents = more_times, more_neurons, more_currents
        n = state[1]
        a = progress[1]
        if a + n > out_times.size:
            tally[0] = grazing
            return False
        sort_spikes(
            raw_times[:n], raw_neurons[:n], raw_currents[:n], 0.0, t_stop,
            out_times[a : a + n], out_neurons[a : a + n], out_currents[a : a + n],
        )  # fmt: skip
        counts[k] = n
        progress[0] = k + 1
        progress[1] = a + n
    return True
