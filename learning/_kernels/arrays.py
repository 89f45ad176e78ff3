"""What several of the learning kernels read: flat arrays and numbers, grouped by what they belong to.

The neurons are the ``NeuronArrays`` of the engines, the synapses of a network the ``Synapses`` of the queue. A tuple
that one kernel alone knows stands beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Spikes, or their arrivals, sample after sample, each sorted by time: sample k's are
    ``offsets[k]:offsets[k + 1]``."""

    times: np.ndarray
    neurons: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, spikes: Any) -> Batch:
        """Of a SpikeBatch, or whatever else has these three arrays."""
        return cls(spikes.times, spikes.neurons, spikes.offsets)


class Train(NamedTuple):
    """Spikes or arrivals of one sample, sorted by time."""

    times: np.ndarray
    neurons: np.ndarray


class MembraneState(NamedTuple):
    """u, synaptic current, and release (ms) of each neuron, (n,)."""

    u: np.ndarray
    current: np.ndarray
    release: np.ndarray


class Surrogate(NamedTuple):
    """A secondary activation: its shape's number (see ``surrogates``), slope, and height at the threshold."""

    shape: int
    slope: float
    height: float

    @classmethod
    def of(cls, psi: Any, unit: float = 1.0) -> Surrogate:
        """Of a ``learning.surrogates.Surrogate``, its height by ``unit``."""
        return cls(psi.code, float(psi.slope), float(psi.height / unit))
