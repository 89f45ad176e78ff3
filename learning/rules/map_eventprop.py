"""EventProp for convolutions and pools of neurons; see ``_kernels/map_adjoint`` and docs/convolution.md."""

from __future__ import annotations

import numpy as np

from evsim.errors import GradientError
from evsim.learning._kernels.adjoint_layer import LayerSpikes
from evsim.learning._kernels.arrays import Batch
from evsim.learning._kernels.map_adjoint import MapGradient, adjoint_map
from evsim.learning.fixed_order import total
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.map_windows import from_rows, map_weights
from evsim.learning.rules.arrival_gradients import by_input, least_slope, put_back
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def map_gradient(
    layer: MapLayer, inputs: SpikeBatch, outputs: SpikeBatch, signal: Floats, t_stop: float, min_slope: float,
    wants_signal: bool, threads: int,
) -> tuple[dict[str, Floats], Floats]:  # fmt: skip
    """As ``EventProp.backward``: gradients by what the layer trains, and dL/dt of its input spikes.

    Two numbers for each neuron of both maps, the jumps of a sample, and a kernel's gradient are held for each thread.

    Raises GradientError : spikes without currents.
    """
    if outputs.currents is None:
        raise GradientError("these spikes carry no currents; take them from model.forward.")
    p, maps = layer.channels(), map_weights(layer.weight, layer.map_shape)
    arrivals, order = layer.delays.arrivals(inputs)
    spikes = LayerSpikes(outputs.times, outputs.neurons, outputs.offsets, outputs.currents, signal)
    by_delay, by_weight = layer.delays.trained is not None, "weight" in layer.weight_shapes()
    wants = by_weight, wants_signal or by_delay
    d_arrival = np.zeros(arrivals.times.size)
    least = least_slope(p, min_slope)

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        of_channels = np.zeros((3, layer.parameter_sets()))
        gradient = MapGradient(d_arrival, np.zeros(maps.weights.shape), *of_channels)
        adjoint_map(Batch.of(arrivals), spikes, p, maps, gradient, first, last, float(t_stop), least, wants)
        by_theta, by_reset, by_init = of_channels
        gradients = {"weight": from_rows(gradient.weights, layer.map_shape)} if by_weight else {}
        if "v_th" in layer.trainable:
            gradients["v_th"] = by_theta
        if "bias" in layer.trainable:
            gradients["bias"] = -(by_theta + by_reset + by_init)
        if by_delay:
            gradients["delay"] = by_input(arrivals, d_arrival, first, last)
        return gradients

    return total(len(inputs), of_stretch, threads), put_back(d_arrival, order)
