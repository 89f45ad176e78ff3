"""Thresholds chosen so that layers spike as often as wanted, and weights so that a Readout tells outputs apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim import streams
from evsim.errors import InputError, SilentLayerError
from evsim.learning.fields import check_number, check_numbers
from evsim.learning.layers.analog import Analog
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.dense import Dense
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.layers.readout import Readout
from evsim.learning.model import Sequential
from evsim.learning.training.options import TrainingOptions
from evsim.spikes import SpikeBatch

_CALIBRATION = -3
_LOWEST, _HIGHEST, _WALK, _HALVINGS = -14.0, 14.0, 2.0, 18
"""Search for the logarithm of a threshold above rest: its range, its step from above, halvings of the range."""


def calibrate(
    model: Sequential, x: Any, options: TrainingOptions, targets: list[float], samples: int = 20
) -> list[float]:
    """Choose each layer's v_th so that its neurons spike ``targets[k]`` times on average; returns the v_th.

    A Readout has no threshold: its weights are scaled so that the values of a sample have the standard deviation
    ``targets[k]``. The target of a pool without neurons is ignored.

    Bisection on the logarithm of the threshold, of which high ones are tried first, layer after layer, over the first
    ``samples`` rows of x. A layer of a few neurons says little about its weights' distribution, so layers below 200
    neurons are filled up for this purpose with neurons whose weights are shuffled copies. Maps are taken as they are.

    Raises
    ------
    ValueError : not one target per layer, or a target that is not finite and > 0; no samples
    SilentLayerError : no threshold gives the target, for instance because the input is silent
    """
    check_numbers({f"target {k}": target for k, target in enumerate(targets)})
    check_number("samples", samples, integer=True)
    if samples < 1 or not len(x):
        raise InputError(f"calibrate needs samples; got {samples} of {len(x)}.")
    if len(targets) != len(model.layers) or min(targets) <= 0:
        raise InputError(f"calibrate needs one count > 0 for each of {len(model.layers)} layers; got {targets}.")
    n = min(samples, len(x))
    spikes = options.encode(x, np.arange(n), _CALIBRATION)
    chosen = []
    for k, (layer, target) in enumerate(zip(model.layers, targets)):
        if isinstance(layer, Readout):
            _spread(layer, spikes, target, options)
            continue
        if isinstance(layer, SumPool2d):
            spikes = layer.forward(spikes, options.duration, options.threads)
            continue
        if not isinstance(layer, Dense | Analog | MapLayer):
            raise InputError(f"calibrate chooses thresholds of Dense layers; layer {k} is a {type(layer).__name__}.")
        layer.check()
        widened = layer
        if not isinstance(layer, MapLayer):
            widened = _widened(layer, streams.rng("calibration", options.seed, k))
        wanted = target * n * widened.n_out
        spikes_found = _find_threshold(widened, spikes, wanted, options)
        if spikes_found < 0.5 * wanted:
            raise SilentLayerError(
                f"layer {k}: no threshold makes its neurons spike {target} times on average "
                f"({spikes.times.size / n:.1f} input spikes per sample reach it). Raise max_rate, the "
                "duration or the weight scale."
            )
        layer.neuron = layer.neuron.with_(v_th=widened.neuron.v_th)
        spikes = layer.forward(spikes, options.duration, options.threads)
        chosen.append(float(layer.neuron.v_th))
    return chosen


def _find_threshold(
    layer: Dense | Analog | MapLayer, inputs: SpikeBatch, wanted: float, options: TrainingOptions
) -> int:
    """Set the layer's v_th so that it gives ``wanted`` spikes in all; returns how many it gives."""
    neuron = layer.neuron
    at_rest = np.asarray(neuron.v_rest) + np.asarray(neuron.bias)
    rest = float(np.max(np.maximum(at_rest, neuron.v_reset)))

    def count(logarithm: float) -> int:
        layer.neuron = neuron.with_(v_th=rest + float(np.exp(logarithm)))
        return int(layer.forward(inputs, options.duration, options.threads).times.size)

    # From above: where t_ref is 0, a threshold far below the right one means spikes without measure.
    enough, too_few = _LOWEST, _HIGHEST
    for logarithm in np.arange(_HIGHEST, _LOWEST, -_WALK).tolist():
        if count(logarithm) > wanted:
            enough = logarithm
            break
        too_few = logarithm
    low, high, found = _LOWEST, _HIGHEST, 0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        above = middle <= enough
        if enough < middle < too_few:
            found = count(middle)
            above = found > wanted
        low, high = (middle, high) if above else (low, middle)
    return found


def _spread(layer: Readout, spikes: SpikeBatch, target: float, options: TrainingOptions) -> None:
    spread = float(layer.forward(spikes, options.duration, options.threads).values.std(axis=-1).mean())
    if not spread > 0.0:
        raise SilentLayerError("no spike reaches the Readout, or its weights are 0: raise max_rate or the duration.")
    layer.weight = layer.weight * (target / spread)


def _widened(layer: Dense | Analog, rng: np.random.Generator, at_least: int = 200) -> Dense | Analog:
    copies = max(0, -(-at_least // layer.n_out) - 1)
    weights = [layer.weight, *(rng.permuted(layer.weight, axis=0) for _ in range(copies))]
    sizes = layer.n_in, layer.n_out * len(weights), layer.neuron
    widened = Analog(*sizes) if isinstance(layer, Analog) else Dense(*sizes, layer.delay)
    widened.weight = np.ascontiguousarray(np.concatenate(weights, axis=1))
    return widened
