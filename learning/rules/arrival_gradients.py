"""What the forms of EventProp share: the least slope, and derivatives by arrivals as those of delays and inputs."""

from __future__ import annotations

import numpy as np

from evsim.neurons.arrays import NeuronArrays
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def least_slope(p: NeuronArrays, min_slope: float) -> float:
    """``EventProp.min_slope`` in the unit of the threshold."""
    return min_slope * max(float(np.max(np.abs(p.theta))), 1e-300)


def by_input(arrivals: SpikeBatch, d_arrival: Floats, first: int, last: int) -> Floats:
    """dL/d arrival summed over each input's spikes in some samples, (n_in,): the gradient of a delay that all its
    synapses share."""
    some = slice(arrivals.offsets[first], arrivals.offsets[last])
    return np.bincount(arrivals.neurons[some], weights=d_arrival[some], minlength=arrivals.size).astype(np.float64)


def put_back(d_arrival: Floats, order: np.ndarray | None) -> Floats:
    """From the order of arrivals to that of the input spikes; order : as ``Delays.arrivals`` gives it."""
    if order is None:
        return d_arrival
    out = np.empty_like(d_arrival)
    out[order] = d_arrival
    return out
