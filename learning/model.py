"""Layered models: forward through exact spike times, layer after layer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from evsim.learning.layers import Dense
from evsim.plan import make_plan
from evsim.queue import run_plan
from evsim.sweep import run_layer_batch
from evsim.threads import workers
from evsim.types import Floats, SpikeBatch


class Sequential:
    """Layers one after the other.

    >>> model = Sequential(Dense(784, 800, neuron), Dense(800, 10, neuron))
    >>> model.init(seed=1)
    >>> spikes = model.forward(batch, t_stop=400.0)     # [inputs, layer 1, layer 2]
    """

    def __init__(self, *layers: Dense) -> None:
        if not layers:
            raise ValueError("a model needs at least one layer.")
        for k, (a, b) in enumerate(pairwise(layers)):
            if a.n_out != b.n_in:
                raise ValueError(f"layer {k} gives {a.n_out} outputs, but layer {k + 1} takes {b.n_in}.")
        self.layers = list(layers)

    def init(self, seed: int, scale: float = 1.0) -> None:
        """Draw all weights from U(-scale, scale), from streams keyed by (seed, layer)."""
        for k, layer in enumerate(self.layers):
            layer.init(np.random.default_rng([seed, k]), scale)

    @property
    def weights(self) -> list[Floats]:
        """Weight matrices, first layer first; the arrays themselves, not copies."""
        return [layer.weight for layer in self.layers]

    def set_weights(self, weights: list[Floats]) -> None:
        """Copy weights in; ValueError if a shape differs."""
        if len(weights) != len(self.layers):
            raise ValueError(f"the model has {len(self.layers)} layers; got {len(weights)} weight matrices.")
        for k, (layer, w) in enumerate(zip(self.layers, weights)):
            if w.shape != layer.weight.shape:
                raise ValueError(f"layer {k} has weights of shape {layer.weight.shape}; got {w.shape}.")
            layer.weight = np.array(w, dtype=np.float64, order="C")

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> list[SpikeBatch]:
        """Exact spikes of every layer over [0, t_stop) ms: [inputs, layer 1, ..., last layer].

        The result does not depend on threads, nor on how samples are put into batches.
        """
        if inputs.size != self.layers[0].n_in:
            raise ValueError(f"the model takes {self.layers[0].n_in} inputs; the spikes have {inputs.size}.")
        if inputs.times.size and inputs.times.min() < 0.0:
            raise ValueError(f"input spikes start at {inputs.times.min()} ms; shift them to times >= 0.")
        spikes = [inputs]
        for layer in self.layers:
            spikes.append(run_dense(layer, spikes[-1], t_stop, threads))
        return spikes


def run_dense(layer: Dense, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
    """One layer: by the sweep, or by the queue engine where lateral inhibition makes it recurrent."""
    if layer.lateral_inhibition == 0.0:
        return run_layer_batch(layer.packed(), inputs, t_stop, layer.delay, threads)
    plan = make_plan(layer.network(), seed=0)

    def one(k: int) -> Any:
        a, b = inputs.offsets[k], inputs.offsets[k + 1]
        return run_plan(plan, inputs.times[a:b], inputs.neurons[a:b].astype(np.int64), t_stop)

    with workers(threads) as pool:
        parts = list(pool(one, range(len(inputs))))
    offsets = np.zeros(len(inputs) + 1, np.int64)
    np.cumsum([p.times.size for p in parts], out=offsets[1:])
    return SpikeBatch(
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.neurons for p in parts]),
        offsets,
        layer.n_out,
        np.concatenate([p.currents for p in parts]),
    )
