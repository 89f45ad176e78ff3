"""HM2-BP gradients of a map: S-PSPs of each neuron that spikes from its window on the map below, sample by sample."""

from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf
from evsim._kernels.sorting import sort_spikes

from .map_traces import Kicks, Traces, add_potentials, flow_between
from .spsp import find_queries


class MapCounts(NamedTuple):
    """What a sample's neurons are combined with.

    counts : spikes of the sources in the stored map, (size,), -1 where none is; row_of : (n_out,), the row of S-PSPs of
    each neuron, -1 where it is silent; signal : (size,), dL/d count in the stored map
    """

    counts: np.ndarray
    row_of: np.ndarray
    signal: np.ndarray


@leaf
def _micro(count, e, start, windows, weights, counts, theta, settings):
    """The paper's factor 1 + sum_j w_ij e_ij/(o_i theta); of a silent neuron with e/o_i of the settings."""
    s = 0.0
    for r in range(windows.runs):
        for j in range(windows.length):
            k = r * windows.length + j
            if count > 0:
                s += weights[k] * e[k]
            else:
                seen = counts[start + r * windows.stride + j]
                if seen > 0.0 or (settings.from_all and seen == 0.0):
                    s += weights[k] * settings.silent_micro
    return 1.0 + (s / count if count > 0 else s) / theta


@leaf
def _add_to_signal(count, back, e, start, windows, weights, counts, signal, settings):
    """Add a neuron's part to dL/do of the sources in its window."""
    for r in range(windows.runs):
        a = start + r * windows.stride
        for j in range(windows.length):
            k = r * windows.length + j
            seen = counts[a + j]
            if seen > 0.0 and count > 0:
                signal[a + j] += back * weights[k] * (e[k] / seen)
            elif seen >= 0.0:
                signal[a + j] += back * weights[k] * settings.silent_ratio


@leaf
def _add_neuron(count, d, macro, e, start, windows, weights, theta, sample, row, settings):
    """One neuron's part of the gradient, row (runs length,), and of the signal; d : dL/da, macro : its factor."""
    micro = 1.0
    if settings.micro_paper:
        micro = _micro(count, e, start, windows, weights, sample.counts, theta, settings)
    factor = d * macro * micro
    for r in range(windows.runs):
        a = start + r * windows.stride
        for j in range(windows.length):
            k = r * windows.length + j
            if count > 0:
                row[k] += factor * e[k]
            elif sample.counts[a + j] > 0.0:
                row[k] += factor * settings.silent_psp
    if settings.wants_signal:
        back = factor if settings.pass_micro else d * macro
        _add_to_signal(count, back, e, start, windows, weights, sample.counts, sample.signal, settings)


@kernel
def _spsp(sample, inputs, spikes, t_ref, taus, delay, t_stop, windows, traces, rows, row_of):
    """S-PSPs of the neurons that spike in a sample, as rows from the first on."""
    tau_m, tau_s = taus
    a, end = inputs.offsets[sample], inputs.offsets[sample + 1]
    s0, s1 = spikes.offsets[sample], spikes.offsets[sample + 1]
    room = 2 * (s1 - s0)
    times, neurons, sizes = np.empty(room), np.empty(room, np.int32), np.empty(room)
    n = find_queries(spikes, s0, s1, t_ref, tau_m, np.empty(t_ref.size), times, neurons, sizes)
    reads = Kicks(np.empty(n), np.empty(n, np.int32), np.empty(n))
    sort_spikes(times[:n], neurons[:n], sizes[:n], 0.0, t_stop, reads.times, reads.neurons, reads.sizes)
    kicks = Kicks(inputs.times[a:end] + delay, inputs.neurons[a:end], np.ones(end - a))
    add_potentials(kicks, reads, row_of, windows, traces, flow_between(tau_m, tau_s), rows)


@kernel
def map_counts(inputs, spikes, errors, neurons, maps, settings, gradient, signal, first, last, delay, t_stop):
    """Gradients of samples ``first`` ... ``last - 1``, added up in their order.

    inputs, spikes : Batch; errors : CountErrors; neurons : NeuronArrays of all neurons of the map; maps : MapWeights
    gradient : as ``MapWeights.weights``, added to; signal : (samples, n_in), dL/d count of the inputs, written
    """
    windows, weights = maps.windows, maps.weights
    n_out = windows.start.size
    traces = Traces(np.empty(windows.size), np.empty(windows.size))
    sample = MapCounts(np.empty(windows.size), np.empty(n_out, np.int64), np.empty(windows.size))
    nothing = np.empty(0)
    for k in range(first, last):
        sample.counts[:] = -1.0
        sample.signal[:] = 0.0
        for j in range(windows.place.size):
            sample.counts[windows.place[j]] = errors.pre_counts[k, j]
        n_rows = 0
        for i in range(n_out):
            sample.row_of[i] = n_rows if errors.post_counts[k, i] > 0 else -1
            n_rows += errors.post_counts[k, i] > 0
        rows = np.zeros((n_rows, weights.shape[1]))
        _spsp(
            k, inputs, spikes, neurons.t_ref, (neurons.tau_m[0], neurons.tau_exc[0]), delay, t_stop, windows, traces,
            rows, sample.row_of,
        )  # fmt: skip
        for i in range(n_out):
            if errors.delta[k, i] != 0.0:
                e = rows[sample.row_of[i]] if sample.row_of[i] >= 0 else nothing
                _add_neuron(
                    errors.post_counts[k, i], errors.delta[k, i], errors.macro[k, i], e, windows.start[i], windows,
                    weights[windows.kind[i]], neurons.theta[i], sample, gradient[windows.kind[i]], settings,
                )  # fmt: skip
        if settings.wants_signal:
            for j in range(windows.place.size):
                signal[k, j] = sample.signal[windows.place[j]]
