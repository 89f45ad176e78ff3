"""Layers on maps for the layer sweep: convolutions and pools of neurons, one sweep for each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim._kernels.spikes import Inputs, Spikes
from evsim._kernels.sweep.arrays import Layer
from evsim._kernels.sweep.maps import MapShape, sweep_map_samples
from evsim.engine.sweep.layers import pack_weights, sweep_batch
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.types import Floats, Ints

_LANES, _LONGEST = 96, 4
"""A strip has so many neurons, or so many pixels, at most: longer ones have too many weights that are 0."""


def strip_of(shape: MapShape) -> int:
    """Pixels that share a list. It divides a row, so that there is no pixel beyond the map."""
    if shape.groups > 1:
        return 1
    fit = [n for n in range(1, _LONGEST + 1) if shape.w_out % n == 0 and n * shape.c_out <= max(_LANES, shape.c_out)]
    return fit[-1]


def pack_map(weight: Floats, neuron: LIF, shape: MapShape, strip: int) -> Layer:
    """The kernel of a convolution as a layer whose neurons are those of a strip, or the channels, group after group.

    weight : (kernel, kernel, c_in, groups c_out), [dy, dx, from, to]; neuron : of a channel, numbers or
    (groups c_out,); strip : as ``strip_of`` gives it
    """
    channels = neuron_arrays(neuron, weight.shape[3])
    if shape.groups == 1:
        wide = np.zeros((shape.kernel, shape.kernel + (strip - 1) * shape.stride, shape.c_in, strip, shape.c_out))
        for pixel in range(strip):
            first = pixel * shape.stride
            wide[:, first : first + shape.kernel, :, pixel] = weight
        of_strip = NeuronArrays(*(np.tile(values, strip) for values in channels))
        return pack_weights(wide.reshape(-1, strip * shape.c_out), of_strip)
    rows = weight.reshape(-1, weight.shape[3])
    packed = np.zeros((shape.groups, rows.shape[0] + 1, shape.c_out))
    packed[:, :-1] = rows.reshape(-1, shape.groups, shape.c_out).transpose(1, 0, 2)
    return Layer(packed, channels, rows.shape[1])


def run_map_batch(
    weight: Floats, neuron: LIF, shape: MapShape, batch: SpikeBatch, t_stop: float, threads: int = 1
) -> SpikeBatch:
    """Sweep every sample of a batch through one map.

    weight, neuron : as ``pack_map`` takes them, of one current; batch : arrivals

    As ``run_layer_batch``, the same bits for any number of threads and any way to put samples into batches. Of a
    sample, lists of 8 bytes for each event and strip that sees it are held, and 100 bytes for each event of the longest
    list.

    Raises RunawayError : neurons that spike without bound.
    """
    strip = strip_of(shape)
    layer = pack_map(weight, neuron, shape, strip)
    inputs = Inputs(batch.times, batch.neurons)
    size = shape.groups * shape.c_out * shape.h_out * shape.w_out

    def sweep(out: Spikes, done: Any, tally: Ints, last: int) -> int:
        return int(sweep_map_samples(inputs, batch.offsets, layer, shape, strip, out, done, tally, t_stop, last))

    seen_by = shape.c_out * (-(-shape.kernel // shape.stride)) ** 2
    work = (batch.offsets[1:] - batch.offsets[:-1]) * seen_by
    return sweep_batch(sweep, work, size, np.broadcast_to(layer.neurons.tau_m[:1], size), threads)
