"""Dropout between layers: for a whole sample some hidden neurons do not hand their spikes on.

As in TSSL-BP and OTTT, one mask for all of a sample's time. What remains counts 1/(1 - share), so that the layer above
gets as much as without dropout, on average: its weights are w/(1 - share) in training, and dL/dw is the chain rule's. A
layer's own recurrent synapses and lateral inhibition are not between layers; they see all spikes.
"""

from __future__ import annotations

from copy import copy
from itertools import pairwise
from typing import Any

import numpy as np

from evsim import streams
from evsim.errors import GradientError
from evsim.learning._kernels.dropout import kept_spikes
from evsim.learning.layers.dense import Layer
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.model import Sequential
from evsim.learning.psc_gradient import PSCGradient
from evsim.learning.rules.traces.signals import is_learning_signal, masked
from evsim.spikes import SpikeBatch
from evsim.types import Floats


class Masks:
    """Which hidden neurons of a model hand their spikes on, in each sample of a batch.

    share : of hidden neurons that do not, 0 <= share < 1; each by itself
    seed, epoch, keys : by which they are drawn, and by nothing else; keys : (n,) numbers of the samples

    layers : of the model, as they are with what remains of the hidden spikes
    keep : for each hidden layer (n, n_out) bool
    scale : of the weights of ``layers`` but the first; a gradient by the model's own weights is so many times that by
        theirs
    """

    def __init__(self, model: Sequential, share: float, seed: int, epoch: int, keys: np.ndarray) -> None:
        sizes = [layer.n_out for layer in model.layers[:-1]]
        words = streams.kernel_keys("hidden dropout", seed, epoch, keys)
        drawn = np.empty(len(words) * sum(sizes), np.bool_)
        kept_spikes(np.arange(len(words) + 1) * sum(sizes), words, share, drawn)
        borders = np.cumsum([0, *sizes])
        whole = drawn.reshape(len(words), sum(sizes))
        self.keep = [np.ascontiguousarray(whole[:, a:b]) for a, b in pairwise(borders)]
        for keep, above in zip(self.keep, model.layers[1:]):
            if isinstance(above, SumPool2d):
                # It has no weights that could make up for what is left out: what it hands on is left out instead.
                keep[...] = True
        self.scale = 1.0 / (1.0 - share)
        self.layers: list[Layer] = [model.layers[0], *(self._scaled(layer) for layer in model.layers[1:])]

    def _scaled(self, layer: Layer) -> Layer:
        if isinstance(layer, SumPool2d):
            return layer
        scaled = copy(layer)
        scaled.weight = layer.weight * self.scale
        return scaled

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> list[Any]:
        """As ``Sequential.forward``; all spikes of all layers, also those that are not handed on."""
        spikes: list[Any] = [inputs]
        for k, layer in enumerate(self.layers):
            spikes.append(layer.forward(self.input_of(k, spikes[-1]), t_stop, threads))
        return spikes

    def handed(self, spikes: list[Any]) -> list[SpikeBatch]:
        """The input of each layer, from what ``forward`` gave."""
        return [self.input_of(k, spikes[k]) for k in range(len(self.layers))]

    def input_of(self, k: int, spikes: SpikeBatch) -> SpikeBatch:
        """What layer k gets of the spikes of the layer below."""
        if k == 0:
            return spikes
        handed_on = self._mine(k, spikes)
        offsets = np.append(0, np.cumsum(handed_on))[spikes.offsets]
        return SpikeBatch.owning(spikes.times[handed_on], spikes.neurons[handed_on], offsets, spikes.size)

    def take(self, samples: np.ndarray) -> Masks:
        """Of some of the samples."""
        taken = copy(self)
        taken.keep = [keep[samples] for keep in self.keep]
        return taken

    def signal_below(self, k: int, signal: Any, spikes: SpikeBatch) -> Any:
        """The signal at the input of layer k, for all spikes of the layer below; of neurons left out it is 0.

        Raises GradientError : a rule's own kind of signal, which nothing is known of
        """
        if k == 0:
            return signal
        keep = self.keep[k - 1]
        if isinstance(signal, PSCGradient):
            at = signal.at
            by_psc, by_time = (self._spread(k, part, spikes) for part in (signal.by_psc, signal.by_time))
            return PSCGradient(by_psc, by_time, lambda batch: at(batch) * keep.ravel()[batch.places()])
        if is_learning_signal(signal):
            return masked(signal, keep)
        if not isinstance(signal, np.ndarray):
            raise GradientError(
                f"hidden_dropout cannot pass on a signal that is a {type(signal).__name__}; set it to 0, or let the "
                "rule hand on an array."
            )
        if signal.ndim == 1:
            return self._spread(k, signal, spikes)
        return signal * (keep if signal.ndim == 2 else keep[:, None, :])

    def _mine(self, k: int, spikes: SpikeBatch) -> np.ndarray:
        handed_on: np.ndarray = self.keep[k - 1].ravel()[spikes.places()]
        return handed_on

    def _spread(self, k: int, values: Floats, spikes: SpikeBatch) -> Floats:
        whole = np.zeros(spikes.times.size)
        whole[self._mine(k, spikes)] = values
        return whole
