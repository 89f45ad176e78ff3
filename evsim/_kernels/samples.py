"""Many samples in one call: by the layer sweep, or by the queue.

Threads that come back to Python for every sample wait for each other there; a call that stays below for a
whole stretch of samples does not. What is computed for a sample does not depend on the stretch.
"""

import numpy as np

from .jit import kernel
from .queue.arrays import DONE, N_HEAP, N_SPIKES, OUTDATED, Inputs
from .queue.events import run_queue, start_queue
from .sorting import sort_spikes
from .sweep.groups import GROUP, group_factors
from .sweep.layer import N_MARKS, N_PROGRESS, N_STATE, SWEEP_DONE, SWEEP_ENDLESS, SWEEP_FULL, UNLIMITED, sweep_layer

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
    """Sweep samples ``progress[0]`` ... ``last - 1``; returns SWEEP_DONE, SWEEP_FULL when out_* is full, or
    SWEEP_ENDLESS: then out_* begin with a spike of the neuron that does not stop.

    times, neurons, offsets : the batch of input spikes; weights ... u_init : as in ``sweep_layer``
    out_* : spikes of these samples one after the other, each ordered by (time, neuron); counts (n_samples,)
    written. progress : (2,) next sample and spikes so far: where it was full, enlarge the output by counts of that
    sample at least, and call again.
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
    width = weights.shape[2]
    state = np.zeros((N_STATE, width))
    marks = np.zeros((N_MARKS, width + 1), np.int64)
    done = np.empty(N_PROGRESS, np.int64)
    for k in range(progress[0], last):
        part = slice(offsets[k], offsets[k + 1])
        m = arrivals(times[part], neurons[part], delay, t_stop, weights.shape[1] - 1, padded, rows)
        group_factors(padded[:m], factors[:m], tau_m, tau_exc, tau_inh, n_receptors)
        done[:] = 0
        grazing = tally[0]
        while True:
            status = sweep_layer(
                padded[:m], rows[:m], factors[:m], weights, theta, u_reset, t_ref, u_init,
                state, marks, raw_times, raw_neurons, raw_currents, done, tally,
                t_stop, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input, size, weights.shape[0], UNLIMITED,
            )  # fmt: skip
            if status == SWEEP_ENDLESS:
                out_times[0] = raw_times[raw_times.size - 1]
                out_neurons[0] = raw_neurons[raw_times.size - 1]
                return SWEEP_ENDLESS
            if status == SWEEP_DONE:
                break
            more_times = np.empty(2 * raw_times.size)
            more_neurons = np.empty(2 * raw_times.size, np.int32)
            more_currents = np.empty(2 * raw_times.size)
            more_times[: done[1]] = raw_times[: done[1]]
            more_neurons[: done[1]] = raw_neurons[: done[1]]
            more_currents[: done[1]] = raw_currents[: done[1]]
            raw_times, raw_neurons, raw_currents = more_times, more_neurons, more_currents
        n = done[1]
        a = progress[1]
        counts[k] = n
        if a + n > out_times.size:
            tally[0] = grazing
            return SWEEP_FULL
        sort_spikes(
            raw_times[:n], raw_neurons[:n], raw_currents[:n], 0.0, t_stop,
            out_times[a : a + n], out_neurons[a : a + n], out_currents[a : a + n],
        )  # fmt: skip
        progress[0] = k + 1
        progress[1] = a + n
    return SWEEP_DONE


SAMPLES_FULL = 8
"""Beside what ``run_queue`` returns: the spikes of a sample do not fit into ``out_*``."""


@kernel
def queue_samples(
    inputs, offsets, neurons, level, synapses, plastic, own, out, done, t_stop, n_inputs, last
):  # fmt: skip
    """Run samples ``progress[0]`` ... ``last - 1`` of a flat network through the queue, each from its initial state.

    inputs, offsets : the batch of input spikes; own : (state, deliveries, scratch, spikes, counters) of this thread, as
    ``run_queue`` takes them; out : Spikes, ordered by (time, neuron) within a sample
    done : (counts, progress); counts (n_samples,) written, progress (3,) next sample, spikes so far, and whether that
    sample has begun
    Returns DONE, or what ``run_queue`` returned, or SAMPLES_FULL: see to it and call again.
    """
    state, deliveries, scratch, spikes, counters = own
    counts, progress = done
    for k in range(progress[0], last):
        if progress[2] == 0:
            state.u[:] = neurons.u_init
            state.i_exc[:] = 0.0
            state.i_inh[:] = 0.0
            state.valid_at[:] = 0.0
            state.rest[:] = 0.0
            state.anchor[:] = OUTDATED
            counters[:] = 0
            counters[N_HEAP] = start_queue(neurons, level, state)
            progress[2] = 1
        part = slice(offsets[k], offsets[k + 1])
        status = run_queue(
            neurons, level, synapses, plastic, Inputs(inputs.times[part], inputs.sources[part]), state, deliveries,
            scratch, spikes, counters, t_stop, n_inputs,
        )  # fmt: skip
        if status != DONE:
            return status
        m = counters[N_SPIKES]
        a = progress[1]
        if a + m > out.times.size:
            return SAMPLES_FULL
        sort_spikes(
            spikes.times[:m], spikes.neurons[:m], spikes.currents[:m], 0.0, t_stop,
            out.times[a : a + m], out.neurons[a : a + m], out.currents[a : a + m],
        )  # fmt: skip
        counts[k] = m
        progress[0] = k + 1
        progress[1] = a + m
        progress[2] = 0
    return DONE
