"""Many samples in one call: by the layer sweep, or by the queue.

Threads that come back to Python for every sample wait for each other there; a call that stays below for a
whole stretch of samples does not. What is computed for a sample does not depend on the stretch.
"""

import numpy as np

from .jit import kernel
from .queue.arrays import DONE, N_HEAP, N_SPIKES, OUTDATED
from .queue.events import run_queue, start_queue
from .sorting import sort_spikes
from .spikes import Inputs, spike_arrays
from .sweep.arrays import DONE as SWEPT
from .sweep.arrays import (
    ENDLESS,
    FULL,
    GROUP,
    N_FACTORS,
    N_PROGRESS,
    UNLIMITED,
    Events,
    block_arrays,
)
from .sweep.arrays import N_SPIKES as N_SWEPT
from .sweep.groups import group_factors
from .sweep.layer import sweep_layer


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
def enlarged(spikes, n):
    """Twice the room, the first n spikes kept."""
    more = spike_arrays(2 * spikes.times.size)
    more.times[:n] = spikes.times[:n]
    more.neurons[:n] = spikes.neurons[:n]
    more.currents[:n] = spikes.currents[:n]
    return more


@kernel
def ordered(spikes, n, t_stop, out, at):
    """Sort n spikes by (time, neuron) into ``out``, from ``at`` on."""
    sort_spikes(
        spikes.times[:n], spikes.neurons[:n], spikes.currents[:n], 0.0, t_stop,
        out.times[at : at + n], out.neurons[at : at + n], out.currents[at : at + n],
    )  # fmt: skip


@kernel
def sweep_samples(inputs, offsets, layer, out, done, tally, delay, t_stop, last):
    """Sweep samples ``progress[0]`` ... ``last - 1``; returns DONE, FULL when ``out`` is full, or ENDLESS: then ``out``
    begins with a spike of the neuron that does not stop (see ``sweep.arrays``).

    inputs, offsets : (times, sources) of the batch of input spikes; out : spikes of these samples one after the other,
    each ordered by (time, neuron)
    done : (counts, progress); counts (n_samples,) written, progress (2,) next sample and spikes so far: where it was
    full, enlarge ``out`` by counts of that sample at least, and call again
    """
    counts, progress = done
    longest = 0
    for k in range(progress[0], last):
        longest = max(longest, offsets[k + 1] - offsets[k])
    padded = np.empty(longest + GROUP)
    rows = np.empty(longest + GROUP, np.int32)
    factors = np.empty((longest + GROUP, N_FACTORS))
    spikes = spike_arrays(1024 + 16 * layer.size)
    block = block_arrays(layer.weights.shape[2])
    swept = np.empty(N_PROGRESS, np.int64)
    for k in range(progress[0], last):
        part = slice(offsets[k], offsets[k + 1])
        m = arrivals(inputs.times[part], inputs.sources[part], delay, t_stop, layer.weights.shape[1] - 1, padded, rows)
        events = Events(padded[:m], rows[:m], factors[:m])
        group_factors(events.times, events.factors, layer.neurons)
        swept[:] = 0
        grazing = tally[0]
        while True:
            status = sweep_layer(layer, events, block, spikes, swept, tally, t_stop, layer.weights.shape[0], UNLIMITED)
            if status == ENDLESS:
                out.times[0] = spikes.times[spikes.times.size - 1]
                out.neurons[0] = spikes.neurons[spikes.times.size - 1]
                return ENDLESS
            if status == SWEPT:
                break
            spikes = enlarged(spikes, swept[N_SWEPT])
        n = swept[N_SWEPT]
        counts[k] = n
        if progress[1] + n > out.times.size:
            tally[0] = grazing
            return FULL
        ordered(spikes, n, t_stop, out, progress[1])
        progress[0] = k + 1
        progress[1] += n
    return SWEPT


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
        ordered(spikes, m, t_stop, out, a)
        counts[k] = m
        progress[0] = k + 1
        progress[1] = a + m
        progress[2] = 0
    return DONE
