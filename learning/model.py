"""Layered models: forward through exact spike times, layer after layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from evsim import streams
from evsim.errors import InputError
from evsim.learning.layers.dense import Layer
from evsim.learning.layers.parameter import Parameter
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.layers.readout import Readout
from evsim.spikes import SpikeBatch
from evsim.types import Floats


class Sequential:
    """Layers one after the other; a Readout can only be the last.

    >>> model = Sequential(Dense(784, 800, neuron), Dense(800, 10, neuron))
    >>> model.init(seed=1)
    >>> spikes = model.forward(batch, t_stop=400.0)     # [inputs, layer 1, layer 2]
    """

    def __init__(self, *layers: Any) -> None:
        if not layers:
            raise InputError("a model needs at least one layer.")
        for k, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise InputError(f"a model is made of layers such as Dense(...); argument {k} is {layer!r}.")
        for k, (a, b) in enumerate(pairwise(layers)):
            if isinstance(a, Readout):
                raise InputError(f"layer {k} is a Readout, which does not spike; nothing can follow it.")
            if a.n_out != b.n_in:
                raise InputError(f"layer {k} gives {a.n_out} outputs, but layer {k + 1} takes {b.n_in}.")
        self.layers: list[Layer] = list(layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def init(self, seed: int, scale: Any = 1.0, mean: Any = None) -> None:
        """Draw all weights, from streams keyed by (seed, layer): from U(-scale, scale), or, with a mean, from
        N(mean, scale^2). scale, mean : a number for all layers, or one for each; above an AvgPool2d both are smaller.
        """
        scales, means = (v if isinstance(v, Sequence) else [v] * len(self.layers) for v in (scale, mean))
        if len(scales) != len(self.layers) or len(means) != len(self.layers):
            raise InputError(f"scale and mean must be numbers, or have one for each of {len(self.layers)} layers.")
        for k, (layer, s, m) in enumerate(zip(self.layers, scales, means)):
            below = self.layers[k - 1] if k > 0 else None
            factor = below.initial_scale if isinstance(below, SumPool2d) else 1.0
            layer.init(streams.rng("weights", seed, k), factor * s, None if m is None else factor * m)

    @property
    def weights(self) -> list[Floats]:
        """Trained weights, first layer first; the arrays themselves, not copies."""
        return [layer.weight for layer in self.layers if "weight" in layer.weight_shapes()]

    def trained_arrays(self) -> list[Parameter]:
        """All trained arrays with their names and kinds, first layer first; the arrays themselves, not copies."""
        return [parameter for layer in self.layers for parameter in layer.trained_arrays()]

    def parameters(self) -> list[tuple[str, Floats]]:
        """Names and arrays of ``trained_arrays``."""
        return [(p.name, p.array) for p in self.trained_arrays()]

    def set_parameters(self, values: Sequence[Floats]) -> None:
        """Copy trained arrays in, in the order of ``parameters``; ValueError : another shape, or not finite."""
        parameters = self.parameters()
        if len(values) != len(parameters):
            raise InputError(f"the model has {len(parameters)} trained arrays; got {len(values)}.")
        for k, ((name, array), value) in enumerate(zip(parameters, values)):
            if np.shape(value) != array.shape:
                raise InputError(f"array {k} ({name}) of the model has shape {array.shape}; got {np.shape(value)}.")
            if not np.isfinite(value).all():
                raise InputError(f"array {k} ({name}) must be finite; it holds NaN or infinity.")
        for (_, array), value in zip(parameters, values):
            array[...] = value

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> list[Any]:
        """Exact spikes of every layer over [0, t_stop) ms: [inputs, layer 1, ..., last layer].

        A Readout gives Voltages. The result does not depend on threads, nor on how samples are put into batches.

        Raises ValueError : inputs of another size or before 0 ms, weights that are not finite.
        """
        if isinstance(inputs, SpikeBatch) and inputs.size != self.layers[0].n_in:
            raise InputError(f"the model takes {self.layers[0].n_in} inputs; the spikes have {inputs.size}.")
        spikes: list[Any] = [inputs]
        for layer in self.layers:
            spikes.append(layer.forward(spikes[-1], t_stop, threads))
        return spikes
