"""Layers on maps for the layer sweep: convolutions and pools of neurons, one sweep for each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim._kernels.spikes import Inputs, Spikes
from evsim._kernels.sweep.arrays import Layer
from evsim._kernels.sweep.maps import MapShape, sweep_map_samples
from evsim.engine.sweep.layers import pack_layer, sweep_batch
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.types import Floats, Ints


def pack_map(weight: Floats, neuron: LIF, shape: MapShape) -> Layer:
    """The kernel of a convolution as a layer whose neurons are the channels, the blocks of each group in turn.

    weight : (kernel, kernel, c_in, groups c_out), [dy, dx, from, to]; neuron : of a channel, numbers or
    (groups c_out,)
    """
    rows = weight.reshape(-1, weight.shape[3])
    if shape.groups == 1:
        return pack_layer(rows, neuron)
    packed = np.zeros((shape.groups, rows.shape[0] + 1, shape.c_out))
    packed[:, :-1] = rows.reshape(-1, shape.groups, shape.c_out).transpose(1, 0, 2)
    return Layer(packed, neuron_arrays(neuron, rows.shape[1]), rows.shape[1])


def run_map_batch(layer: Layer, shape: MapShape, batch: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
    """Sweep every sample of a batch through one map; batch : arrivals.

    As ``run_layer_batch``, the same bits for any number of threads and any way to put samples into batches. Of a
    sample, lists of 8 bytes for each event and pixel that sees it are held, and 200 bytes for each event of the longest
    list.

    Raises RunawayError : neurons that spike without bound.
    """
    inputs = Inputs(batch.times, batch.neurons)
    size = shape.groups * shape.c_out * shape.h_out * shape.w_out

    def sweep(out: Spikes, done: Any, tally: Ints, last: int) -> int:
        return int(sweep_map_samples(inputs, batch.offsets, layer, shape, out, done, tally, t_stop, last))

    seen_by = shape.c_out * (-(-shape.kernel // shape.stride)) ** 2
    work = (batch.offsets[1:] - batch.offsets[:-1]) * seen_by
    neurons: NeuronArrays = layer.neurons
    return sweep_batch(sweep, work, size, np.broadcast_to(neurons.tau_m[:1], size), threads)
