"""HM2-BP for convolutions and pools of neurons; see ``_kernels/map_hm2bp`` and docs/convolution.md."""

from __future__ import annotations

import numpy as np

from evsim.learning._kernels.arrays import Batch
from evsim.learning._kernels.hm2bp import CountErrors, Settings
from evsim.learning._kernels.map_hm2bp import map_counts
from evsim.learning.fixed_order import total
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.map_windows import from_rows, map_weights
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def count_gradient(
    layer: MapLayer, inputs: SpikeBatch, trains: SpikeBatch, errors: CountErrors, settings: Settings, t_stop: float,
    delay: float, threads: int,
) -> tuple[dict[str, Floats], Floats]:  # fmt: skip
    """As ``HM2BP.backward``, from dL/da of the neurons: gradients by weights, and dL/d count of the inputs.

    For each thread the S-PSPs of a sample are held: a window of numbers for each neuron that spikes.
    """
    maps, neurons = map_weights(layer.weight, layer.map_shape), layer.neurons()
    by_weight = "weight" in layer.weight_shapes()
    signal = np.zeros((len(inputs), layer.n_in))

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        gradient = np.zeros(maps.weights.shape)
        map_counts(
            Batch.of(inputs), Batch.of(trains), errors, neurons, maps, settings, gradient, signal, first, last, delay,
            float(t_stop),
        )  # fmt: skip
        return {"weight": from_rows(gradient, layer.map_shape)} if by_weight else {}

    return total(len(inputs), of_stretch, threads), signal
