"""What the rules that work on spike counts share: trains for silent targets, lateral inhibition by two hops, and
readouts seen by counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.learning._kernels.hm2bp import Order
from evsim.learning.fixed_order import borders, merges, rows_times, total
from evsim.learning.layers.readout import Readout, Voltages, arrival_factors, by_sample
from evsim.learning.rules.rates.windows import output_of_input
from evsim.learning.spsp import s_psp
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def with_target_trains(
    layer: Any, outputs: SpikeBatch, signal: Floats, t_stop: float, step: float = 0.0
) -> SpikeBatch:
    """``outputs`` with a regular train of the wanted count for the most wanted neuron of a sample, if that is silent.

    signal : (samples, n_out), dL/d count; the wanted count is -signal, or as many spikes as t_ref allows
    step : ms; 0: that many spikes, each in the middle of its share of the sample. Else spikes at the multiples, from
        the first on, of the longest interval in whole steps that has room for them
    """
    target = np.argmin(signal, axis=1)
    rows = np.arange(len(outputs))
    t_ref = layer.per_neuron(layer.neuron.t_ref)[target]
    most = np.full(len(outputs), np.inf)
    np.divide(t_stop, t_ref, out=most, where=t_ref > 0.0)
    wanted = np.floor(np.minimum(-signal[rows, target], most)).astype(np.int64)
    needy = np.flatnonzero((outputs.counts()[rows, target] == 0) & (wanted > 0))
    if needy.size == 0:
        return outputs
    trains = list(outputs)
    for k in needy:
        spikes = (np.arange(wanted[k]) + 0.5) * (t_stop / wanted[k])
        if step > 0.0:
            least = max(np.ceil(t_ref[k] / step), 1.0)
            interval = step * max(np.floor(t_stop / wanted[k] / step), least)
            spikes = interval * np.arange(1.0, np.ceil(t_stop / interval))
        trains[k] = type(trains[k])(
            np.append(trains[k].times, spikes),
            np.append(trains[k].neurons, np.full(spikes.size, target[k], np.int32)),
            outputs.size,
        )
    return SpikeBatch.from_trains(trains)


def lateral_factor(
    layer: Any, outputs: SpikeBatch, signal: Floats, t_stop: float, silent_ratio: float, delay: float
) -> Floats:
    """gamma_j = 1/(1 - w0^2 sum_l (e_lj/o_j)(e_jl/o_l)/(nu_l nu_j)): two hops, there and back; (samples, n).

    signal : (samples, n), dL/d count; a silent neuron other than the most wanted one leads nowhere
    silent_ratio : e/o where either neuron is silent, in the unit of ``s_psp``; delay : ms, of e
    """
    theta, w0 = layer.theta, layer.lateral_inhibition
    factor = np.ones(signal.shape)
    target = np.argmin(signal, axis=1)
    for k, train in enumerate(outputs):
        counts = train.counts()
        e = s_psp(train, train, layer.neuron, t_stop, delay)
        silent = (counts == 0)[:, None] | (counts == 0)[None, :]
        ratio = np.where(silent, silent_ratio, e / np.maximum(counts, 1)[None, :])
        slope = 1.0 / theta
        slope[(counts == 0) & (np.arange(counts.size) != target[k])] = 0.0
        hop = ratio * slope[:, None]
        np.fill_diagonal(hop, 0.0)
        factor[k] = 1.0 / (1.0 - w0**2 * np.sum(hop.T * hop, axis=1))
    return factor


def readout_by_counts(
    layer: Readout, inputs: SpikeBatch, outputs: Voltages, signal: Floats, t_stop: float
) -> tuple[dict[str, Floats], Floats]:
    """From dL/d value of an integral Readout to its gradient, which is exact, and to dL/d count of its inputs.

    value_i = sum_j w_ij S_j, with S_j the sum of what the spikes of j add per unit weight. By count: dS_j/do_j =
    S_j/o_j, the mean share of its spikes; of a silent input, the mean share over all instants at which one may arrive.
    """
    arrivals, _ = layer.delays.arrivals(inputs)
    share = by_sample(arrivals, arrival_factors(layer, arrivals, t_stop, False)[:, 0])
    ratio = np.full(share.shape, float(output_of_input(layer, outputs, t_stop, 1)[0, 0, 0]))
    counts = inputs.counts()
    np.divide(share, counts, out=ratio, where=counts > 0)
    gradients = total(len(inputs), lambda first, last: {"weight": share[first:last].T @ signal[first:last]})
    return gradients, rows_times(signal, layer.weight.T) * ratio


def order_of(n: int) -> Order:
    """In which order the kernel adds n samples."""
    times = merges(n)
    # Sums there are after each stretch, before the last of them are added.
    sums = np.cumsum(1 - times) + times
    return Order(borders(n), times, int(sums.max()))
